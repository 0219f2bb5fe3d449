"""Where lambda comes from: fixed, a grid whose best is chosen elsewhere, or a controller towards a target sparsity.

A controller is asked once a step, between the optimiser's update and the regularizer's own step:

    regularizer.lam = control.update(step, regularizer.rms(weights), lr)
    regularizer.step_(weights, lr)
"""

import math
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from torch import Tensor

from bench.errors import UsageError
from bench.sparsity.count import kept_count
from bench.sparsity.regularizer import Form
from bench.sparsity.schedule import Schedule


class LambdaPoint(NamedTuple):
    """One step of a lambda curve; `sparsity` is the share of groups at zero once that step is taken."""

    step: int
    lam: float
    target: float | None
    sparsity: float


class LambdaControl(Protocol):
    """What training asks for lambda."""

    curve: list[LambdaPoint]

    def update(self, step: int, rms: Tensor, lr: float) -> float:
        """Lambda of this step, from the groups' root mean squares (n,) before the regularizer's step at `lr`."""
        ...


@dataclass
class FixedLambda:
    """The same lambda at every step; the curve still records the group sparsity.

    `form` is the regularizer's; `tolerance` (weight units): a group whose root mean square is at most this counts as
    zero, 0 for the proximal form.
    """

    lam: float
    form: Form = "proximal"
    tolerance: float = 0.0
    curve: list[LambdaPoint] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not (self.lam >= 0 and math.isfinite(self.lam)):
            raise UsageError(f"reg.lambda: got {self.lam}, expected a finite number >= 0")

    def update(self, step: int, rms: Tensor, lr: float) -> float:
        """The fixed lambda."""
        self.curve.append(LambdaPoint(step, self.lam, None, zero_share(rms, lr * self.lam, self.form, self.tolerance)))
        return self.lam


@dataclass
class TargetSparsity:
    """Lambda that makes the group sparsity before pruning follow a schedule and end on it.

    A proximal step lowers every group's root mean square (rms) by lr * lambda, so k groups reach zero within the next
    h steps when lr * lambda * h is the k-th smallest rms, were there no gradients. Each step solves this anew for the
    share that `schedule` wants h steps ahead; what gradients undo comes back as a larger k-th rms. h is `horizon`,
    and shrinks to 1 at `schedule.end`, where the proximal form therefore meets the target to the group (unless
    `lam_max` binds), and holds it from there on.

    The subgradient form carries groups within lr * lambda of zero and never to it: there `tolerance` is needed, a
    group with rms <= tolerance counts as zero, and lambda stays below tolerance / lr so that it can.

    Attributes
    ----------
    schedule
        Target group sparsity over the steps of the regularisation phase.
    form
        The regularizer's form.
    tolerance
        Root mean square (weight units) up to which a group counts as zero; 0 for the proximal form.
    horizon
        Steps h ahead. 1 follows the schedule to the group at every step, at the price of peaks of lambda (all groups
        shrink while the smallest are driven to zero); longer is gentler and lags behind on the way to the same end.
    lam_min, lam_max
        Bounds of lambda. Adam moves a weight by about lr a step, so gradients can defend no group where lambda
        exceeds about 1.
    curve
        One `LambdaPoint` a step.
    """

    schedule: Schedule
    form: Form = "proximal"
    tolerance: float = 0.0
    horizon: int = 20
    lam_min: float = 0.0
    lam_max: float = math.inf
    curve: list[LambdaPoint] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not 0 <= self.lam_min <= self.lam_max:
            raise UsageError(f"reg.lambda: bounds must satisfy 0 <= min <= max, got {self.lam_min}, {self.lam_max}")
        if self.horizon < 1:
            raise UsageError(f"reg.horizon: got {self.horizon}, expected at least 1 step")
        if self.tolerance < 0 or (self.form == "subgradient" and self.tolerance == 0):
            need = "> 0, since subgradients reach no exact zero" if self.form == "subgradient" else ">= 0"
            raise UsageError(f"reg.tolerance: got {self.tolerance}, expected {need}")

    def update(self, step: int, rms: Tensor, lr: float) -> float:
        """Lambda of this step; `lam_min` where lr is 0, since no step is taken."""
        ahead = max(1, min(self.horizon, self.schedule.end - step + 1))
        lam = self._wanted(rms, lr * ahead, self.schedule.sparsity_at(step + ahead - 1)) if lr > 0 else 0.0
        ceiling = min(self.lam_max, self.tolerance / lr) if self.form == "subgradient" and lr > 0 else self.lam_max
        lam = min(max(lam, self.lam_min), ceiling)
        sparsity = zero_share(rms, lr * lam, self.form, self.tolerance)
        self.curve.append(LambdaPoint(step, lam, self.schedule.sparsity_at(step), sparsity))
        return lam

    def _wanted(self, rms: Tensor, reach: float, target: float) -> float:
        n = rms.numel()
        zeroed = n - kept_count(n, target)
        if zeroed == 0:
            return 0.0
        quantile = float(rms.detach().flatten().kthvalue(zeroed).values) - self.tolerance
        return max(0.0, quantile) / reach * (1 + 1e-6)  # above the k-th group by more than float32 can lose


def zero_share(rms: Tensor, pull: float, form: Form = "proximal", tolerance: float = 0.0) -> float:
    """Share of groups within `tolerance` of zero once a step has pulled them by lr * lambda = `pull` (weight units)."""
    if rms.numel() == 0:
        return 0.0
    left = rms.detach() - pull
    # A proximal step stops at zero; a subgradient step passes through it, and leaves exact zeros alone.
    left = left.clamp_min(0) if form == "proximal" else left.abs().masked_fill(rms == 0, 0.0)
    return float((left <= tolerance).double().mean())
