"""Masks from magnitudes or at random: exact counts of tiles over each budget, ties by index, no resurrection."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from bench.errors import LanewiseError, UsageError
from bench.sparsity.count import kept_count
from bench.sparsity.grid import Grid, Score
from bench.sparsity.tile import Tile

Scope = Literal["gate", "matrix", "global"]
SCOPES: tuple[Scope, ...] = ("gate", "matrix", "global")
Sparsity = float | Mapping[str, float | Sequence[float]]
"""One sparsity for all; or one per matrix, each a number or (scope `gate`) one number per gate."""


def magnitude_masks(
    weights: Mapping[str, Tensor],
    tiles: Mapping[str, Tile],
    gates: Mapping[str, int],
    sparsity: Sparsity,
    score: Score = "l2",
    scope: Scope = "gate",
    keep_diagonal: bool | Collection[str] = False,
    previous: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Masks that keep the tiles of largest score, True = kept.

    Over each budget of n tiles exactly `kept_count(n, sparsity)` are kept. Among equal scores the lower tile index
    (earlier matrix, then `Grid` order) is kept.

    Parameters
    ----------
    weights
        The matrices (out, in) to prune.
    tiles, gates
        Pruning tile and stacked gates of each; names missing in `gates` have one gate.
    sparsity
        Pruned share of the tiles, 0..1; see `Sparsity`.
    score
        `l2`, `l1`, `max`: norm of the tile; `l2-mean`: its root mean square (`Grid.scores`).
    scope
        The budget: each `gate` (for `column`, whose tiles span all gates, the matrix), each `matrix`, or all matrices
        together (`global`; one tile for all, since it counts tiles).
    keep_diagonal
        True, or the names of the matrices, for which every tile that contains a diagonal weight of a gate's square
        block (weight (i, i) within the gate) is kept. They count within the budget.
    previous
        Masks of an earlier step: what they pruned stays pruned.

    Returns
    -------
    dict
        Bool tensors (out, in) on each weight's device.

    Raises
    ------
    UsageError
        For a sparsity outside 0..1 or lower than the previous masks', an impossible tile, unknown names or options, a
        diagonal that does not exist or does not fit the budget.
    LanewiseError
        If a weight is not finite.
    """
    grids = _grids(weights, tiles, gates)
    scores = {}
    for name, grid in grids.items():
        if not bool(torch.isfinite(weights[name]).all()):
            raise LanewiseError(f"{name}: cannot be pruned by magnitude, it holds NaN or infinite weights")
        scores[name] = grid.scores(weights[name], score).cpu()
    return _select(scores, grids, weights, sparsity, scope, keep_diagonal, previous)


