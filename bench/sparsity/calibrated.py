"""Base of the pruners that look at what the matrices are multiplied with, not only at their weights."""

from typing import ClassVar

import torch
from torch import Tensor

from bench.errors import LanewiseError, UsageError
from bench.sparsity.method import Pruner, Target


class Calibrated(Pruner):
    """A pruner with second moments of the inputs of its matrices.

    Raises
    ------
    UsageError
        If the target gives no calibration data.
    """

    kind: ClassVar[str]
    """The method's name in configurations, for messages."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        if target.calibrate is None:
            raise UsageError(
                f"prune.kind: {self.kind!r} weighs weights by their inputs, and there are no calibration data; give "
                "training recordings, or choose a kind that needs none, such as magnitude"
            )
        self._calibrate = target.calibrate

    @torch.no_grad()
    def moments(self) -> dict[str, Tensor]:
        """Measure X^T X / n (in, in), float64, of each pruned matrix's input on the current weights.

        Raises
        ------
        LanewiseError
            If weights or inputs are not finite.
        """
        found = self._calibrate()
        moments = {key: found[key].to(weight.device) for key, weight in self.target.weights.items()}
        for key, moment in moments.items():
            if not bool(torch.isfinite(moment).all() and torch.isfinite(self.target.weights[key]).all()):
                raise LanewiseError(f"{key}: cannot be pruned by {self.kind}, it holds or meets NaN or infinite values")
        return moments
