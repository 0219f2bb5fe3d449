"""Every kernel, on every ISA of this host, against a double-precision product of the masked matrix."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.engine import MatVec, add_chain_ns, isas, read_ns
from bench.engine.layout import pack_matrix
from bench.engine.native import core
from bench.engine.table import TILES
from bench.errors import LanewiseError, UsageError
from bench.sparsity.tile import Tile
from tests.engine.models import fresh, random_mask

SPARSE = [tile for tile in TILES if tile != "dense"]
EVERY = pytest.mark.parametrize("isa", isas())


def check(rng: np.random.Generator, shape: tuple[int, int], tile: str, gates: int, sparsity: float, isa: str) -> None:
    weight = rng.standard_normal(shape).astype(np.float32)
    mask = None if tile == "dense" else random_mask(rng, shape, tile, gates, sparsity)
    masked = weight if mask is None else weight * mask
    x = rng.standard_normal(shape[1]).astype(np.float32)
    product = MatVec(weight, tile, mask, gates, isa)
    bound = 4e-7 * (np.abs(masked).astype(np.float64) @ np.abs(x)) + 1e-12
    assert (np.abs(product.run(x) - masked.astype(np.float64) @ x) <= bound).all(), (shape, tile, gates, sparsity, isa)
    assert product.bytes == product.packed.bytes


@EVERY
@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("sparsity", [0.0, 0.7, 0.97, 1.0])
def test_plain_shapes(tile: str, sparsity: float, isa: str) -> None:
    rng = fresh()
    check(rng, (768, 256), tile, 3, sparsity, isa)
    check(rng, (48, 128), tile, 1, sparsity, isa)


@EVERY
@pytest.mark.parametrize("tile", TILES)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_ragged_shapes(isa: str, tile: str, data: st.DataObject) -> None:
    least = 33 if tile != "dense" else 1
    gates = data.draw(st.sampled_from([1, 2, 3]))
    rows, cols = data.draw(st.integers(least, 100)), data.draw(st.integers(least, 70))
    sparsity = data.draw(st.sampled_from([0.0, 0.3, 0.7, 0.95, 1.0]))
    check(np.random.default_rng(data.draw(st.integers(0, 2**32))), (gates * rows, cols), tile, gates, sparsity, isa)


@EVERY
@pytest.mark.parametrize("tile", ["dense", "16x1", "32x1", "column"])
def test_matrices_larger_than_a_core_s_own_cache(tile: str, isa: str) -> None:
    check(np.random.default_rng(6), (1500, 210), tile, 3, 0.05, isa)


@EVERY
@pytest.mark.parametrize("tile", [tile for tile in SPARSE if tile.endswith("x1")])
def test_an_infinite_input_reaches_only_rows_that_keep_its_column(tile: str, isa: str) -> None:
    rng = np.random.default_rng(7)
    for sparsity in (0.5, 0.9, 0.97):
        mask = random_mask(rng, (192, 40), tile, 3, sparsity)
        x = np.ones(40, dtype=np.float32)
        x[17] = np.inf
        got = MatVec(np.ones((192, 40), dtype=np.float32), tile, mask, 3, isa).run(x)
        np.testing.assert_array_equal(got, np.where(mask[:, 17], np.inf, mask.sum(axis=1)))


@EVERY
def test_tiny_matrices(isa: str) -> None:
    rng = np.random.default_rng(1)
    for tile in ("dense", "1x1", "column", "gate-column"):
        check(rng, (1, 1), tile, 1, 0.0, isa)
        check(rng, (3, 2), tile, 3, 0.5, isa)
    check(rng, (4, 1), "4x1", 1, 0.0, isa)
    check(rng, (1, 4), "1x4", 1, 0.0, isa)


@EVERY
@pytest.mark.parametrize("tile", TILES)
def test_misaligned_input(tile: str, isa: str) -> None:
    rng = np.random.default_rng(2)
    weight = rng.standard_normal((96, 64)).astype(np.float32)
    product = MatVec(weight, tile, gates=3, isa=isa)
    room = np.zeros(4 * 64 + 64, dtype=np.uint8)
    for offset in (1, 4, 12):
        x = room[offset : offset + 256].view(np.float32) if offset % 4 == 0 else None
        values = rng.standard_normal(64).astype(np.float32)
        if x is None:  # numpy itself refuses unaligned views; the face copies them
            x = np.frombuffer(bytes(offset) + values.tobytes(), dtype=np.float32, offset=offset)
        else:
            x[:] = values
        np.testing.assert_allclose(product.run(x), weight.astype(np.float64) @ values, atol=2e-5)


@EVERY
def test_whole_number_products_are_exact(isa: str) -> None:
    rng = np.random.default_rng(3)
    weight = rng.integers(-8, 9, (120, 90)).astype(np.float32)
    x = rng.integers(-8, 9, 90).astype(np.float32)
    for tile in TILES:
        np.testing.assert_array_equal(MatVec(weight, tile, gates=3, isa=isa).run(x), weight @ x)


@pytest.mark.parametrize("tile", SPARSE)
@pytest.mark.parametrize(("shape", "gates"), [((96, 64), 3), ((111, 45), 3), ((37, 50), 1)])
def test_blocks_are_those_of_the_mask(tile: str, shape: tuple[int, int], gates: int) -> None:
    import torch

    rng = np.random.default_rng(4)
    for sparsity in (0.0, 0.5, 1.0):
        mask = random_mask(rng, shape, tile, gates, sparsity)
        grid = Tile.parse(tile).grid(shape, gates)
        packed = pack_matrix(np.zeros(shape, np.float32), tile, mask, gates)  # kept tiles of zeros are kept
        assert packed.blocks == int(grid.reduce(torch.from_numpy(mask)).sum())
        assert packed.nonzeros == int(mask.sum())
        without = pack_matrix(np.where(mask, np.float32(1), np.float32(0)), tile, None, gates)
        np.testing.assert_array_equal(without.index, packed.index)
        np.testing.assert_array_equal(without.counts, packed.counts)


def test_bytes_fall_with_sparsity() -> None:
    rng = np.random.default_rng(5)
    weight = rng.standard_normal((768, 256)).astype(np.float32)
    for tile in SPARSE:
        sizes = [
            MatVec(weight, tile, random_mask(rng, weight.shape, tile, 3, sparsity), 3).bytes
            for sparsity in (0.5, 0.7, 0.9)
        ]
        assert sizes[0] > sizes[1] > sizes[2]


def test_refusals() -> None:
    weight = np.ones((12, 8), dtype=np.float32)
    split = np.ones((12, 8), dtype=bool)
    split[0, 0] = False
    with pytest.raises(UsageError, match="unknown name '3by4'"):
        MatVec(weight, "3by4")
    with pytest.raises(UsageError, match="larger than one gate"):
        MatVec(weight, "16x1", gates=3)
    with pytest.raises(LanewiseError, match="not aligned to tile 4x1: 1 of 24 tiles"):
        MatVec(weight, "4x1", split, gates=3)
    with pytest.raises(LanewiseError, match="dense matrix cannot skip"):
        MatVec(weight, "dense", split)
    with pytest.raises(LanewiseError, match="NaN"):
        MatVec(np.full((4, 4), np.nan), "1x1")
    with pytest.raises(LanewiseError, match="x has 9 numbers, this matrix takes 8"):
        MatVec(weight, "1x1").run(np.ones(9, dtype=np.float32))


def test_core_refuses_inconsistent_parts() -> None:
    p = pack_matrix(np.ones((8, 8), dtype=np.float32), "4x1")
    stored = p.weights.view(np.uint8)
    good = ("scalar", "row_group", "f32", 4, 1, 8, 8, 1)
    core.MatVec(*good, stored, p.index, p.counts, p.scales)
    wrong = [
        (*good, stored[:-4], p.index, p.counts, p.scales),
        (*good, stored[:-1], p.index, p.counts, p.scales),
        (*good, stored, p.index[:-1], p.counts, p.scales),
        (*good, stored, p.index, p.counts[:-1], p.scales),
        (*good, stored, p.index + np.uint16(1), p.counts, p.scales),
        (*good, stored, p.index[::-1].copy(), p.counts, p.scales),
        (*good, stored, p.index, p.counts * np.uint32(2), p.scales),
        (*good, stored, p.index, p.counts, np.ones(8, np.float32)),
        ("scalar", "row_group", "f32", 5, 1, 8, 8, 1, stored, p.index, p.counts, p.scales),
        ("scalar", "row_group", "f32", 4, 1, 8, 8, 3, stored, p.index, p.counts, p.scales),
        ("scalar", "spiral", "f32", 4, 1, 8, 8, 1, stored, p.index, p.counts, p.scales),
        ("scalar", "row_group", "f16", 4, 1, 8, 8, 1, stored, p.index, p.counts, p.scales),
        ("scalar", "row_group", "f32", 4, 1, 0, 8, 1, stored, p.index, p.counts, p.scales),
    ]
    for parts in wrong:
        with pytest.raises(LanewiseError):
            core.MatVec(*parts)


@EVERY
def test_timing_primitives_measure_something(isa: str) -> None:
    product = MatVec(np.ones((64, 64), dtype=np.float32), "16x1", isa=isa)
    assert product.run_ns(np.ones(64), 20) > 0
    assert product.read_ns(20) > 0
    assert read_ns(np.ones(4096, dtype=np.float32), 20, isa) > 0
    assert add_chain_ns(200_000) > 200_000 / 8  # no core adds eight times a nanosecond: the chain is there