def random_masks(
    weights: Mapping[str, Tensor],
    tiles: Mapping[str, Tile],
    gates: Mapping[str, int],
    sparsity: Sparsity,
    generator: torch.Generator,
    scope: Scope = "gate",
    keep_diagonal: bool | Collection[str] = False,
    previous: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Masks of tiles drawn uniformly without replacement, the control beside `magnitude_masks`.

    Only the weights' shapes and devices matter. `generator` is a CPU generator: the draw is the same on every device.
    A generator seeded alike at each call gives nested masks as sparsity rises; `previous` nests them whatever it does.
    """
    grids = _grids(weights, tiles, gates)
    scores = {name: torch.rand(grid.n_groups, generator=generator, dtype=torch.float64) for name, grid in grids.items()}
    return _select(scores, grids, weights, sparsity, scope, keep_diagonal, previous)


@dataclass(frozen=True)
class _Budget:
    """Tiles that compete: slices of matrices' groups, and the share of them to prune."""

    label: str
    parts: list[tuple[str, slice]]
    sparsity: float

    def of(self, values: Mapping[str, Tensor]) -> Tensor:
        return torch.cat([values[name][part] for name, part in self.parts])


def _select(
    scores: dict[str, Tensor],
    grids: dict[str, Grid],
    weights: Mapping[str, Tensor],
    sparsity: Sparsity,
    scope: Scope,
    keep_diagonal: bool | Collection[str],
    previous: Mapping[str, Tensor] | None,
) -> dict[str, Tensor]:
    kept = {name: torch.zeros(grid.n_groups, dtype=torch.bool) for name, grid in grids.items()}
    allowed = _allowed(grids, previous)
    spared = _spared(grids, keep_diagonal)
    for budget in _budgets(grids, sparsity, scope):
        chosen = _choose(budget, budget.of(scores), budget.of(allowed), budget.of(spared))
        begin = 0
        for name, part in budget.parts:
            size = part.stop - part.start
            kept[name][part] = chosen[begin : begin + size]
            begin += size
    return {name: grid.expand(kept[name]).to(weights[name].device) for name, grid in grids.items()}


def _choose(budget: _Budget, scores: Tensor, allowed: Tensor, spared: Tensor) -> Tensor:
    """Bool (n,): the spared tiles, then the best of the allowed, ties by index."""
    n = len(scores)
    count = kept_count(n, budget.sparsity)
    if bool((spared & ~allowed).any()):
        raise UsageError(f"{budget.label}: the previous masks pruned tiles on the diagonal that is to be kept")
    if int(spared.sum()) > count:
        raise UsageError(
            f"{budget.label}: sparsity {budget.sparsity} keeps {count} of {n} tiles, but {int(spared.sum())} hold the "
            "diagonal; lower prune.sparsity, choose a smaller tile or do not keep the diagonal"
        )
    if int(allowed.sum()) < count:
        raise UsageError(
            f"{budget.label}: sparsity {budget.sparsity} keeps {count} of {n} tiles, but the previous masks left only "
            f"{int(allowed.sum())}; sparsity may not fall"
        )
    ranked = scores.masked_fill(spared, torch.inf).masked_fill(~allowed, -torch.inf)
    chosen = torch.zeros(n, dtype=torch.bool)
    chosen[torch.sort(ranked, descending=True, stable=True).indices[:count]] = True
    return chosen


def _budgets(grids: dict[str, Grid], sparsity: Sparsity, scope: Scope) -> list[_Budget]:
    if scope not in SCOPES:
        raise UsageError(f"prune.scope: got {scope!r}, allowed: {', '.join(SCOPES)}")
    if isinstance(sparsity, Mapping) and set(sparsity) != set(grids):
        raise UsageError(f"prune.sparsity: given for {_list(sparsity)}, the pruned matrices are {_list(grids)}")
    if scope == "global":
        if isinstance(sparsity, Mapping):
            raise UsageError("prune.sparsity: scope global takes one number, not one per matrix")
        if len({grid.tile for grid in grids.values()}) > 1:
            raise UsageError("prune.scope: global counts tiles, so all matrices need the same prune.tile")
        whole = [(name, slice(0, grid.n_groups)) for name, grid in grids.items()]
        return [_Budget("all matrices", whole, sparsity)] if whole else []
    budgets = []
    for name, grid in grids.items():
        given = sparsity[name] if isinstance(sparsity, Mapping) else sparsity
        bands = grid.bands if scope == "gate" else 1
        shares = list(given) if isinstance(given, Sequence) else [given] * bands
        if len(shares) != bands:
            raise UsageError(f"prune.sparsity: {name} has {bands} budgets (scope {scope}), got {len(shares)} numbers")
        size = grid.n_groups // bands
        for band, share in enumerate(shares):
            label = f"{name}, gate {band}" if bands > 1 else name
            budgets.append(_Budget(label, [(name, slice(band * size, (band + 1) * size))], share))
    return budgets


def _allowed(grids: dict[str, Grid], previous: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
    if previous is None:
        return {name: torch.ones(grid.n_groups, dtype=torch.bool) for name, grid in grids.items()}
    if set(previous) != set(grids):
        raise UsageError(f"previous masks are of {_list(previous)}, the pruned matrices are {_list(grids)}")
    return {name: grid.reduce(previous[name].cpu()) for name, grid in grids.items()}


def _spared(grids: dict[str, Grid], keep_diagonal: bool | Collection[str]) -> dict[str, Tensor]:
    if isinstance(keep_diagonal, bool):
        names = set(grids) if keep_diagonal else set()
    else:
        names = set(keep_diagonal)
        if not names <= set(grids):
            raise UsageError(f"keep_diagonal: {_list(names - set(grids))} not among the pruned: {_list(grids)}")
    return {
        name: _diagonal(name, grid) if name in names else torch.zeros(grid.n_groups, dtype=torch.bool)
        for name, grid in grids.items()
    }


def _diagonal(name: str, grid: Grid) -> Tensor:
    """Bool (n,): tiles that contain a weight (i, i) of a gate's square block."""
    out, inputs = grid.shape
    if out != inputs * grid.gates:
        raise UsageError(f"keep_diagonal: a gate of {name} is {out // grid.gates} x {inputs}, which is not square")
    return grid.count(torch.eye(inputs, dtype=torch.bool).repeat(grid.gates, 1)) > 0


def _grids(weights: Mapping[str, Tensor], tiles: Mapping[str, Tile], gates: Mapping[str, int]) -> dict[str, Grid]:
    missing = set(weights) - set(tiles)
    if missing:
        raise UsageError(f"prune.tile: none given for {_list(missing)}")
    grids = {}
    for name, w in weights.items():
        if w.dim() != 2:
            raise UsageError(f"{name}: only matrices (out, in) are pruned, this has shape {tuple(w.shape)}")
        try:
            grids[name] = tiles[name].grid((w.shape[0], w.shape[1]), gates.get(name, 1))
        except UsageError as error:
            raise UsageError(f"{name}: {error}") from None
    return grids


def _list(names: Collection[str]) -> str:
    return ", ".join(sorted(names)) or "none"
