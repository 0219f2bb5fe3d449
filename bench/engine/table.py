"""The one table of kernels: which tile runs in which number format on which ISA.

A block without a kernel of its own runs on the largest one whose tile divides it: every kept tile is then a union of
the smaller ones, ragged ends and gates included, so nothing is computed that was pruned. What no kernel divides is
refused.
"""

from collections.abc import Collection
from functools import cache

from bench.engine.isa import built_isas, isas
from bench.engine.native import core
from bench.engine.numbers import NUMBERS
from bench.errors import UsageError
from bench.sparsity.tile import Tile

TILES: dict[str, tuple[str, int, int]] = {
    "dense": ("dense", 1, 1),
    "1x1": ("dot_group", 1, 1),
    "4x1": ("row_group", 4, 1),
    "8x1": ("row_group", 8, 1),
    "16x1": ("row_group", 16, 1),
    "32x1": ("row_group", 32, 1),
    "16x2": ("row_group", 16, 2),
    "4x4": ("row_group", 4, 4),
    "8x4": ("row_group", 8, 4),
    "16x4": ("row_group", 16, 4),
    "1x4": ("dot_group", 1, 4),
    "1x8": ("dot_group", 1, 8),
    "1x16": ("dot_group", 1, 16),
    "column": ("compact", 1, 1),
    "gate-column": ("compact", 1, 1),
    "row": ("kept_rows", 1, 1),
}
"""Tiles that have a layout: name -> (layout, tile rows, tile columns). Number formats: `supports`."""

_KERNELS = {
    "dense": "dense panels, broadcast {multiply}",
    "row_group": "groups of outputs, broadcast {multiply}",
    "dot_group": "groups of inputs, dot product",
    "compact": "kept columns compacted, dense panels",
    "kept_rows": "kept rows compacted, dense panels, {multiply}",
}
_MULTIPLY = {"f32": "FMA", "bf16": "pairs of bf16", "int8": "int8 by fours"}


def supports(tile: str, fmt: str = "f32", isa: str | None = None) -> bool:
    """Whether a kernel exists for this tile, number format and ISA (None: any ISA of this build)."""
    return any(row["tile"] == tile and row["format"] == fmt and isa in (None, row["isa"]) for row in _all())


def runs_as(tile: str, fmt: str = "f32", among: Collection[str] | None = None) -> str:
    """The tile whose kernel a pruning tile runs on: its own, else that of the largest tile that divides it.

    Of two equally large the one with the longer side (f32, 512 columns, 80 %: 4x16 takes 6.3 us as 1x16 and 10.7 us as
    4x4; 32x2 takes 3.1 us as 32x1 and 3.5 us as 16x2).

    Parameters
    ----------
    among
        Tiles to choose from; None takes those that have a kernel in this format.

    Raises
    ------
    UsageError
        If the tile is unknown, or no tile with a kernel divides it.
    """
    known = tiles(fmt) if among is None else among
    if tile in known:
        return tile
    rows, cols = _sides(tile)
    dividing = [
        (height * width, max(height, width), name)
        for name, (layout, height, width) in TILES.items()
        if name in known and layout.endswith("_group") and rows and cols and not rows % height and not cols % width
    ]
    if not dividing:
        raise UsageError(
            f"tile {tile}: no {fmt} kernel; in {fmt} these have one: {', '.join(known)}, and blocks made of these"
        )
    return max(dividing)[2]


def can_run(tile: str, fmt: str = "f32", isa: str | None = None) -> bool:
    """Whether a pruning tile runs, on its own kernel or a smaller tile's; `isa` as in `supports`."""
    try:
        return supports(runs_as(tile, fmt), fmt, isa)
    except UsageError:
        return False


def tiles(fmt: str | None = None) -> list[str]:
    """Tiles that have a kernel in a number format (None: in any)."""
    return list(dict.fromkeys(row["tile"] for row in _all() if fmt in (None, row["format"])))


def rows() -> list[dict[str, str | bool]]:
    """The table, one row per kernel: `tile, format, isa, kernel, runs_here`."""
    here = isas()
    return [row | {"runs_here": row["isa"] in here} for row in _all()]


def _sides(tile: str) -> tuple[int | None, int | None]:
    """Rows and columns of a tile; None where it has no fixed one."""
    if tile in TILES:
        layout, rows, cols = TILES[tile]
        return (rows, cols) if layout.endswith("_group") else (None, None)
    parsed = Tile.parse(tile)
    return parsed.rows, parsed.cols


@cache
def _all() -> list[dict[str, str]]:
    """What the compiled engine itself says."""
    return [
        {"tile": tile, "format": fmt, "isa": isa, "kernel": _KERNELS[layout].format(multiply=_MULTIPLY[fmt])}
        for fmt in NUMBERS
        for tile, (layout, tile_rows, tile_cols) in TILES.items()
        for isa in built_isas()
        if core.has_kernel(isa, layout, fmt, tile_rows, tile_cols)
    ]
