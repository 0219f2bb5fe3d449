"""The groups of a matrix by their index: for tiles of one's own, and the slow reference of `Grid`."""

from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bench.errors import UsageError
from bench.sparsity.grid import Grid, Order, check_order, root
from bench.sparsity.tile import Tile

if TYPE_CHECKING:
    from bench.sparsity.own import OwnTile


class IndexGrid(Grid):
    """Groups of a matrix W (out, in), given the number of the group of every weight.

    Groups are renumbered from 0 without gaps, gate by gate where none crosses a gate's border and every gate has as
    many (else `bands` is 1, and a budget for each gate is one for the matrix). Every group is a strip of its own.

    Parameters
    ----------
    tile
        Names it in errors.
    index
        Whole numbers (out, in).
    gates
        Equal gates stacked in the rows.

    Raises
    ------
    UsageError
        If the index has another shape or type, or the rows do not split into the gates.
    """

    def __init__(self, tile: Tile, index: Tensor, shape: tuple[int, int], gates: int = 1) -> None:
        self.tile, self.shape, self.gates = tile, shape, gates
        if tuple(index.shape) != shape or index.is_floating_point() or index.is_complex() or index.dtype == torch.bool:
            raise UsageError(
                f"tile {tile}: its index must give a whole number for each weight of a matrix of shape {shape}, got "
                f"{index.dtype} of shape {tuple(index.shape)}"
            )
        if gates < 1 or shape[0] % gates:
            raise UsageError(f"tile {tile}: {shape[0]} output rows do not split into {gates} equal gates")
        index = torch.unique(index.cpu().long(), return_inverse=True)[1]
        n = int(index.max()) + 1
        gate_of = torch.arange(gates).repeat_interleave(index.numel() // gates)
        first, last = (
            torch.zeros(n, dtype=torch.int64).scatter_reduce_(0, index.flatten(), gate_of, how, include_self=False)
            for how in ("amin", "amax")
        )
        counts = first.bincount(minlength=gates)
        aligned = torch.equal(first, last) and bool((counts == counts[0]).all())
        self.bands = gates if aligned else 1
        if aligned:
            order = torch.sort(first, stable=True).indices
            index = order.argsort()[index]
        self.strips, self.columns = n // self.bands, 1
        self._rows = self._cols = 0  # no side is that of a block
        self._index = index
        self._on: dict[torch.device, tuple[Tensor, Tensor]] = {}

    def sizes_on(self, device: torch.device) -> Tensor:
        """`sizes` on a device."""
        return self._here(device)[1]

    def bounds(self, group: int) -> tuple[slice, slice]:
        """Rows and columns of W that a group lies within; it need not fill them."""
        if not 0 <= group < self.n_groups:
            raise IndexError(f"group {group} of {self.n_groups}")
        rows, cols = (self._index == group).nonzero(as_tuple=True)
        return slice(int(rows.min()), int(rows.max()) + 1), slice(int(cols.min()), int(cols.max()) + 1)

    def norms(self, w: Tensor, ord: Order = "l2") -> Tensor:
        """As `Grid.norms`."""
        check_order(ord)
        if ord == "l2":
            return root(self.sums(w.square()))
        if ord == "l1":
            return self.sums(w.abs())
        flat = self._checked(w).abs().flatten()
        index = self._here(w.device)[0].flatten()
        return w.new_zeros(self.n_groups).scatter_reduce(0, index, flat, "amax", include_self=False)

    def sums(self, values: Tensor) -> Tensor:
        """As `Grid.sums`."""
        index = self._here(values.device)[0]
        return values.new_zeros(self.n_groups).index_add(0, index.flatten(), self._checked(values).flatten())

    def expand(self, values: Tensor) -> Tensor:
        """As `Grid.expand`."""
        if values.shape != (self.n_groups,):
            raise ValueError(f"expected {self.n_groups} values, one per group, got shape {tuple(values.shape)}")
        return values[self._here(values.device)[0]]

    def count(self, mask: Tensor) -> Tensor:
        """As `Grid.count`."""
        if mask.dtype != torch.bool:
            raise ValueError(f"a mask is a bool tensor, got {mask.dtype}")
        return self.sums(mask.long())

    def _here(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """The index and the sizes on a device."""
        if device not in self._on:
            index = self._index.to(device)
            self._on[device] = (index, index.flatten().bincount(minlength=self.n_groups))
        return self._on[device]

    def _checked(self, w: Tensor) -> Tensor:
        if tuple(w.shape) != self.shape:
            raise ValueError(f"this grid tiles a matrix of shape {self.shape}, got {tuple(w.shape)}")
        return w


@lru_cache(maxsize=64)
def index_grid(tile: "OwnTile", shape: tuple[int, int], gates: int) -> IndexGrid:
    """The groups of an own tile on a matrix, whose masks its kernel can run.

    Raises
    ------
    UsageError
        If the index does not fit the matrix, or its groups are not made of whole tiles of `runs_as`.
    """
    grid = IndexGrid(tile, torch.as_tensor(tile.index(shape, gates)), shape, gates)
    kernel = Tile.parse(tile.kernel).grid(shape, gates)
    own, parts = grid.index().flatten(), kernel.index().flatten()
    one_of = torch.zeros(kernel.n_groups, dtype=torch.int64).scatter_(0, parts, own)
    split = int(parts[one_of[parts] != own].bincount().count_nonzero())
    if split:
        raise UsageError(
            f"tile {tile}: {split} tiles of {tile.kernel}, which it runs as, lie in more than one of its groups; give "
            "a smaller runs_as, 1x1 for any"
        )
    return grid
