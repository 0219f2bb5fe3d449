"""The groups of all pruned matrices together, in one vector: what every method computes with, whatever the structure.

Group numbers run through the matrices in their order and through each in `Grid` order. A method asks for norms, decides
one value per group, and spreads it over the weights; it never sees rows and columns.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from bench.errors import LanewiseError, UsageError
from bench.sparsity.grid import Grid, Order, Score
from bench.sparsity.scope import Scope, gate_shares
from bench.sparsity.select import Budget, candidates, counted, select, select_rows
from bench.sparsity.tile import Tile

Weights = Mapping[str, Tensor]
"""Matrices (out, in) by state key."""


class Groups(Protocol):
    """Groups of weights of several matrices: tiles (`TileGroups`) or coupled slices (`bench.sparsity.units`).

    Attributes
    ----------
    n
        How many groups there are.
    keys
        The matrices in which they lie, by state key.
    sizes
        Weights per group, int64 (n,).
    """

    n: int
    keys: tuple[str, ...]
    sizes: Tensor

    def norms(self, weights: Weights, ord: Order = "l2") -> Tensor:
        """Norm of every group, (n,), differentiable."""
        ...

    def rms(self, weights: Weights) -> Tensor:
        """Root mean square of every group's weights, (n,), differentiable."""
        ...

    def scores(self, weights: Weights, score: Score = "l2") -> Tensor:
        """Magnitude by which groups are ranked, float64 (n,), without gradient."""
        ...

    def sums(self, values: Weights) -> Tensor:
        """Sum of a value per weight over every group, (n,): for scores that are no norms."""
        ...

    def expand(self, values: Tensor) -> dict[str, Tensor]:
        """Spread one value per group (n,) over the weights; where groups overlap, their product (of bool: and)."""
        ...

    def reduce(self, masks: Weights) -> Tensor:
        """Groups kept by masks, bool (n,): the inverse of `expand`."""
        ...

    def keep(self, scores: Tensor, sparsity: float, previous: Tensor | None = None) -> Tensor:
        """Groups to keep at a sparsity, bool (n,): those of largest score that `previous` (n,) kept too."""
        ...


