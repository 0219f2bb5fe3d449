"""Number formats: what is stored, and every bf16 and int8 kernel against a double-precision product of just that."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.engine import MatVec, isas, table
from bench.engine.layout import PackedMatrix, pack_matrix
from bench.engine.numbers import decode, encode
from bench.errors import LanewiseError, UsageError
from bench.sparsity.tile import Tile
from tests.engine.models import random_mask

Matrix64 = npt.NDArray[np.float64]
EVERY = pytest.mark.parametrize("isa", isas())
KERNELS = [
    pytest.param(
        str(row["tile"]), str(row["format"]), str(row["isa"]), id=f"{row['tile']}-{row['format']}-{row['isa']}"
    )
    for row in table.rows()
    if row["runs_here"] and row["format"] != "f32"
]
KERNEL = pytest.mark.parametrize(("tile", "fmt", "isa"), KERNELS)


def rounded_bf16(x: npt.NDArray[np.float32]) -> Matrix64:
    """Eight significant bits, ties to even."""
    fraction, exponent = np.frexp(x.astype(np.float64))
    return np.asarray(np.ldexp(np.rint(fraction * 256) / 256, exponent))


def quantised(x: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.int64], float]:
    """Whole numbers of magnitude at most 127, and the size of one."""
    greatest = np.abs(x).max(initial=np.float32(0))
    if greatest == 0:
        return np.zeros(x.shape, np.int64), 0.0
    return np.rint(x * (np.float32(127) / greatest)).astype(np.int64), float(greatest / np.float32(127))


def check(
    rng: np.random.Generator, shape: tuple[int, int], tile: str, gates: int, sparsity: float, fmt: str, isa: str
) -> None:
    weight = rng.standard_normal(shape).astype(np.float32)
    mask = None if tile == "dense" else random_mask(rng, shape, tile, gates, sparsity)
    masked = weight if mask is None else weight * mask
    x = (rng.standard_normal(shape[1]) * 10 ** rng.uniform(-3, 3)).astype(np.float32)
    y = MatVec(weight, tile, mask, gates, isa, fmt).run(x)
    where = (shape, tile, gates, sparsity, fmt, isa)
    if fmt == "int8":
        stored, scales = encode(masked, fmt)
        q, step = quantised(x)
        sums = stored.astype(np.int64) @ q
        np.testing.assert_allclose(y, sums * scales.astype(np.float64) * step, rtol=3e-7, err_msg=str(where))
        return
    stored_weight, taken = rounded_bf16(masked), x if tile == "16x1" else rounded_bf16(x)
    bound = 1e-6 * (np.abs(stored_weight) @ np.abs(taken)) + 1e-12
    assert (np.abs(y - stored_weight @ taken) <= bound).all(), where


@KERNEL
@pytest.mark.parametrize("sparsity", [0.0, 0.7, 1.0])
def test_plain_shapes(tile: str, fmt: str, isa: str, sparsity: float) -> None:
    rng = np.random.default_rng(40)
    check(rng, (384, 128), tile, 3, sparsity, fmt, isa)
    check(rng, (48, 300), tile, 1, sparsity, fmt, isa)


@KERNEL
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_ragged_shapes(tile: str, fmt: str, isa: str, data: st.DataObject) -> None:
    least = 17 if tile != "dense" else 1
    gates = data.draw(st.sampled_from([1, 2, 3]))
    rows, cols = data.draw(st.integers(least, 100)), data.draw(st.integers(least, 300))
    sparsity = data.draw(st.sampled_from([0.0, 0.3, 0.7, 0.95, 1.0]))
    check(
        np.random.default_rng(data.draw(st.integers(0, 2**32))), (gates * rows, cols), tile, gates, sparsity, fmt, isa
    )


@KERNEL
def test_wide_matrix(tile: str, fmt: str, isa: str) -> None:
    for cols in (2048, 40_000):
        check(np.random.default_rng(41), (32, cols), tile, 2, 0.9, fmt, isa)


@KERNEL
def test_one_kept_tile(tile: str, fmt: str, isa: str) -> None:
    """Tiles in lines that are otherwise empty, at every place of a line."""
    if tile == "dense":
        return
    bands, height, width = Tile.parse(tile).extent((48, 80), 3)
    for column in range(0, 80, width):
        weight = np.zeros((48, 80), np.float32)
        weight[16 : 16 + height, column : column + width] = 2.0
        x = np.zeros(80, np.float32)
        x[column : column + width] = 0.5
        expected = np.zeros(48)
        expected[16 : 16 + height] = width
        np.testing.assert_allclose(MatVec(weight, tile, None, bands, isa, fmt).run(x), expected, rtol=1e-6)


@KERNEL
def test_misaligned_and_zero_inputs(tile: str, fmt: str, isa: str) -> None:
    rng = np.random.default_rng(42)
    weight = rng.standard_normal((96, 64)).astype(np.float32)
    product = MatVec(weight, tile, gates=3, isa=isa, fmt=fmt)
    x = rng.standard_normal(64).astype(np.float32)
    room = np.zeros(80, np.float32)
    for offset in (1, 3, 7):
        room[offset : offset + 64] = x
        np.testing.assert_array_equal(product.run(room[offset : offset + 64]), product.run(x))
    for small in (0.0, 1e-38, 1e-45):
        assert np.abs(product.run(np.full(64, small, np.float32))).max() < 1e-30
    nothing = MatVec(np.zeros((96, 64), np.float32), tile, np.ones((96, 64), bool), 3, isa, fmt)
    assert not nothing.run(x).any()


@pytest.mark.parametrize("isa", isas())
@pytest.mark.parametrize("fmt", ["f32", "bf16", "int8"])
def test_nan_and_infinite_inputs_are_not_hidden(fmt: str, isa: str) -> None:
    for tile in table.tiles(fmt):
        if not table.supports(tile, fmt, isa):
            continue
        product = MatVec(np.ones((96, 80), np.float32), tile, gates=3, isa=isa, fmt=fmt)
        for bad in (np.nan, -np.nan, np.inf, -np.inf):
            for column in (0, 37, 79):
                x = np.ones(80, np.float32)
                x[column] = bad
                assert not np.isfinite(product.run(x)).any(), (tile, bad, column)


@EVERY
def test_int8_sums_do_not_saturate(isa: str) -> None:
    """Every product at its greatest magnitude, all of one sign, then of the other."""
    for tile in table.tiles("int8"):
        if not table.supports(tile, "int8", isa):
            continue
        for sign in (1, -1):
            weight, x = np.full((32, 1024), sign, np.float32), np.ones(1024, np.float32)
            product = MatVec(weight, tile, isa=isa, fmt="int8")
            for flipped in (1, -1):
                np.testing.assert_allclose(product.run(flipped * x), sign * flipped * 1024, rtol=3e-7)


def dense_again(p: PackedMatrix) -> npt.NDArray[np.generic]:
    """Walk what is stored one weight at a time; padding must be zero."""
    k = 4 // p.weights.itemsize
    result = np.zeros((p.rows, p.cols), p.weights.dtype)
    weights: Iterator[float] = iter(p.weights.tolist())
    index: Iterator[int] = iter(p.index.tolist())

    def chunk(rows: range, end: int, columns: list[int]) -> None:
        for row in rows:
            for at in range(k):
                value = next(weights)
                if row < end and at < len(columns) and columns[at] < p.cols:
                    result[row, columns[at]] = value
                else:
                    assert value == 0

    if p.layout == "dense":
        index = iter(())
        row = 0
        while row < p.rows:
            height = 64 if p.rows - row >= 64 else 16
            for column in range(0, p.cols, k):
                chunk(range(row, row + height), p.rows, list(range(column, column + k)))
            row += height
    else:
        gate_rows = p.rows // p.gates
        starts = [(gate, row) for gate in range(p.gates) for row in range(0, gate_rows, p.tile_rows)]
        for (gate, row), count in zip(starts, p.counts.tolist(), strict=True):
            first, end = gate * gate_rows + row, (gate + 1) * gate_rows
            rows = range(first, first + p.tile_rows)
            kept = [next(index) for _ in range(count)]
            if p.tile_cols == 1:
                for at in range(0, count, k):
                    chunk(rows, end, kept[at : at + k])
            else:
                for column in kept:
                    for at in range(column, column + p.tile_cols, k):
                        chunk(rows, end, list(range(at, at + k)))
    assert next(weights, None) is None
    assert next(index, None) is None
    return result


@pytest.mark.parametrize("fmt", ["f32", "bf16", "int8"])
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_kept_rows_are_a_dense_matrix(fmt: str, data: st.DataObject) -> None:
    gates, rows, cols = (data.draw(st.integers(1, most)) for most in (3, 70, 40))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    kept = rng.random(gates * rows) >= data.draw(st.sampled_from([0.0, 0.5, 0.95, 1.0]))
    weight = rng.standard_normal((gates * rows, cols)).astype(np.float32)
    packed = pack_matrix(weight, "row", np.tile(kept[:, None], cols), gates, fmt)
    dense = replace(packed, layout="dense", rows=int(kept.sum()))
    expected, scales = encode(weight[kept], fmt)
    np.testing.assert_array_equal(dense_again(dense), expected)
    np.testing.assert_array_equal(packed.scales, scales)
    np.testing.assert_array_equal(packed.index, np.nonzero(kept)[0])
    assert packed.counts.tolist() == [packed.blocks] == [kept.sum()]
    assert packed.nonzeros == kept.sum() * cols


@pytest.mark.parametrize("fmt", ["f32", "bf16", "int8"])
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_round_trip(fmt: str, data: st.DataObject) -> None:
    tile = data.draw(
        st.sampled_from([tile for tile in table.tiles(fmt) if table.TILES[tile][0] in ("dense", "row_group")])
    )
    gates, rows, cols = (
        data.draw(st.sampled_from([1, 3])),
        data.draw(st.integers(32, 70)),
        data.draw(st.integers(4, 40)),
    )
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    weight = rng.standard_normal((gates * rows, cols)).astype(np.float32)
    mask = None if tile == "dense" else random_mask(rng, weight.shape, tile, gates, 0.6)
    packed = pack_matrix(weight, tile, mask, gates, fmt)
    masked = weight if mask is None else np.where(mask, weight, np.float32(0))
    expected, scales = encode(masked, fmt)
    np.testing.assert_array_equal(dense_again(packed), expected)
    np.testing.assert_array_equal(packed.scales, scales)
    if mask is not None:
        _, height, width = table.TILES[tile]
        strips = [
            mask[g * rows + r : min(g * rows + r + height, (g + 1) * rows)]
            for g in range(gates)
            for r in range(0, rows, height)
        ]
        blocks = sum(bool(strip[:, c : c + width].any()) for strip in strips for c in range(0, cols, width))
        assert packed.blocks == len(packed.index) == blocks
        assert packed.nonzeros == int(mask.sum())


def test_encodings() -> None:
    rng = np.random.default_rng(43)
    w = (rng.standard_normal((40, 30)) * 10 ** rng.uniform(-30, 30, (40, 1))).astype(np.float32)
    w[3] = 0
    w[4, :3] = (1.00390625, 1.01171875, -1.00390625)  # halfway between two bf16
    bf16, none = encode(w, "bf16")
    np.testing.assert_array_equal(decode(bf16, "bf16"), rounded_bf16(w))
    assert none.size == 0
    int8, scales = encode(w, "int8")
    np.testing.assert_allclose(scales * 127.0, np.abs(w).max(axis=1), rtol=1e-6)
    assert (np.abs(decode(int8, "int8", scales) - w) <= scales[:, None] * 0.5001).all()
    assert np.abs(int8.astype(int)).max() == 127
    greatest = np.full((2, 2), np.finfo(np.float32).max)
    assert np.isfinite(decode(encode(greatest, "bf16")[0], "bf16")).all()


def test_sizes_follow_the_format() -> None:
    weight = np.random.default_rng(44).standard_normal((768, 256)).astype(np.float32)
    mask = random_mask(np.random.default_rng(45), weight.shape, "16x1", 3, 0.7)
    sizes = {fmt: pack_matrix(weight, "16x1", mask, 3, fmt) for fmt in ("f32", "bf16", "int8")}
    assert sizes["f32"].nonzeros == sizes["int8"].nonzeros == sizes["bf16"].nonzeros == mask.sum()
    assert sizes["bf16"].weights.nbytes == pytest.approx(sizes["f32"].weights.nbytes / 2, rel=0.02)
    assert sizes["int8"].weights.nbytes == pytest.approx(sizes["f32"].weights.nbytes / 4, rel=0.05)
    product = MatVec(weight, "16x1", mask, 3, fmt="int8")
    assert product.bytes == product.packed.bytes + 4 * 768  # and a correction per row


def test_refusals() -> None:
    weight = np.ones((32, 8), dtype=np.float32)
    with pytest.raises(UsageError, match=r"tile 8x1: no int8 kernel; in int8 these have one: dense, 16x1, 4x4, 8x4"):
        MatVec(weight, "8x1", fmt="int8")
    with pytest.raises(UsageError, match="tile 24x1: no int8 kernel"):
        MatVec(weight, "24x1", fmt="int8")
    if "sse4.2" in isas():
        with pytest.raises(UsageError, match=r"sse4\.2 has no int8 kernel for tile 16x4; these have: scalar, avx2"):
            MatVec(weight, "16x4", isa="sse4.2", fmt="int8")
    with pytest.raises(LanewiseError, match="NaN"):
        MatVec(np.full((4, 4), np.nan), "dense", fmt="bf16")
