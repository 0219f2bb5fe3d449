"""A tile: r consecutive output rows by c consecutive input columns, the one idea behind every sparsity structure."""

import difflib
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from bench.errors import UsageError

if TYPE_CHECKING:  # torch is loaded only by those who compute
    from bench.sparsity.grid import Grid

COMMON_NAMES = (
    "1x1", "4x1", "8x1", "16x1", "32x1", "1x4", "1x8", "1x16", "4x4", "8x4", "16x4",
    "column", "gate-column", "row", "unit",
)  # fmt: skip
_BLOCK = re.compile(r"([0-9]{1,6})x([0-9]{1,6})")


@dataclass(frozen=True)
class Tile:
    """r output rows by c input columns of a weight matrix W (out, in).

    Attributes
    ----------
    rows, cols
        Extent in weights; None means "all there are": of a gate's rows (of the matrix's, when `stacked`), or of the
        matrix's columns.
    stacked
        True if the tile runs over all stacked gates. Only `column` does; no other tile crosses a gate's border.
    """

    rows: int | None
    cols: int | None
    stacked: bool = False

    @staticmethod
    def parse(name: str) -> "Tile":
        """Tile of a name.

        `1x1` (weight), `Gx1` (SIMD group of G outputs, broadcast-FMA kernel), `1xG` (SIMD group of G inputs,
        dot-product kernel), `RxC` (block), `column` (one input over all stacked gates), `gate-column` (one input
        within one gate), `row` (one output, all inputs), `unit` (a hidden unit's slices of several matrices:
        `bench.sparsity.units`), and those that `bench.sparsity.own` was told of.

        Raises
        ------
        UsageError
            If the name is unknown or a side is zero.
        """
        if name in _NAMED:
            return _NAMED[name]
        match = _BLOCK.fullmatch(name)
        if match is None:
            close = difflib.get_close_matches(name.strip().lower(), COMMON_NAMES, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise UsageError(f"tile: unknown name {name!r}{hint} (allowed: RxC such as 1x1, 16x1, 1x8; {_names()})")
        rows, cols = int(match[1]), int(match[2])
        if rows == 0 or cols == 0:
            raise UsageError(f"tile: {name!r} is empty; rows and columns must be at least 1")
        return Tile(rows, cols)

    @property
    def name(self) -> str:
        """Canonical name: `Tile.parse(tile.name) == tile`."""
        for name, tile in _NAMED.items():
            if tile == self:
                return name
        return f"{self.rows}x{self.cols}"

    def __str__(self) -> str:
        return self.name

    @property
    def runs_as(self) -> str | None:
        """Tile whose kernel runs masks of this one, because every tile of this one is made of whole ones of it.

        None: its own name's.
        """
        return None

    @property
    def simd_width(self) -> int | None:
        """Length G of a SIMD group (Gx1 or 1xG); None for single weights, blocks, columns and rows."""
        if self.rows is None or self.cols is None or min(self.rows, self.cols) > 1 or self.rows == self.cols:
            return None
        return max(self.rows, self.cols)

    def extent(self, shape: tuple[int, int], gates: int = 1) -> tuple[int, int, int]:
        """Bands, tile rows and tile columns on a matrix: the check a configuration needs, without torch.

        A *band* is a run of rows whose border no tile crosses: a gate, or the whole matrix for a stacked tile.

        Raises
        ------
        UsageError
            If the matrix cannot be split in that many gates or the tile is larger than a gate.
        """
        out, inputs = shape
        if out < 1 or inputs < 1:
            raise UsageError(f"tile {self}: a matrix of shape {out} x {inputs} has no weights")
        if gates < 1 or out % gates:
            raise UsageError(f"tile {self}: {out} output rows do not split into {gates} equal gates")
        bands = 1 if self.stacked else gates
        band_rows = out // bands
        rows = band_rows if self.rows is None else self.rows
        cols = inputs if self.cols is None else self.cols
        if rows > band_rows or cols > inputs:
            part = "one gate" if gates > 1 else "the matrix"
            raise UsageError(
                f"tile {self} is larger than {part} it tiles: {band_rows} rows x {inputs} columns; choose a smaller one"
            )
        return bands, rows, cols

    def grid(self, shape: tuple[int, int], gates: int = 1) -> "Grid":
        """The tiling of a matrix of `shape` (out, in) whose rows stack `gates` equal gates.

        Raises
        ------
        UsageError
            As `extent`.
        """
        return _grid(self, (int(shape[0]), int(shape[1])), gates)


@dataclass(frozen=True)
class UnitTile(Tile):
    """A hidden unit: its slices lie in several matrices, so that no single one has a grid of it."""

    def extent(self, shape: tuple[int, int], gates: int = 1) -> tuple[int, int, int]:
        """Refuse: see `bench.sparsity.units`.

        Raises
        ------
        UsageError
            Always.
        """
        raise UsageError(
            "tile unit: a hidden unit spans several matrices, so that no single one can be tiled by it; it is a "
            "prune.tile or a reg.tile of its own"
        )

    def grid(self, shape: tuple[int, int], gates: int = 1) -> "Grid":
        """Refuse, as `extent`."""
        self.extent(shape, gates)
        raise AssertionError("extent refuses")


UNIT = UnitTile(None, None, stacked=True)
_NAMED: dict[str, Tile] = {
    "column": Tile(None, 1, stacked=True),
    "gate-column": Tile(None, 1),
    "row": Tile(1, None),
    "unit": UNIT,
}


def name_tile(name: str, tile: Tile) -> None:
    """Let `Tile.parse` know a tile by a name.

    Raises
    ------
    UsageError
        If the name is taken, or is that of a block.
    """
    if _BLOCK.fullmatch(name) or _NAMED.get(name, tile) != tile:
        raise UsageError(f"tile: the name {name!r} is taken; choose another")
    _NAMED[name] = tile


def _names() -> str:
    return ", ".join(_NAMED)


@lru_cache(maxsize=256)  # a training step asks for the same few tilings again and again
def _grid(tile: Tile, shape: tuple[int, int], gates: int) -> "Grid":
    from bench.sparsity.grid import Grid

    return Grid(tile, shape, gates)