class TileGroups:
    """Tiles of one shape on several matrices.

    Parameters
    ----------
    shapes
        (out, in) of each matrix, by state key.
    tile
        The tile.
    gates
        Equal gates stacked in each matrix's rows; one where not named.
    scope
        Within what tiles compete (`bench.sparsity.scope`): each `gate` (for `column`, whose tiles span all gates, the
        matrix), each `matrix`, all matrices together (`global`), or `N:M`.
    gate_sparsity
        Sparsity of each gate (scope `gate`), whose mean is the sparsity of all; below it, in proportion to each other.
        None: the same for all.
    keep_diagonal
        Matrices in which every tile with a diagonal weight (i, i) of a gate's square block is kept, within the count.

    Raises
    ------
    UsageError
        For a tile that does not fit a matrix, a scope that is unknown or does not fit, or a matrix without a diagonal.
    """

    def __init__(
        self,
        shapes: Mapping[str, tuple[int, int]],
        tile: Tile,
        gates: Mapping[str, int] | None = None,
        scope: str = "matrix",
        gate_sparsity: Sequence[float] | None = None,
        keep_diagonal: Sequence[str] = (),
    ) -> None:
        self.tile, self.scope = tile, Scope.parse(scope)
        self.grids = {key: _grid(key, tile, shape, (gates or {}).get(key, 1)) for key, shape in shapes.items()}
        self.keys = tuple(self.grids)
        self.parts: dict[str, slice] = {}
        self.n = 0
        for key, grid in self.grids.items():
            self.parts[key] = slice(self.n, self.n + grid.n_groups)
            self.n += grid.n_groups
        self.sizes = torch.cat([grid.sizes for grid in self.grids.values()])
        for key, grid in self.grids.items():
            self.scope.check(key, str(tile), grid.columns)
        self.gate_sparsity = self.scope.check_gates(gate_sparsity, {key: g.bands for key, g in self.grids.items()})
        unknown = sorted(set(keep_diagonal) - set(self.grids))
        if unknown:
            raise UsageError(f"prune.keep_diagonal: {', '.join(unknown)} not among the pruned: {', '.join(self.keys)}")
        self._spared = torch.cat(
            [
                _diagonal(key, grid) if key in keep_diagonal else torch.zeros(grid.n_groups, dtype=torch.bool)
                for key, grid in self.grids.items()
            ]
        )

    def norms(self, weights: Weights, ord: Order = "l2") -> Tensor:
        """Norm of every group, (n,), differentiable."""
        return torch.cat([grid.norms(weights[key], ord) for key, grid in self.grids.items()])

    def rms(self, weights: Weights) -> Tensor:
        """Root mean square of every group's weights, (n,), differentiable."""
        return torch.cat([grid.rms(weights[key]) for key, grid in self.grids.items()])

    def scores(self, weights: Weights, score: Score = "l2") -> Tensor:
        """Magnitude by which groups are ranked (`Grid.scores`), float64 (n,), without gradient.

        Raises
        ------
        LanewiseError
            If a weight is not finite.
        """
        for key in self.keys:
            if not bool(torch.isfinite(weights[key]).all()):
                raise LanewiseError(f"{key}: cannot be pruned by magnitude, it holds NaN or infinite weights")
        return torch.cat([grid.scores(weights[key], score) for key, grid in self.grids.items()])

    def expand(self, values: Tensor) -> dict[str, Tensor]:
        """Spread one value per group (n,) over the matrices; differentiable, any dtype."""
        return {key: grid.expand(values[self.parts[key]]) for key, grid in self.grids.items()}

    def reduce(self, masks: Weights) -> Tensor:
        """Groups kept by masks, bool (n,).

        Raises
        ------
        LanewiseError
            If a mask keeps only a part of some tile.
        """
        return torch.cat([grid.reduce(masks[key].cpu()) for key, grid in self.grids.items()])

    def sums(self, values: Weights) -> Tensor:
        """Sum of a value per weight over every group, (n,): for scores that are no norms."""
        return torch.cat([grid.sums(values[key]) for key, grid in self.grids.items()])

    def keep(self, scores: Tensor, sparsity: float, previous: Tensor | None = None) -> Tensor:
        """Groups to keep at a sparsity, bool (n,).

        Over each budget of n tiles exactly `kept_count(n, sparsity)` are kept; of `N:M` see `Scope.kept_of`.

        Raises
        ------
        UsageError
            For a sparsity outside 0..1, lower than that of `previous` or beyond what the scope allows, or a diagonal
            that does not fit.
        """
        if self.scope.of is None:
            shares = gate_shares(self.gate_sparsity, sparsity) * len(self.grids) if self.gate_sparsity else sparsity
            return select(scores, counted(self.budgets(), shares), previous, self._spared)
        return self._keep_runs(scores, sparsity, previous)

    def budgets(self) -> list[Budget]:
        """Tiles that compete; with `N:M` there are as many as tiles / M."""
        if self.scope.name == "global":
            return [Budget("all matrices", slice(0, self.n))]
        found = []
        for key, grid in self.grids.items():
            start = self.parts[key].start
            if self.scope.of is not None:
                for line in range(start, start + grid.n_groups, grid.columns):
                    for left in range(line, line + grid.columns, self.scope.of):
                        right = min(left + self.scope.of, line + grid.columns)
                        found.append(Budget(f"{key}, tiles {left - start} to {right - start - 1}", slice(left, right)))
                continue
            bands = grid.bands if self.scope.name == "gate" else 1
            size = grid.n_groups // bands
            for band in range(bands):
                label = f"{key}, gate {band}" if bands > 1 else key
                found.append(Budget(label, slice(start + band * size, start + (band + 1) * size)))
        return found

    def _keep_runs(self, scores: Tensor, sparsity: float, previous: Tensor | None) -> Tensor:
        """`keep` under `N:M`: every run of M tiles is a row, so that hundreds of thousands are sorted at once."""
        of = self.scope.of
        assert of is not None, "the scope is N:M"
        scores, allowed, spared = candidates(scores, previous, self._spared)
        kept = torch.empty(self.n, dtype=torch.bool)
        for key, grid in self.grids.items():
            part, short = self.parts[key], -grid.columns % of
            scored, may, must = (_runs(values[part], grid.columns, of) for values in (scores, allowed, spared))
            counts = torch.full(
                (grid.n_groups // grid.columns, -(-grid.columns // of)), self.scope.kept_of(of, sparsity)
            )
            counts[:, -1] = self.scope.kept_of(of - short, sparsity)
            chosen = select_rows(scored, counts.flatten(), may, must, key)
            kept[part] = chosen.reshape(-1, grid.columns + short)[:, : grid.columns].flatten().cpu()
        return kept


def _runs(values: Tensor, columns: int, of: int) -> Tensor:
    """One value per tile, in lines of `columns`, as runs of `of` (runs, of); the last of a line is zero-padded."""
    return torch.nn.functional.pad(values.reshape(-1, columns), (0, -columns % of)).reshape(-1, of)


def _grid(key: str, tile: Tile, shape: tuple[int, int], gates: int) -> Grid:
    try:
        return tile.grid(shape, gates)
    except UsageError as error:
        raise UsageError(f"{key}: {error}") from None


def _diagonal(key: str, grid: Grid) -> Tensor:
    """Bool (n,): tiles that contain a weight (i, i) of a gate's square block."""
    out, inputs = grid.shape
    if out != inputs * grid.gates:
        raise UsageError(f"prune.keep_diagonal: a gate of {key} is {out // grid.gates} x {inputs}, which is not square")
    return grid.count(torch.eye(inputs, dtype=torch.bool).repeat(grid.gates, 1)) > 0
