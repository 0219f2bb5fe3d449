"""Sparse group Lasso while an arm trains: group Lasso with a share `alpha` of Lasso."""

from dataclasses import replace

from torch import Tensor

from bench.sparsity.control import FixedLambda, TargetSparsity
from bench.sparsity.methods.lasso import Lasso
from bench.sparsity.sparse_group import SparseGroupLasso

_TANGENTS = 4
"""Newton steps to the pull at which the wanted share of groups is zero; from one step to the next it moves little."""


class SparseGroup(Lasso):
    """The regularizer's step after each update, as for group Lasso; option `alpha` is the share of the l1 term."""

    def formula(self) -> SparseGroupLasso:
        """Return the penalty with its steps."""
        return SparseGroupLasso(self.target.groups, self.form, alpha=float(self.target.options["alpha"]))

    def reach(self, step: int, rate: float) -> Tensor:
        """Return the pull rate * lambda that would bring each group to zero at step `step`, (n,).

        Exact, up to rounding, about the pull that the controller will choose. In the subgradient form, which never
        reaches zero, the root mean square as for group Lasso (its pull is at most what that assumes).
        """
        regularizer = self.formula()
        if self.form == "subgradient":
            return regularizer.rms(self.target.weights)
        near = 0.0
        for _ in range(_TANGENTS):
            reach = regularizer.reach(self.target.weights, near)
            near = rate * self._trial().update(step, reach, rate)
        return regularizer.reach(self.target.weights, near)

    def _trial(self) -> FixedLambda | TargetSparsity:
        """Return the controller without its curve, to ask it what it would do."""
        assert isinstance(self.control, FixedLambda | TargetSparsity), "the controllers of `Lasso`"
        return replace(self.control, curve=[])
