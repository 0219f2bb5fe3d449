"""Weights in the layout that a kernel reads (described in src/matrix.hpp), in plain numpy.

Zero tiles are left out, kept tiles stay whole even where they hold zeros, and what was stored is counted against the
mask, because a packer that silently writes every tile is fast to write and slow to run.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.errors import LanewiseError, UsageError
from bench.sparsity.tile import Tile

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

PANEL_ROWS, SMALL_PANEL_ROWS = 64, 16
MAX_EXTENT = 65536
"""Rows or columns of a matrix: a stored column index is 16 bits wide."""

TILES: dict[str, tuple[str, int]] = {
    "dense": ("dense", 1),
    "1x1": ("dot_group", 1),
    "4x1": ("row_group", 4),
    "8x1": ("row_group", 8),
    "16x1": ("row_group", 16),
    "32x1": ("row_group", 32),
    "1x4": ("dot_group", 4),
    "1x8": ("dot_group", 8),
    "1x16": ("dot_group", 16),
    "column": ("compact", 1),
    "gate-column": ("compact", 1),
}
"""Tiles that have a kernel: name -> (layout, group length G)."""


@dataclass(frozen=True)
class PackedMatrix:
    """A weight matrix (rows, cols) as its kernel reads it.

    Attributes
    ----------
    tile, layout, group, gates
        What it is; `gates` is 1 where tiles run over all of them.
    weights, index, counts
        Contents, float32, uint16 and uint32.
    blocks
        Kept tiles (of `dense`: one).
    nonzeros
        Kept weights, padding not counted.
    """

    tile: str
    layout: str
    group: int
    rows: int
    cols: int
    gates: int
    weights: Floats
    index: npt.NDArray[np.uint16]
    counts: npt.NDArray[np.uint32]
    blocks: int
    nonzeros: int

    @property
    def bytes(self) -> int:
        """Bytes that one product reads of it."""
        return self.weights.nbytes + self.index.nbytes + self.counts.nbytes


def pack_matrix(weight: npt.ArrayLike, tile: str, mask: Mask | None = None, gates: int = 1) -> PackedMatrix:
    """Pack W (out, in), whose rows stack `gates` equal gates.

    Parameters
    ----------
    mask
        (out, in), True where kept; must keep or drop whole tiles. Without it a tile is kept if any weight is non-zero.

    Raises
    ------
    UsageError
        If the tile has no kernel or does not fit the matrix.
    LanewiseError
        If weights are not finite, the mask splits a tile, or a dense matrix is given a mask with holes.
    """
    w = np.ascontiguousarray(weight, dtype=np.float32)
    if tile not in TILES:
        raise UsageError(f"tile: no kernel for {tile!r}; these have one: {', '.join(TILES)}")
    if w.ndim != 2 or max(w.shape) > MAX_EXTENT:
        raise UsageError(
            f"tile {tile}: expected a matrix of at most {MAX_EXTENT} rows and columns, got shape {w.shape}"
        )
    if not np.isfinite(w).all():
        raise LanewiseError("weights hold NaN or infinite numbers")
    if mask is not None and (mask.shape != w.shape or mask.dtype != np.bool_):
        raise LanewiseError(f"mask is {mask.dtype} {mask.shape}, expected bool {w.shape}")
    layout, group = TILES[tile]
    if mask is not None:
        w = np.where(mask, w, np.float32(0))
    if tile == "dense":
        if mask is not None and not mask.all():
            raise LanewiseError("a dense matrix cannot skip what its mask drops; name the mask's tile")
        empty = np.zeros(0)
        return _packed(tile, w.shape, gates, dense_layout(w), empty, empty, 1, w.size)

    bands = Tile.parse(tile).extent((w.shape[0], w.shape[1]), gates)[0]
    sizes = _tiles(np.ones(w.shape, dtype=np.bool_), tile, bands).sum(axis=-1)
    if mask is None:
        kept = (_tiles(w, tile, bands) != 0).any(axis=-1)
    else:
        counts = _tiles(mask, tile, bands).sum(axis=-1)
        kept = counts > 0
        split = int((kept & (counts < sizes)).sum())
        if split:
            raise LanewiseError(f"mask is not aligned to tile {tile}: {split} of {sizes.size} tiles are kept in part")
    tiles = _tiles(w, tile, bands)
    if layout == "compact":
        weights = np.concatenate([dense_layout(line[keep].T) for line, keep in zip(tiles, kept, strict=True)])
    else:
        weights = tiles[kept]
    index = np.nonzero(kept)[1] * (group if layout == "dot_group" else 1)
    nonzeros = int(sizes[kept].sum())
    return _packed(tile, w.shape, bands, weights, index, kept.sum(axis=1), int(kept.sum()), nonzeros)


def dense_layout(w: Floats) -> Floats:
    """Panels of 64 rows, then of 16 (the last one zero-padded), each column by column, flattened."""
    rows, cols = w.shape
    whole = rows // PANEL_ROWS * PANEL_ROWS
    rest = np.pad(w[whole:], ((0, -(rows - whole) % SMALL_PANEL_ROWS), (0, 0)))
    panels = [
        part.reshape(-1, height, cols).transpose(0, 2, 1).ravel()
        for part, height in ((w[:whole], PANEL_ROWS), (rest, SMALL_PANEL_ROWS))
        if part.size
    ]
    return np.concatenate([np.zeros(0, dtype=np.float32), *panels])


def _tiles(w: npt.NDArray[np.generic], tile: str, bands: int) -> npt.NDArray[np.generic]:
    """Tiles of a matrix as (lines, tiles of a line, weights of a tile), zero-padded where a tile is incomplete.

    A line is what a kernel runs through: a strip of G rows, a row, or (columns) a band.
    """
    layout, group = TILES[tile]
    rows, cols = w.shape
    if layout == "dot_group":
        return np.pad(w, ((0, 0), (0, -cols % group))).reshape(rows, -1, group)
    banded = w.reshape(bands, rows // bands, cols)
    if layout == "row_group":
        banded = np.pad(banded, ((0, 0), (0, -(rows // bands) % group), (0, 0))).reshape(-1, group, cols)
    return banded.transpose(0, 2, 1)


def _packed(
    tile: str,
    shape: tuple[int, ...],
    gates: int,
    weights: npt.NDArray[np.generic],
    index: npt.NDArray[np.generic],
    counts: npt.NDArray[np.generic],
    blocks: int,
    nonzeros: int,
) -> PackedMatrix:
    layout, group = TILES[tile]
    return PackedMatrix(
        tile, layout, group, shape[0], shape[1], gates,
        np.ascontiguousarray(weights, dtype=np.float32).ravel(),
        np.ascontiguousarray(index, dtype=np.uint16),
        np.ascontiguousarray(counts, dtype=np.uint32),
        blocks, nonzeros,
    )  # fmt: skip
