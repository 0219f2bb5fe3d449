"""Picture of the order in which a packed matrix lies in memory, hence in which its kernel reads it."""

import numpy as np
import numpy.typing as npt
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from bench.engine import table
from bench.engine.layout import pack_matrix
from bench.sparsity.tile import Tile
from docs.generate import matrices
from reports.figures.style import INK, PALETTE, figure

ROWS, COLUMNS = 16, 8
SHAPE = (ROWS, COLUMNS)
CASES = (
    ("dense", "f32"), ("1x1", "f32"), ("4x1", "f32"), ("1x4", "f32"),
    ("4x4", "f32"), ("8x4", "int8"), ("column", "f32"), ("row", "f32"),
)  # fmt: skip
ORDER = LinearSegmentedColormap.from_list("order", ["#F2F7FB", "#CFE6F5", PALETTE[5]])


def order(tile: str, fmt: str) -> npt.NDArray[np.int_]:
    """Return the place in memory of each weight of a half-pruned matrix, -1 where it is not stored.

    The packer itself says: a matrix with a single weight that is not zero, under the same mask, once for each.
    """
    mask = _mask(tile)
    places = np.full(SHAPE, -1)
    for row, column in np.argwhere(mask):
        single = np.zeros(SHAPE, dtype=np.float32)
        single[row, column] = 1
        packed = pack_matrix(single, tile, None if tile == "dense" else mask, 1, fmt)
        (places[row, column],) = np.flatnonzero(packed.weights)
    return places


def memory() -> Figure:
    """The order of weights in every layout, with what its kernel does."""
    with figure(7.6, 6.6) as drawn:
        for axes, (tile, fmt) in zip(drawn.subplots(2, 4).flat, CASES, strict=True):
            places = order(tile, fmt)
            matrices.draw(axes, (places + 1) / (places.max() + 1), ORDER)
            for (row, column), place in np.ndenumerate(places):
                if place >= 0:
                    axes.text(column + 0.5, row + 0.5, place, ha="center", va="center", fontsize=4.6, color=INK)
            kernel = next(row["kernel"] for row in table.rows() if (row["tile"], row["format"]) == (tile, fmt))
            axes.set_title(f"{tile}, {fmt}")
            axes.set_xlabel(str(kernel).replace(", ", ",\n"), fontsize=7)
        return drawn


def _mask(tile: str) -> npt.NDArray[np.bool_]:
    """Half of the tiles, drawn once."""
    if tile == "dense":
        return np.ones(SHAPE, dtype=np.bool_)
    index = Tile.parse(tile).grid(SHAPE).index().numpy()
    groups = int(index.max()) + 1
    kept = np.random.default_rng(8).permutation(groups) < (groups + 1) // 2
    mask: npt.NDArray[np.bool_] = kept[index]
    return mask
