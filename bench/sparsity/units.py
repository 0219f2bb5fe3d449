"""Hidden units as groups: all that is one unit's, in every matrix, is kept or pruned as one."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from bench.config.matrices import Layer, Slice
from bench.errors import LanewiseError
from bench.sparsity.count import kept_units
from bench.sparsity.grid import Order, Score, check_order, check_score, root
from bench.sparsity.groups import Weights
from bench.sparsity.select import Budget, select


class UnitGroups:
    """Coupled slices of hidden units (`bench.sparsity.groups.Groups`), numbered layer by layer.

    A unit is its rows in every gate, its column in the recurrent matrix and the columns of whatever reads the state: a
    network without them is a smaller network, `bench.sparsity.shrink`. Biases go with it but are not counted.

    A weight of the recurrent matrix lies in two units, that of its row and that of its column, but for the diagonal.

    Parameters
    ----------
    shapes
        (out, in) of every matrix in which the layers have slices, by state key.
    layers
        Whose units they are.
    budgeted
        The matrices that a sparsity counts (`prune.matrices`): others are pruned along with them.

    Raises
    ------
    UsageError
        If units have no slice of a budgeted matrix.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, int]], layers: Sequence[Layer], budgeted: Sequence[str]) -> None:
        self.layers = tuple(layers)
        self.budgeted = {key: shapes[key] for key in budgeted}
        kept_units(self.layers, self.budgeted, 0.0)
        self._own = [[s for s in layer.slices if s.state_key in shapes] for layer in self.layers]
        owned = {s.state_key for own in self._own for s in own}
        self.shapes = {key: shape for key, shape in shapes.items() if key in owned}
        self.keys = tuple(self.shapes)
        self.n = sum(layer.units for layer in self.layers)
        self.parts: list[slice] = []
        for layer in self.layers:
            start = self.parts[-1].stop if self.parts else 0
            self.parts.append(slice(start, start + layer.units))
        self.sizes = self.sums({key: torch.ones(shape, dtype=torch.int64) for key, shape in self.shapes.items()})

    def norms(self, weights: Weights, ord: Order = "l2") -> Tensor:
        """Norm of all weights of every unit, (n,), differentiable; at zero the gradient is the subgradient 0."""
        check_order(ord)
        rows = self._rows(weights)
        if ord == "l2":
            return torch.cat([root(row.square().sum(dim=1)) for row in rows])
        return torch.cat([row.abs().sum(dim=1) if ord == "l1" else row.abs().amax(dim=1) for row in rows])

    def rms(self, weights: Weights) -> Tensor:
        """Root mean square of every unit's weights, (n,), differentiable."""
        norms = self.norms(weights)
        return norms / self.sizes.to(norms).sqrt()

    def scores(self, weights: Weights, score: Score = "l2") -> Tensor:
        """Magnitude by which units are ranked, float64 (n,), without gradient.

        Raises
        ------
        LanewiseError
            If a weight is not finite.
        """
        check_score(score)
        for key in self.keys:
            if not bool(torch.isfinite(weights[key]).all()):
                raise LanewiseError(f"{key}: cannot be pruned by magnitude, it holds NaN or infinite weights")
        precise = {key: weights[key].detach().double() for key in self.keys}
        return self.rms(precise) if score == "l2-mean" else self.norms(precise, score)

    def sums(self, values: Weights) -> Tensor:
        """Sum of a value per weight over every unit, (n,)."""
        return torch.cat([row.sum(dim=1) for row in self._rows(values)])

    def expand(self, values: Tensor) -> dict[str, Tensor]:
        """Spread one value per unit (n,) over the matrices; a weight of two units gets their product (of bool: and)."""
        if values.shape != (self.n,):
            raise ValueError(f"expected {self.n} values, one per unit, got shape {tuple(values.shape)}")
        spread: dict[str, Tensor] = {}
        for part, own in zip(self.parts, self._own, strict=True):
            for item in own:
                key = item.state_key
                along = values[part].repeat(item.gates)
                along = (along[:, None] if item.axis == 0 else along[None, :]).expand(self.shapes[key])
                spread[key] = self._once(spread[key], along, item, own) if key in spread else along
        return {key: spread[key].contiguous() for key in self.keys}

    def reduce(self, masks: Weights) -> Tensor:
        """Units kept by masks, bool (n,).

        Raises
        ------
        LanewiseError
            If the masks keep only a part of some unit.
        """
        masks = {key: masks[key].cpu() for key in self.keys}
        kept = self.sums({key: mask.long() for key, mask in masks.items()}) > 0
        for key, mask in self.expand(kept).items():
            if not torch.equal(mask, masks[key]):
                raise LanewiseError(f"{key}: the mask keeps some hidden unit in part")
        return kept

    def keep(self, scores: Tensor, sparsity: float, previous: Tensor | None = None) -> Tensor:
        """Units to keep at a sparsity of the budgeted matrices, bool (n,): as many as `kept_units` says of each layer.

        Raises
        ------
        UsageError
            For a sparsity outside 0..1 or lower than that of `previous`.
        """
        counts = kept_units(self.layers, self.budgeted, sparsity)
        return select(scores, list(zip(self.budgets(), counts, strict=True)), previous)

    def budgets(self) -> list[Budget]:
        """Units that compete: those of a layer."""
        return [Budget(layer.name, part) for layer, part in zip(self.layers, self.parts, strict=True)]

    def _rows(self, values: Weights) -> list[Tensor]:
        """All values of each unit in a row, (units, m) by layer; what lies in both its row and its column, once."""
        return [
            torch.cat(
                [
                    (found if item.axis == 0 else found.T)
                    .reshape(item.gates, layer.units, -1)
                    .transpose(0, 1)
                    .reshape(layer.units, -1)
                    for item in own
                    for found in [self._without_twins(values[item.state_key], item, own)]
                ],
                dim=1,
            )
            for layer, own in zip(self.layers, self._own, strict=True)
        ]

    def _without_twins(self, values: Tensor, item: Slice, own: list[Slice]) -> Tensor:
        """Columns of a matrix whose rows are the same units': without what a unit's row has already, the diagonal."""
        twins = self._twins(item, own)
        return values if twins is None else torch.where(twins.to(values.device), 0, values)

    def _once(self, rows: Tensor, along: Tensor, item: Slice, own: list[Slice]) -> Tensor:
        twins = self._twins(item, own)
        return rows * along if twins is None else torch.where(twins.to(rows.device), rows, rows * along)

    def _twins(self, item: Slice, own: list[Slice]) -> Tensor | None:
        """Weights that are in a unit's row as well as in its column, bool (out, in); None where it has but one."""
        other = [s for s in own if s.state_key == item.state_key and s.axis == 0]
        if item.axis == 0 or not other:
            return None
        out, inputs = self.shapes[item.state_key]
        rows, columns = torch.arange(out) % (out // other[0].gates), torch.arange(inputs) % (inputs // item.gates)
        return rows[:, None] == columns[None, :]
