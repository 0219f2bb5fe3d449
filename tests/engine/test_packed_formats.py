"""Whole vocoders in bf16 and int8: packed per matrix, run on every ISA that has the kernels, close to f32."""

from pathlib import Path

import numpy as np
import pytest

from bench.engine import Vocoder, isas, table
from bench.engine.layout import pack_matrix
from bench.engine.pack import CONVOLUTIONS, GATES, pack_vocoder
from bench.engine.stored import read_matrix
from bench.engine.vocoder import read_header
from bench.errors import LanewiseError, UsageError
from bench.measure.footprint import footprint
from tests.engine.models import prune, random_model

TILES = {"bf16": "16x2", "int8": "16x4"}


@pytest.mark.parametrize("fmt", ["bf16", "int8"])
def test_runs_close_to_f32(fmt: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(50)
    arch, dense = random_model(rng, peaked=False)
    tiles = {"gru.w_hh": TILES[fmt], "gru.w_cond": "16x1"}
    tensors, masks = prune(rng, dense, tiles, GATES, 0.5)
    sizes = {
        number: pack_vocoder(tmp_path / f"{number}.lwm", arch, tensors, tiles, masks, number) for number in ("f32", fmt)
    }
    assert sizes[fmt].nonzeros == sizes["f32"].nonzeros
    assert sizes[fmt].blocks == sizes["f32"].blocks
    stored = {number: footprint(tmp_path / f"{number}.lwm").matrices for number in sizes}
    assert all(row.format == fmt for row in stored[fmt])
    assert sum(row.bytes for row in stored[fmt]) < 0.6 * sum(row.bytes for row in stored["f32"])

    mel = rng.standard_normal((8, 20)).astype(np.float32)
    reference = Vocoder(tmp_path / "f32.lwm")
    forced = reference.indices(mel, seed=1)
    expected = reference.teacher_force(mel, forced, seed=1).astype(int)
    for isa in isas():
        if not table.supports("dense", fmt, isa):
            with pytest.raises(LanewiseError, match=rf"lwm: cond\.conv1\.weight: {fmt} dense has no kernel on {isa};"):
                Vocoder(tmp_path / f"{fmt}.lwm", isa)
            continue
        levels = Vocoder(tmp_path / f"{fmt}.lwm", isa).teacher_force(mel, forced, seed=1).astype(int)
        moved = np.abs(levels - expected)
        # The same uniform numbers from nearly the same distributions: a level moves by little, and rarely far.
        assert np.median(moved) <= 2, isa
        assert (moved > 16).mean() < 0.05, isa


def test_format_by_matrix(tmp_path: Path) -> None:
    arch, tensors = random_model(np.random.default_rng(51))
    path = tmp_path / "m.lwm"
    pack_vocoder(path, arch, tensors, fmt={"gru.w_hh": "int8", "cond.conv1.weight": "bf16"})
    header = read_header(path)
    numbers = {entry["name"]: entry["number"] for entry in header["matrices"]}
    assert numbers == dict.fromkeys([*CONVOLUTIONS, *GATES], "f32") | {
        "gru.w_hh": "int8",
        "cond.conv1.weight": "bf16",
    }
    expected, stored = pack_matrix(tensors["gru.w_hh"], "dense", fmt="int8"), read_matrix(path, header, "gru.w_hh")
    np.testing.assert_array_equal(stored.weights, expected.weights)
    np.testing.assert_array_equal(stored.scales, expected.scales)


def test_refusals(tmp_path: Path) -> None:
    arch, tensors = random_model(np.random.default_rng(52))
    out = tmp_path / "m.lwm"
    with pytest.raises(UsageError, match=r"format: got 'fp8' for .*, expected one of f32, bf16, int8"):
        pack_vocoder(out, arch, tensors, fmt="fp8")
    with pytest.raises(UsageError, match=r"format: 'gru\.b_hh' is not a matrix; these are: cond\.conv1\.weight"):
        pack_vocoder(out, arch, tensors, fmt={"gru.b_hh": "int8"})
    with pytest.raises(UsageError, match=r"gru\.w_hh: tile 8x1: no int8 kernel; in int8 these have one: dense"):
        pack_vocoder(out, arch, tensors, {"gru.w_hh": "8x1"}, fmt="int8")
    assert not out.exists()
