"""How many bytes a pruned int8 matrix takes in each way of storing it; every encoding is real and can be decoded.

The numbers of a matrix are (rows, cols) int8; row-major order throughout. What every format needs beside it (shape,
which format, scales) is the same for all and left out.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bench.errors import LanewiseError
from bench.measure.entropy_coding import encode_entropy, entropy_bound_bytes
from bench.sparsity.tile import Tile

Int8Matrix = NDArray[np.int8]
GAP_BITS = range(1, 9)
"""Widths of a relative index that are tried; the smallest result is kept."""


def encode_dense(matrix: Int8Matrix) -> bytes:
    """One byte a weight."""
    return matrix.tobytes()


def decode_dense(data: bytes, shape: tuple[int, int]) -> Int8Matrix:
    """Undo `encode_dense`."""
    return np.frombuffer(data, np.int8).reshape(shape)


def encode_bitmap(matrix: Int8Matrix) -> bytes:
    """One bit a weight that says whether it is kept, then the kept ones."""
    flat = matrix.reshape(-1)
    mask: bytes = np.packbits(flat != 0).tobytes()
    kept: bytes = flat[flat != 0].tobytes()
    return mask + kept


def decode_bitmap(data: bytes, shape: tuple[int, int]) -> Int8Matrix:
    """Undo `encode_bitmap`."""
    count = shape[0] * shape[1]
    at = -(-count // 8)
    kept = np.unpackbits(np.frombuffer(data[:at], np.uint8), count=count).astype(bool)
    flat = np.zeros(count, np.int8)
    flat[kept] = np.frombuffer(data[at:], np.int8)
    return flat.reshape(shape)


def encode_relative(matrix: Int8Matrix, bits: int | None = None) -> bytes:
    """Each kept weight after the number of zeros before it, in `bits` bits (Han et al., ICLR 2016, "Deep Compression").

    A gap that does not fit is broken by a stored zero. The first byte holds the width; None takes the smallest result.
    """
    if bits is None:
        return min((encode_relative(matrix, width) for width in GAP_BITS), key=len)
    if bits not in GAP_BITS:
        raise LanewiseError(f"a relative index has 1 to 8 bits, got {bits}")
    flat = matrix.reshape(-1)
    longest = 1 << bits  # positions that one entry can advance
    advance = np.diff(np.flatnonzero(flat), prepend=-1)
    fillers = (advance - 1) // longest
    ends = np.cumsum(fillers + 1) - 1
    gaps = np.full(int(fillers.sum()) + len(advance), longest - 1, np.uint8)
    values = np.zeros(len(gaps), np.int8)
    gaps[ends] = (advance - 1) % longest
    values[ends] = flat[flat != 0]
    packed = np.packbits((gaps[:, None] >> np.arange(bits - 1, -1, -1, dtype=np.uint8)) & 1)
    return bytes([bits]) + values.tobytes() + packed.tobytes()


def decode_relative(data: bytes, shape: tuple[int, int]) -> Int8Matrix:
    """Undo `encode_relative`."""
    bits, body = data[0], data[1:]
    entries = len(body) * 8 // (8 + bits)
    while entries + -(-entries * bits // 8) > len(body):
        entries -= 1
    values = np.frombuffer(body[:entries], np.int8)
    spread = np.unpackbits(np.frombuffer(body[entries:], np.uint8), count=entries * bits).reshape(entries, bits)
    gaps = spread @ (1 << np.arange(bits - 1, -1, -1))
    flat = np.zeros(shape[0] * shape[1], np.int8)
    flat[np.cumsum(gaps + 1) - 1] = values
    return flat.reshape(shape)


def encode_blocks(matrix: Int8Matrix, tile: Tile, gates: int = 1) -> bytes:
    """One bit a tile that says whether it is kept, then every weight of the kept tiles; edge tiles are filled up."""
    bands, rows, cols = tile.extent((matrix.shape[0], matrix.shape[1]), gates)
    blocks = np.concatenate([_cut(band, rows, cols) for band in np.split(matrix, bands)])
    kept = blocks.any(axis=1)
    return np.packbits(kept).tobytes() + blocks[kept].tobytes()


def decode_blocks(data: bytes, shape: tuple[int, int], tile: Tile, gates: int = 1) -> Int8Matrix:
    """Undo `encode_blocks`."""
    bands, rows, cols = tile.extent(shape, gates)
    height, width = shape[0] // bands, shape[1]
    down, across = -(-height // rows), -(-width // cols)
    count = bands * down * across
    at = -(-count // 8)
    kept = np.unpackbits(np.frombuffer(data[:at], np.uint8), count=count).astype(bool)
    blocks = np.zeros((count, rows, cols), np.int8)
    blocks[kept] = np.frombuffer(data[at:], np.int8).reshape(-1, rows, cols)
    placed = blocks.reshape(bands, down, across, rows, cols).transpose(0, 1, 3, 2, 4)
    whole = placed.reshape(bands, down * rows, across * cols)[:, :height, :width]
    return np.ascontiguousarray(whole).reshape(shape)


def _cut(band: Int8Matrix, rows: int, cols: int) -> Int8Matrix:
    """(tiles, weights of a tile) of one gate, tiles row by row."""
    padded = np.pad(band, ((0, -band.shape[0] % rows), (0, -band.shape[1] % cols)))
    down, across = padded.shape[0] // rows, padded.shape[1] // cols
    return padded.reshape(down, rows, across, cols).transpose(0, 2, 1, 3).reshape(down * across, rows * cols)


ENCODINGS: dict[str, Callable[[Int8Matrix, Tile, int], bytes]] = {
    "dense": lambda matrix, tile, gates: encode_dense(matrix),
    "bitmap": lambda matrix, tile, gates: encode_bitmap(matrix),
    "relative": lambda matrix, tile, gates: encode_relative(matrix),
    "blocks": encode_blocks,
    "entropy": lambda matrix, tile, gates: encode_entropy(matrix),
}
"""Ways of storing by name; the tile and the stacked gates are those of the block format."""


def stored_bytes(matrix: Int8Matrix, tile: Tile, gates: int = 1) -> dict[str, int]:
    """Bytes of one matrix by way of storing it; `entropy_bound` is what the entropy coder cannot go below.

    Parameters
    ----------
    matrix
        Quantised weights, 0 where pruned.
    tile, gates
        Of the block format: what the matrix was pruned by, and its stacked gates.
    """
    sizes = {name: len(encode(matrix, tile, gates)) for name, encode in ENCODINGS.items()}
    return sizes | {"entropy_bound": entropy_bound_bytes(matrix)}
