"""Activation-aware pruning: a weight counts as much as it moves its output, |w| times the size of its input."""

from typing import Any

import torch
from torch import Tensor

from bench.sparsity.calibrated import Calibrated
from bench.sparsity.method import Target


class Activation(Calibrated):
    """Ranks groups by the l2 norm over their weights of |w_ij| * ||x_j||, root mean square of input j; updates nothing.

    That is `second_order` with correlations between inputs left out. Groups compete within `prune.scope` (in the paper
    within each row); `prune.score` plays no part.

    Option `every`: inputs are measured again at each `every`-th pruning. A measurement is 8 batches forward and a
    second moment per pruned matrix, about the time of 9 training steps, so a gradual schedule should not pay it at each
    of its many small prunings.
    """

    kind = "activation"

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self.prunings = 0
        self.power: dict[str, Tensor] = {}

    @torch.no_grad()
    def scores(self) -> Tensor:
        """Return the sums over groups of w^2 * E[x^2], in the order of their roots."""
        if self.prunings % int(self.target.options["every"]) == 0:
            self.power = {key: moment.diagonal().contiguous() for key, moment in self.moments().items()}
        self.prunings += 1
        spread = {key: w.double().square() * self.power[key] for key, w in self.target.weights.items()}
        return self.target.groups.sums(spread)

    def state(self) -> dict[str, Any]:
        """Return how often was pruned."""
        return {"prunings": self.prunings}

    def tensors(self) -> dict[str, Tensor]:
        """Return the groups kept and the inputs' mean squares."""
        return super().tensors() | {f"power/{key}": value for key, value in self.power.items()}

    def restore(self, state: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        """Put back what `state` and `tensors` gave."""
        super().restore(state, tensors)
        self.prunings = state["prunings"]
        found = {key.removeprefix("power/"): value for key, value in tensors.items() if key.startswith("power/")}
        self.power = {key: value.to(self.target.weights[key].device) for key, value in found.items()}
