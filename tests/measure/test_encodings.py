"""Ways of storing a pruned int8 matrix: each gives the matrix back, and sizes are what the formats promise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bench.errors import LanewiseError
from bench.measure import encodings as en
from bench.measure.entropy_coding import decode_entropy, encode_entropy, entropy_bound_bytes
from bench.sparsity.tile import Tile

Matrix = NDArray[np.int8]


@st.composite
def matrices(draw: st.DrawFn) -> Matrix:
    """Sparse in weights, blocks, rows or columns; any int8 value, -128 included."""
    rows, cols = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    matrix = np.clip(np.rint(draw(st.floats(0.5, 100)) * rng.standard_normal((rows, cols))), -128, 127)
    height, width = draw(st.sampled_from([(1, 1), (4, 1), (1, 8), (4, 4), (1, 64), (64, 1)]))
    coarse = rng.random((-(-rows // height), -(-cols // width))) < draw(st.sampled_from([0.0, 0.02, 0.2, 0.7, 1.0]))
    kept = np.kron(coarse, np.ones((height, width)))[:rows, :cols]
    return np.asarray(matrix * kept, dtype=np.int8)


@settings(max_examples=150, deadline=None)
@given(matrices())
def test_every_encoding_gives_the_matrix_back(matrix: Matrix) -> None:
    shape = (matrix.shape[0], matrix.shape[1])
    np.testing.assert_array_equal(en.decode_dense(en.encode_dense(matrix), shape), matrix)
    np.testing.assert_array_equal(en.decode_bitmap(en.encode_bitmap(matrix), shape), matrix)
    np.testing.assert_array_equal(decode_entropy(encode_entropy(matrix), shape), matrix)
    for bits in (None, *en.GAP_BITS):
        np.testing.assert_array_equal(en.decode_relative(en.encode_relative(matrix, bits), shape), matrix)
    assert en.decode_bitmap(en.encode_bitmap(matrix), shape).dtype == np.int8


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 4), st.integers(1, 12), st.integers(1, 30), st.data())
def test_blocks_of_any_tile_come_back(gates: int, height: int, cols: int, data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**31)))
    matrix = rng.integers(-128, 128, (gates * height, cols), np.int8)
    matrix *= rng.random(matrix.shape) < 0.1
    tile = data.draw(
        st.sampled_from([Tile.parse("column"), Tile.parse("gate-column"), Tile.parse("row")])
        | st.builds(Tile, st.integers(1, height), st.integers(1, cols))
    )
    shape = (gates * height, cols)
    np.testing.assert_array_equal(en.decode_blocks(en.encode_blocks(matrix, tile, gates), shape, tile, gates), matrix)


@settings(max_examples=100, deadline=None)
@given(matrices())
def test_sizes(matrix: Matrix) -> None:
    count, kept = matrix.size, int(np.count_nonzero(matrix))
    sizes = en.stored_bytes(matrix, Tile(1, 1))
    assert sizes["dense"] == count
    assert sizes["bitmap"] == sizes["blocks"] == -(-count // 8) + kept
    assert sizes["relative"] >= 1 + kept
    assert sizes["entropy_bound"] <= sizes["entropy"]
    header = 80 + 2 * (16 * 24 + 256)
    assert sizes["entropy"] <= 1.01 * sizes["entropy_bound"] + header + 8


def test_relative_index_by_hand() -> None:
    matrix = np.zeros((1, 20), np.int8)
    matrix[0, [2, 12]] = 5, -7
    data = en.encode_relative(matrix, 2)
    # gaps of at most 3 zeros: 2 before the 5; 9 before the -7 are 3, a stored 0, 3, a stored 0, 1
    assert data == bytes([2, 5, 0, 0, 256 - 7, 0b10_11_11_01])
    assert len(en.encode_relative(matrix)) == min(len(en.encode_relative(matrix, bits)) for bits in en.GAP_BITS)
    with pytest.raises(LanewiseError, match="1 to 8 bits, got 9"):
        en.encode_relative(matrix, 9)


def test_entropy_of_a_known_source() -> None:
    """Equally likely 16 values at 10 % density: 4 bits a value and H(0.1) = 0.469 bits a place."""
    rng = np.random.default_rng(0)
    matrix = np.where(rng.random((256, 512)) < 0.1, rng.integers(1, 17, (256, 512)), 0).astype(np.int8)
    expected = (0.469 * matrix.size + 4 * np.count_nonzero(matrix)) / 8
    assert entropy_bound_bytes(matrix) == pytest.approx(expected, rel=0.01)
    assert len(encode_entropy(matrix)) == pytest.approx(expected, rel=0.03)


def test_empty_columns_cost_the_quadtree_next_to_nothing() -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(1, 17, (256, 256)).astype(np.int8)
    scattered, columns = values * (rng.random((256, 256)) < 0.25), values.copy()
    columns[:, 64:] = 0
    assert len(encode_entropy(columns)) < 0.75 * len(encode_entropy(scattered.astype(np.int8)))
