"""Lasso and group Lasso while an arm trains: which of the two it is, its tile says."""

from typing import Any

import torch
from torch import Tensor

from bench.sparsity.control import FixedLambda, LambdaControl, LambdaPoint, TargetSparsity
from bench.sparsity.method import Method, Target
from bench.sparsity.regularizer import FORMS, GroupLasso
from bench.sparsity.schedule import Schedule

LAMBDA_MAX = 1.0
"""Ceiling of a controlled lambda: beyond it Adam's updates, about one learning rate each, could defend no weight."""


class Lasso(Method):
    """Takes the regularizer's step after each update, until pruning ends.

    A controlled lambda falls to zero by itself once pruning leaves more zero groups than its target.

    Options `form`, `lambda` (a number, or "controlled" to reach a share `target` of zero groups when pruning begins)
    and `target` are those of the configuration's `reg` section.
    """

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        options = target.options
        self.form = FORMS[FORMS.index(options["form"])]
        self.regularizer = self.formula()
        self.control = self._control()

    def formula(self) -> GroupLasso:
        """Return the penalty with its steps."""
        return GroupLasso(self.target.groups, self.form)

    def reach(self, step: int, rate: float) -> Tensor:
        """Return the pull rate * lambda that would bring each group to zero at step `step`, (n,)."""
        return self.regularizer.rms(self.target.weights)

    def _control(self) -> LambdaControl:
        lam, share = self.target.options["lambda"], self.target.options.get("target")
        tolerance = 2 * self.target.rate if self.form == "subgradient" else 0.0
        if lam != "controlled":
            return FixedLambda(float(lam), self.form, tolerance)
        ramp = Schedule("linear", float(share or 0.0), 0, max(self.target.phases.reg_end - 1, 0))
        return TargetSparsity(ramp, self.form, tolerance, lam_max=LAMBDA_MAX)

    @torch.no_grad()
    def after_step(self, step: int, rate: float) -> None:
        """Pull the groups towards zero."""
        self.lam = 0.0
        if step < max(self.target.phases.prune_end, self.target.phases.reg_end):
            reach = self.reach(step, rate)
            self.lam = self.regularizer.lam = self.control.update(step, reach, rate)
            self.regularizer.step_(self.target.weights, rate)

    def state(self) -> dict[str, Any]:
        """Return the lambda curve."""
        return {"lambda": self.control.curve}

    def restore(self, state: dict[str, Any], tensors: Any) -> None:
        """Put back the lambda curve."""
        self.control.curve = [LambdaPoint(*point) for point in state["lambda"]]
