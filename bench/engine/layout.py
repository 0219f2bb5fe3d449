"""Weights in the layout and number format that a kernel reads (described in src/matrix.hpp), in plain numpy.

Zero tiles are left out, kept tiles stay whole even where they hold zeros, and what was stored is counted against the
mask, because a packer that silently writes every tile is fast to write and slow to run.
"""

from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from bench.engine import table
from bench.engine.numbers import CHUNK_COLUMNS, encode
from bench.engine.table import TILES
from bench.errors import LanewiseError, UsageError
from bench.sparsity.tile import Tile

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Number = TypeVar("Number", bound=np.generic)

PANEL_ROWS, SMALL_PANEL_ROWS = 64, 16
MAX_EXTENT = 65536
"""Rows or columns of a matrix: a stored column index is 16 bits wide."""


@dataclass(frozen=True)
class PackedMatrix:
    """A weight matrix (rows, cols) as its kernel reads it.

    Attributes
    ----------
    tile
        By which it was pruned.
    layout, tile_rows, tile_cols, gates
        How it is stored; `gates` is 1 where tiles run over all of them.
    number
        `f32`, `bf16` or `int8`.
    weights, index, counts, scales
        Contents: float32, uint16 (bf16) or int8; uint16; uint32; float32 (rows stored, of int8 only).
    blocks
        Kept tiles by which it was pruned (of `dense`: one).
    nonzeros
        Kept weights, padding not counted.
    """

    tile: str
    layout: str
    number: str
    tile_rows: int
    tile_cols: int
    rows: int
    cols: int
    gates: int
    weights: npt.NDArray[np.generic]
    index: npt.NDArray[np.uint16]
    counts: npt.NDArray[np.uint32]
    scales: Floats
    blocks: int
    nonzeros: int

    @property
    def runs_as(self) -> str:
        """Tile of the kernel that runs it, see `table.runs_as`."""
        return f"{self.tile_rows}x{self.tile_cols}" if self.layout.endswith("_group") else self.tile

    @property
    def bytes(self) -> int:
        """Bytes stored."""
        return self.weights.nbytes + self.index.nbytes + self.counts.nbytes + self.scales.nbytes


def pack_matrix(
    weight: npt.ArrayLike, tile: str, mask: Mask | None = None, gates: int = 1, fmt: str = "f32"
) -> PackedMatrix:
    """Pack W (out, in), whose rows stack `gates` equal gates.

    A tile without a kernel of its own is stored as those smaller tiles that `table.runs_as` names.

    Parameters
    ----------
    mask
        (out, in), True where kept; must keep or drop whole tiles. Without it a tile is kept if any weight is non-zero.
    fmt
        Number format of the stored weights, see `bench.engine.numbers`.

    Raises
    ------
    UsageError
        If the tile has no kernel (in this format) or does not fit the matrix.
    LanewiseError
        If weights are not finite, the mask splits a tile, or a dense matrix is given a mask with holes.
    """
    w = np.ascontiguousarray(weight, dtype=np.float32)
    runs_as = table.runs_as(tile, fmt)
    _check(w, tile, mask)
    if runs_as != tile:
        whole, blocks = _whole_tiles(w, tile, mask, gates)
        return replace(pack_matrix(w, runs_as, whole, gates, fmt), tile=tile, blocks=blocks)
    shape, k = (w.shape[0], w.shape[1]), CHUNK_COLUMNS[fmt]
    if mask is not None:
        w = np.where(mask, w, np.float32(0))
    values, scales = encode(w, fmt)
    if tile == "dense":
        if mask is not None and not mask.all():
            raise LanewiseError("a dense matrix cannot skip what its mask drops; name the mask's tile")
        empty = np.zeros(0)
        return _packed(tile, fmt, shape, gates, dense_layout(values, k), empty, empty, scales, 1, w.size)

    bands = Tile.parse(tile).extent(shape, gates)[0]
    layout, rows, cols = TILES[tile]
    sizes = _tiles(np.ones(shape, dtype=np.bool_), TILES[tile], bands).sum(axis=-1)
    held = _tiles(w != 0 if mask is None else mask, TILES[tile], bands).sum(axis=-1)
    kept = held > 0
    if mask is not None:
        _check_aligned(tile, held, sizes)
    tiles = _tiles(values, TILES[tile], bands)
    if layout == "kept_rows":
        lines = [dense_layout(tiles[kept], k)]
        scales = scales[kept[0]] if fmt == "int8" else scales
    elif layout == "compact":
        lines = [dense_layout(line[keep].T, k) for line, keep in zip(tiles, kept, strict=True)]
    elif cols == 1:
        lines = [_chunks(line[keep].T, k) for line, keep in zip(tiles, kept, strict=True)]
    else:
        lines = [_chunks(tiles[kept].reshape(-1, rows, cols), k)]
    index = np.nonzero(kept)[1] * cols
    weights = np.concatenate(lines)
    nonzeros = int(sizes[kept].sum())
    return _packed(tile, fmt, shape, bands, weights, index, kept.sum(axis=1), scales, int(kept.sum()), nonzeros)


