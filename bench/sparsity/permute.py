"""An order of hidden units in which those that need the same inputs share tiles, so that kept tiles hold more.

The idea of 1xN pruning's rearrangement (arXiv 2105.14713), which sorts rows by their norm. Sorted or not, what a tile
loses depends on whether its rows are large in the same columns; so here the norm that kept tiles retain is maximised
itself. The order of a recurrent layer's units is free: in the other order the network computes the same, at no cost.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.config.matrices import Layer
from bench.errors import UsageError
from bench.sparsity.groups import TileGroups
from bench.sparsity.own import OwnTile
from bench.sparsity.shrink import take_units
from bench.sparsity.tile import Tile

SWEEPS = 40
"""Most sweeps of exchanges; each takes one unit after another out of every block."""
ENOUGH, PATIENCE = 1e-5, 3
"""Rise of the retained share (of the squared norm) below which a sweep is idle; idle sweeps that end the search.

On the shipped dense model at 80 %, tiles 16x1 retain 0.656 of the norm as its units lie, 0.677 sorted by norm, 0.710
built greedily, 0.7246 at this end and 0.7253 after 150 sweeps.
"""


@dataclass(frozen=True)
class Reordering:
    """An order of a layer's units, and what it is good for.

    Attributes
    ----------
    order
        Unit i of the new order is unit `order[i]` of the old one, int64 (units,).
    before, after
        Norm of the weights in kept tiles, as a share of that of all, in the old and in the new order.
    """

    order: Tensor
    before: float
    after: float


def block_length(tile: Tile) -> int:
    """Consecutive units whose rows (of 1xG: whose columns) share tiles.

    Raises
    ------
    UsageError
        If the order of units makes no difference to the tile.
    """
    length = next((side for side in (tile.rows, tile.cols) if side is not None and side > 1), 1)
    if length == 1 or isinstance(tile, OwnTile):
        raise UsageError(f"prune.permute: the order of hidden units makes no difference for tile {tile}; leave it out")
    return length


def best_order(weights: Mapping[str, Tensor], groups: TileGroups, layer: Layer, sparsity: float) -> Reordering:
    """Search the order of a layer's units in which tiles kept at a sparsity retain the most.

    Blocks of units are first built greedily. Then one unit is taken out of every block and all of them are put back
    where they are worth most (a linear assignment, exact while the threshold between kept and pruned stays), again and
    again. Tiles that also group columns (4x4) are judged by the columns' present order. The result is never worse than
    the order there was, and the same at every call.

    Parameters
    ----------
    weights
        Matrices (out, in) of the groups, by state key; not changed.
    groups
        The tiles to form, with their budgets.
    layer
        Whose units are reordered.
    sparsity
        At which tiles are to be kept.

    Raises
    ------
    UsageError
        If the order makes no difference to the tile.
    """
    length = block_length(groups.tile)
    w = {key: weights[key].detach().cpu() for key in groups.keys}
    total = sum(float(value.double().square().sum()) for value in w.values())
    owned = Layer(layer.name, layer.units, tuple(item for item in layer.slices if item.state_key in w))

    def tried(order: Tensor) -> tuple[float, Tensor, Tensor]:
        """Retained share of the squared norm, energies (units, d) of what shares tiles, thresholds (d,)."""
        now = take_units(w, [owned], [order])
        squares = groups.scores(now).square()
        kept = groups.keep(squares, sparsity)
        energies, thresholds = _features(now, groups, owned, length, squares, kept)
        return float(squares[kept].sum()) / total if total else 1.0, energies, thresholds

    generator = torch.Generator().manual_seed(0)
    order = torch.arange(layer.units)
    before, energies, thresholds = tried(order)
    best = (before, order)
    order = _greedy(energies, thresholds, length)
    reached, idle = -1.0, 0
    for _ in range(SWEEPS):
        share, energies, thresholds = tried(order)
        best = max(best, (share, order), key=lambda found: found[0])
        idle = 0 if share > reached + ENOUGH else idle + 1
        if idle == PATIENCE:
            break
        reached = max(reached, share)
        order = order[_sweep(energies, thresholds, length, generator)]
    return Reordering(best[1], before**0.5, best[0] ** 0.5)


def _features(
    w: Mapping[str, Tensor], groups: TileGroups, layer: Layer, length: int, squares: Tensor, kept: Tensor
) -> tuple[Tensor, Tensor]:
    """Per unit, what it puts into each tile that its block shares, (units, d), and what such a tile needs, (d,)."""
    energies, thresholds = [], []
    need = torch.empty(groups.n, dtype=torch.float64)
    for budget in groups.budgets():
        part, keep = squares[budget.groups], kept[budget.groups]
        need[budget.groups] = part[keep].min() if bool(keep.any()) else torch.inf
    for item in layer.slices:
        grid = groups.grids[item.state_key]
        if (groups.tile.rows, groups.tile.cols)[item.axis] != length:
            continue
        squared = w[item.state_key].float().square()
        if item.axis == 0:  # a row's share of each tile that lies across it, gate by gate
            shares = Tile(1, groups.tile.cols).grid(grid.shape, grid.gates).sums(squared)
            energy = shares.reshape(grid.gates, layer.units, -1).transpose(0, 1)
        else:
            shares = Tile(groups.tile.rows, 1).grid(grid.shape, grid.gates).sums(squared)
            energy = shares.reshape(-1, layer.units).T
        by_tile = need[groups.parts[item.state_key]].reshape(grid.bands, grid.strips, grid.columns).float()
        threshold = by_tile.mean(dim=1) if item.axis == 0 else by_tile.mean(dim=2)
        energies.append(energy.reshape(layer.units, -1))
        thresholds.append(threshold.flatten())
    if not energies:
        raise UsageError(
            f"prune.permute: no pruned matrix has slices of the hidden units of {layer.name}; leave it out"
        )
    return torch.cat(energies, dim=1), torch.cat(thresholds)


def _worth(energies: Tensor, thresholds: Tensor) -> Tensor:
    """What tiles of these energies (..., d) add to what is retained, beyond what pruned ones in their place would."""
    return (energies - thresholds).clamp_min_(0).sum(dim=-1)


def _greedy(energies: Tensor, thresholds: Tensor, length: int) -> Tensor:
    """Fill block after block: the unit of most energy that is left, then those that are worth most beside it."""
    left = torch.ones(len(energies), dtype=torch.bool)
    order = []
    total = energies.sum(dim=1)
    for place in range(len(energies)):
        if place % length == 0:
            block = torch.zeros_like(energies[0])
            worth = total
        else:
            worth = _worth(block + energies, thresholds * ((place % length + 1) / length))
        unit = int(worth.masked_fill(~left, -torch.inf).argmax())
        block = block + energies[unit]
        left[unit] = False
        order.append(unit)
    return torch.tensor(order)


def _sweep(energies: Tensor, thresholds: Tensor, length: int, generator: torch.Generator) -> Tensor:
    """Exchange units between blocks, about once each; the order of the units that results, int64 (units,)."""
    from scipy.optimize import linear_sum_assignment  # not loaded by those who only read the table of methods

    units = len(energies)
    order = torch.arange(units)
    starts = torch.arange(0, units, length)
    sizes = (units - starts).clamp_max(length)
    blocks = torch.stack([energies[start : start + length].sum(dim=0) for start in starts])
    for _ in range(length):
        places = starts + torch.randint(length, (len(starts),), generator=generator) % sizes
        taken = energies[order[places]]
        rest = blocks - taken
        worth = torch.stack([_worth(rest + unit, thresholds) for unit in taken])  # (units, blocks)
        rows, columns = (torch.from_numpy(found) for found in linear_sum_assignment(worth.numpy(), maximize=True))
        order[places[columns]] = order[places[rows]].clone()
        blocks = rest.index_add(0, columns, taken[rows])
    return order
