"""The reader of docs/packed-format.md, as printed there, on packed models of every layout and number format."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from bench.engine.pack import GATES, pack_vocoder
from bench.engine.pack_enhancer import matrix_gates, pack_enhancer
from bench.engine.table import TILES, supports
from tests.docs.command_lines import ROOT, files
from tests.engine.enhancers import random_enhancer
from tests.engine.models import prune, random_model

PAGE = ROOT / "docs" / "packed-format.md"
Read = Callable[[Path], tuple[dict[str, Any], dict[str, Any], dict[str, Any]]]


@pytest.fixture(scope="module")
def read() -> Read:
    module = ModuleType("read_lwm")
    exec(files(PAGE)["read_lwm.py"], module.__dict__)
    found: Read = module.read
    return found


def close(stored: Any, weight: Any, fmt: str) -> None:
    """Stored numbers are the weights, as exactly as their format can say them."""
    if fmt == "f32":
        np.testing.assert_array_equal(stored, weight)
    elif fmt == "bf16":
        np.testing.assert_allclose(stored, weight, rtol=2**-8)
    else:
        half = np.abs(weight).max(axis=1, keepdims=True) / 127 / 2
        assert (np.abs(stored - weight) <= half * 1.0001).all()
    np.testing.assert_array_equal(stored[weight == 0], 0)


CASES = [(tile, fmt) for fmt in ("f32", "bf16", "int8") for tile in TILES if supports(tile, fmt)]


@pytest.mark.parametrize(("tile", "fmt"), [*CASES, ("12x3", "f32")])
def test_vocoders(read: Read, tmp_path: Path, tile: str, fmt: str) -> None:
    """Sizes are no multiple of any tile, so that ragged ends are there too."""
    rng = np.random.default_rng(70)
    arch, tensors = random_model(rng, hidden=77, cond=45, head=39, embed=9, mels=23)
    tiles = dict.fromkeys(GATES, tile)
    pruned, masks = prune(rng, tensors, tiles, GATES, 0.7) if tile != "dense" else (tensors, {})
    path = tmp_path / "m.lwm"
    pack_vocoder(path, arch, pruned, tiles, masks, fmt=fmt)
    header, vectors, matrices = read(path)
    for key in GATES:
        close(matrices[key], pruned[key], fmt)
    for key in ("cond.conv1.weight", "cond.conv2.weight"):
        close(matrices[key], pruned[key].transpose(0, 2, 1).reshape(len(pruned[key]), -1), fmt)
    for key in ("mel_mean", "embed", "gru.b_hh", "head.out.bias", "band_scale"):
        np.testing.assert_array_equal(vectors[key], pruned[key].ravel())
    assert header["dims"]["hidden"] == 77
    assert "task" not in header
    assert_documented(header)


@pytest.mark.parametrize("fmt", ["f32", "int8"])
def test_enhancers(read: Read, tmp_path: Path, fmt: str) -> None:
    arch, tensors = random_enhancer(np.random.default_rng(71))
    path = tmp_path / "e.lwm"
    pack_enhancer(path, arch, tensors, fmt=fmt)
    header, vectors, matrices = read(path)
    for key in matrix_gates(header["dims"]):
        close(matrices[key], tensors[key], fmt)
    np.testing.assert_array_equal(vectors["feature_std"], tensors["feature_std"])
    assert header["task"] == "enhancer"
    assert_documented(header)


def test_damage_is_found(read: Read, tmp_path: Path) -> None:
    path = tmp_path / "m.lwm"
    pack_vocoder(path, *random_model(np.random.default_rng(72), hidden=16))
    file = bytearray(path.read_bytes())
    file[-70] ^= 1
    path.write_bytes(file)
    with pytest.raises(AssertionError, match="damaged"):
        read(path)


def assert_documented(header: dict[str, Any]) -> None:
    """Every key and every name of the header stands on the page."""
    page = PAGE.read_text(encoding="utf-8")
    names = [*header, *header["dims"], *(key for item in header["matrices"] for key in item)]
    names += [item["name"] for item in (*header["vectors"], *header["matrices"])]
    layer = {"rnn.0.": "rnn.N.", "rnn.1.": "rnn.N."}
    for name in names:
        shown = name
        for given, printed in layer.items():
            shown = shown.replace(given, printed)
        assert f"`{shown}`" in page, f"{name} is not documented"