def dense_layout(w: npt.NDArray[np.generic], k: int = 1) -> npt.NDArray[np.generic]:
    """Panels of 64 rows, then of 16 (the last one zero-padded), each by chunks of k columns, flattened."""
    rows = w.shape[0]
    whole = rows // PANEL_ROWS * PANEL_ROWS
    rest = np.pad(w[whole:], ((0, -(rows - whole) % SMALL_PANEL_ROWS), (0, 0)))
    return np.concatenate(
        [
            _chunks(part.reshape(len(part) // height, height, w.shape[1]), k)
            for part, height in ((w[:whole], PANEL_ROWS), (rest, SMALL_PANEL_ROWS))
        ]
    )


def _whole_tiles(w: Floats, tile: str, mask: Mask | None, gates: int) -> tuple[Mask, int]:
    """Mask of the tiles r x c that are kept, and their number."""
    shape = (w.shape[0], w.shape[1])
    bands, rows, cols = Tile.parse(tile).extent(shape, gates)
    block = ("row_group", rows, cols)
    sizes = _tiles(np.ones(shape, dtype=np.bool_), block, bands).sum(axis=-1)
    held = _tiles(w != 0 if mask is None else mask, block, bands).sum(axis=-1)
    if mask is not None:
        _check_aligned(tile, held, sizes)
    height = shape[0] // bands
    kept = (held > 0).reshape(bands, -1, held.shape[1]).repeat(rows, axis=1)[:, :height]
    return kept.repeat(cols, axis=2)[:, :, : shape[1]].reshape(shape), int((held > 0).sum())


def _check_aligned(tile: str, held: npt.NDArray[np.int_], sizes: npt.NDArray[np.int_]) -> None:
    split = int(((held > 0) & (held < sizes)).sum())
    if split:
        raise LanewiseError(f"mask is not aligned to tile {tile}: {split} of {sizes.size} tiles are kept in part")


def _check(w: Floats, tile: str, mask: Mask | None) -> None:
    if w.ndim != 2 or max(w.shape) > MAX_EXTENT:
        raise UsageError(
            f"tile {tile}: expected a matrix of at most {MAX_EXTENT} rows and columns, got shape {w.shape}"
        )
    if not np.isfinite(w).all():
        raise LanewiseError("weights hold NaN or infinite numbers")
    if mask is not None and (mask.shape != w.shape or mask.dtype != np.bool_):
        raise LanewiseError(f"mask is {mask.dtype} {mask.shape}, expected bool {w.shape}")


def _chunks(w: npt.NDArray[np.generic], k: int) -> npt.NDArray[np.generic]:
    """The last two axes (rows, columns) as chunks of k columns (the last one zero-padded), each row by row; flat."""
    padded = np.pad(w, [(0, 0)] * (w.ndim - 1) + [(0, -w.shape[-1] % k)])
    chunks = padded.reshape(*w.shape[:-1], padded.shape[-1] // k, k)
    return chunks.swapaxes(-3, -2).ravel()


def _tiles(w: npt.NDArray[Number], tile: tuple[str, int, int], bands: int) -> npt.NDArray[Number]:
    """Tiles of a matrix as (lines, tiles of a line, weights of a tile), zero-padded where a tile is incomplete.

    A line is what a kernel runs through: a strip of G rows, a row, (columns) a band or (rows) the matrix. Weights lie
    row by row.
    """
    layout, height, width = tile
    rows, cols = w.shape
    banded = w.reshape(bands, rows // bands, cols)
    if layout == "compact":
        return banded.transpose(0, 2, 1)
    if layout == "kept_rows":
        return w[None]
    padded = np.pad(banded, ((0, 0), (0, -(rows // bands) % height), (0, -cols % width)))
    strips = padded.reshape(-1, height, padded.shape[2] // width, width)
    return strips.transpose(0, 2, 1, 3).reshape(len(strips), -1, height * width)


def _packed(
    tile: str,
    fmt: str,
    shape: tuple[int, int],
    gates: int,
    weights: npt.NDArray[np.generic],
    index: npt.NDArray[np.generic],
    counts: npt.NDArray[np.generic],
    scales: Floats,
    blocks: int,
    nonzeros: int,
) -> PackedMatrix:
    layout, rows, cols = TILES[tile]
    return PackedMatrix(
        tile, layout, fmt, rows, cols, shape[0], shape[1], gates,
        np.ascontiguousarray(weights).ravel(),
        np.ascontiguousarray(index, dtype=np.uint16),
        np.ascontiguousarray(counts, dtype=np.uint32),
        scales, blocks, nonzeros,
    )  # fmt: skip
