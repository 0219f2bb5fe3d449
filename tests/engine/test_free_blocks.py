"""Blocks without a kernel of their own run exactly, as the largest tile that divides them."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.engine import MatVec, Vocoder, isas, table
from bench.engine.layout import pack_matrix
from bench.engine.pack import GATES, pack_vocoder
from bench.engine.recipe import recipe
from bench.engine.stored import read_matrix
from bench.engine.vocoder import read_header
from bench.errors import LanewiseError, UsageError
from tests.engine.models import prune, random_mask, random_model


def sides(tile: str) -> tuple[int, int]:
    rows, cols = tile.split("x")
    return int(rows), int(cols)


@pytest.mark.parametrize(
    ("tile", "fmt", "expected"),
    [
        ("24x1", "f32", "8x1"),
        ("16x8", "f32", "16x4"),
        ("12x2", "f32", "4x1"),
        ("5x3", "f32", "1x1"),
        ("32x4", "f32", "16x4"),
        ("1x32", "f32", "1x16"),
        ("4x16", "f32", "1x16"),
        ("16x4", "f32", "16x4"),
        ("16x4", "bf16", "16x2"),
        ("32x1", "int8", "16x1"),
        ("8x8", "int8", "8x4"),
        ("dense", "int8", "dense"),
        ("row", "f32", "row"),
        ("gate-column", "f32", "gate-column"),
    ],
)
def test_runs_as(tile: str, fmt: str, expected: str) -> None:
    assert table.runs_as(tile, fmt) == expected
    assert table.can_run(tile, fmt)


def test_the_largest_that_divides() -> None:
    for fmt, rows, cols in itertools.product(("f32", "bf16", "int8"), range(1, 49), range(1, 18)):
        dividing = [
            sides(name)
            for name in table.tiles(fmt)
            if "x" in name and not rows % sides(name)[0] and not cols % sides(name)[1]
        ]
        tile = f"{rows}x{cols}"
        assert table.can_run(tile, fmt) == bool(dividing)
        if dividing:
            height, width = sides(table.runs_as(tile, fmt))
            assert (height, width) in dividing
            assert height * width == max(r * c for r, c in dividing)


@pytest.mark.parametrize(
    ("tile", "fmt", "message"),
    [
        ("3by4", "f32", "unknown name '3by4'"),
        ("0x4", "f32", "'0x4' is empty"),
        ("column", "bf16", "tile column: no bf16 kernel; in bf16 these have one: dense, 16x1, 16x2, row"),
        ("24x4", "bf16", "tile 24x4: no bf16 kernel"),
    ],
)
def test_refused(tile: str, fmt: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        table.runs_as(tile, fmt)
    assert not table.can_run(tile, fmt)


@pytest.mark.parametrize("isa", isas())
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_products_of_any_block(isa: str, data: st.DataObject) -> None:
    """Ragged ends, gate borders, empty and full: what is stored is what the mask keeps, no more and no less."""
    height, width, gates = (data.draw(st.integers(1, most)) for most in (40, 20, 3))
    rows, cols = data.draw(st.integers(height, 90)), data.draw(st.integers(width, 60))
    sparsity = data.draw(st.sampled_from([0.0, 0.3, 0.8, 1.0]))
    rng, tile = np.random.default_rng(data.draw(st.integers(0, 2**32))), f"{height}x{width}"
    weight = rng.standard_normal((gates * rows, cols)).astype(np.float32)
    mask = random_mask(rng, weight.shape, tile, gates, sparsity)
    x = rng.standard_normal(cols).astype(np.float32)
    product = MatVec(weight, tile, mask, gates, isa)
    masked = weight.astype(np.float64) * mask
    assert (np.abs(product.run(x) - masked @ x) <= 4e-7 * (np.abs(masked) @ np.abs(x)) + 1e-12).all()
    packed = product.packed
    corners = mask.reshape(gates, rows, cols)[:, ::height, ::width]
    assert (packed.tile, packed.runs_as) == (tile, table.runs_as(tile))
    assert packed.blocks == int(corners.sum())
    assert packed.nonzeros == int(mask.sum())
    without = pack_matrix(np.where(mask, np.float32(1), np.float32(0)), tile, None, gates)
    np.testing.assert_array_equal(without.index, packed.index)
    np.testing.assert_array_equal(without.counts, packed.counts)


def test_a_tile_is_kept_whole_without_a_mask() -> None:
    weight = np.zeros((24, 4), dtype=np.float32)
    weight[13, 2] = 1
    packed = pack_matrix(weight, "24x2")
    assert (packed.runs_as, packed.blocks, packed.nonzeros) == ("8x1", 1, 48)


def test_alignment_is_that_of_the_pruning_tile() -> None:
    mask = np.ones((24, 4), dtype=np.bool_)
    mask[:8] = False
    with pytest.raises(LanewiseError, match="mask is not aligned to tile 24x1: 4 of 4 tiles are kept in part"):
        pack_matrix(np.ones((24, 4)), "24x1", mask)
    with pytest.raises(UsageError, match="tile 24x1 is larger than one gate"):
        pack_matrix(np.ones((24, 4)), "24x1", gates=3)


@pytest.mark.parametrize("fmt", ["f32", "bf16", "int8"])
def test_a_packed_model_records_both_names(fmt: str, tmp_path: Path) -> None:
    arch, dense = random_model(np.random.default_rng(60))
    tiles = {"gru.w_hh": "32x8", "head.fc.weight": "32x4"}
    tensors, masks = prune(np.random.default_rng(61), dense, tiles, GATES, 0.5)
    chosen = recipe(fmt, tiles)
    path = tmp_path / "m.lwm"
    info = pack_vocoder(path, arch, tensors, tiles, masks, chosen.matrices, chosen.tables)
    header = read_header(path)
    entry = next(entry for entry in header["matrices"] if entry["name"] == "gru.w_hh")
    assert (entry["tile"], entry["runs_as"]) == ("32x8", table.runs_as("32x8", fmt))
    stored = read_matrix(path, header, "gru.w_hh")
    assert (stored.tile, stored.runs_as) == (entry["tile"], entry["runs_as"])
    kept = masks["gru.w_hh"].reshape(3, 64, 64)[:, ::32, ::8]
    assert info.blocks["gru.w_hh"] == stored.blocks == int(kept.sum())

    # The same weights, pruned by the kernel's own tile: the same distributions.
    same = tmp_path / "same.lwm"
    named = {key: table.runs_as(tile, fmt) for key, tile in tiles.items()}
    pack_vocoder(same, arch, tensors, named, masks, chosen.matrices, chosen.tables)
    mel = np.random.default_rng(62).standard_normal((3, 20)).astype(np.float32)
    for isa in (isas()[-1], "scalar"):
        np.testing.assert_array_equal(Vocoder(path, isa).indices(mel), Vocoder(same, isa).indices(mel))
