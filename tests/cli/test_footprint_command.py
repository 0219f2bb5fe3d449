"""`lanewise footprint` on dense and pruned enhancers, and what wrong input says."""

import json
from pathlib import Path

import pytest
import torch

from bench.measure.accelerator import SHIPPED
from bench.models.checkpoint import save_enhancer
from bench.models.enhancer import Enhancer, EnhancerArch, matrices
from bench.sparsity.groups import TileGroups
from bench.sparsity.masks import apply_masks_
from bench.sparsity.tile import Tile
from tests.sparsity.magnitude import magnitude_masks

from .conftest import Lanewise


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """dense.safetensors, blocks.safetensors (85 % pruned by 16x4) and units.safetensors (half the hidden units)."""
    torch.manual_seed(0)
    arch = EnhancerArch(hidden=64, fc=32, mels=32)
    model = Enhancer(arch)
    save_enhancer(tmp_path / "dense.safetensors", model, {})
    weights = {name: model.get_parameter(key).detach() for name, (key, _) in matrices(arch).items()}
    shapes = {name: (weight.shape[0], weight.shape[1]) for name, weight in weights.items()}
    gates = {name: count for name, (_, count) in matrices(arch).items()}
    apply_masks_(weights, magnitude_masks(TileGroups(shapes, Tile(16, 4), gates, "gate"), weights, 0.85))
    save_enhancer(tmp_path / "blocks.safetensors", model, {})
    save_enhancer(tmp_path / "units.safetensors", Enhancer(EnhancerArch(hidden=32, fc=32, mels=32)), {})
    save_enhancer(tmp_path / "gru.safetensors", Enhancer(EnhancerArch(cell="gru", hidden=32, fc=32, mels=32)), {})
    return tmp_path


def test_numbers(lanewise: Lanewise, models: Path) -> None:
    dense, blocks, units = (
        json.loads(lanewise("footprint", *words, "--json").out)
        for words in (
            ["dense.safetensors"],
            ["blocks.safetensors", "--tile", "16x4"],
            ["units.safetensors", "--dense", "dense.safetensors"],
        )
    )
    assert dense["macs"] == dense["stored"]["dense"]["matrices"]
    assert dense["kept_macs"] > 0.97 * dense["macs"]
    assert 0.1 < blocks["kept_macs"] / dense["macs"] < 0.16
    assert blocks["stored"]["blocks"]["matrices"] < 0.17 * blocks["stored"]["dense"]["matrices"]
    assert blocks["stored"]["blocks"]["total"] > blocks["stored"]["blocks"]["matrices"]
    for found in (dense, blocks, units):
        assert found["dense_f32_bytes"] == 4 * EnhancerArch(hidden=64, fc=32, mels=32).parameters
        assert found["vela"] is None
    speedups = {name: cost["speedup"] for name, cost in blocks["accelerators"].items()}
    assert speedups["blocks-flash"] > 4 > speedups["none-flash"] > 2
    assert speedups["none-sram"] == 1
    assert all(cost["speedup"] == 1 for cost in dense["accelerators"].values())
    assert all(cost["speedup"] > 2 for cost in units["accelerators"].values())


def test_table_and_own_assumptions(lanewise: Lanewise, models: Path) -> None:
    own = models / "mine.yaml"
    own.write_text(SHIPPED.read_text().replace("none-flash:", "my-npu:"))
    done = lanewise("footprint", "blocks.safetensors", "--tile", "16x4", "--accelerators", own)
    assert done.code == 0, done.err
    assert "blocks 16x4" in done.out
    assert "entropy bound" in done.out
    assert "my-npu" in done.out
    assert "none-flash" not in done.out


def test_wrong_input(lanewise: Lanewise, models: Path) -> None:
    (models / "bad.yaml").write_text("npu: {skip: none}\n")
    for words, code, says in (
        (["gone.safetensors"], 1, "no such model file"),
        (["dense.safetensors", "--tile", "16by4"], 2, "unknown name '16by4'"),
        (["dense.safetensors", "--tile", "128x4"], 2, "tile 128x4 is larger than one gate"),
        (["dense.safetensors", "--accelerators", "gone.yaml"], 2, "gone.yaml: cannot be read"),
        (["dense.safetensors", "--accelerators", "bad.yaml"], 2, "npu.skip: unknown key; did you mean 'skips'?"),
        (["gru.safetensors", "--dense", "dense.safetensors"], 2, "was not pruned from it"),
    ):
        done = lanewise("footprint", *words)
        assert (done.code, done.out) == (code, ""), done.err
        assert says in done.err
        assert "Traceback" not in done.err
