"""Tiles of your own: a function says which group each weight is in, and everything else works as with any tile."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.errors import UsageError
from bench.sparsity.tile import Tile, name_tile

if TYPE_CHECKING:
    from bench.sparsity.grid import Grid

Index = Callable[[tuple[int, int], int], Any]
"""`index(shape, gates)`: group number of every weight, (out, in), of numpy or torch, whole numbers."""


@dataclass(frozen=True)
class OwnTile(Tile):
    """A tile that is given by its groups.

    Attributes
    ----------
    index
        The groups, by `Index`. Numbers may have gaps; ties between groups go to the lower number.
    kernel
        `runs_as`.
    """

    index: Index = lambda shape, gates: []
    kernel: str = "1x1"

    @property
    def runs_as(self) -> str | None:
        """Tile whose kernel runs masks of this one."""
        return self.kernel

    def extent(self, shape: tuple[int, int], gates: int = 1) -> tuple[int, int, int]:
        """Bands, rows and columns of the tile that it runs as, once it is known to fit.

        Raises
        ------
        UsageError
            If its index does not fit the matrix, or its groups are not made of whole tiles of `runs_as`.
        """
        self.grid(shape, gates)
        return Tile.parse(self.kernel).extent(shape, gates)

    def grid(self, shape: tuple[int, int], gates: int = 1) -> "Grid":
        """The groups of a matrix, as `bench.sparsity.index_grid.IndexGrid`.

        Raises
        ------
        UsageError
            As `extent`.
        """
        from bench.sparsity.index_grid import index_grid

        return index_grid(self, (int(shape[0]), int(shape[1])), gates)


def register_tile(name: str, index: Index, runs_as: str = "1x1") -> Tile:
    """Make a tile known by a name, from then on a `reg.tile` and a `prune.tile` like any other.

    Parameters
    ----------
    name
        How configurations call it.
    index
        `index(shape, gates)` gives the group number of every weight of a matrix (out, in) whose rows stack `gates`
        equal gates: an array of numpy or a tensor of whole numbers. Any numbers will do; each is a group.
    runs_as
        Tile with a kernel that runs its masks: each group must be made of whole ones of it.

    Raises
    ------
    UsageError
        If the name is taken, or `runs_as` names no tile.
    """
    kernel = Tile.parse(runs_as)
    if isinstance(kernel, OwnTile) or runs_as == "unit":
        raise UsageError(f"tile {name}: runs_as must name a tile with a kernel, got {runs_as!r}")
    tile = OwnTile(None, None, index=index, kernel=runs_as)
    name_tile(name, tile)
    return tile
