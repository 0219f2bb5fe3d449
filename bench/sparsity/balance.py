"""Lambda of a penalty on learned gates, controlled so that what they prune follows a schedule."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Balance:
    """lambda = (pull of the task's loss on the gates / that of the penalty at lambda 1) * exp(gain * lag).

    The quotient is the lambda at which the two pulls are equal; the lag moves lambda above or below it. It is the
    wanted minus the present share of pruned groups, the latter as it will be `inertia` steps on at its present speed.

    Lambda stays within exp(limit) times the balance. Adam divides a gradient by the largest of the last hundred steps:
    with a limit of 3, or a controller that multiplies lambda by exp(gain * lag) at each step, gates that had to catch
    up shot past the target (99 % pruned for 60 %), where the task's pull was too small to bring them back.

    Attributes
    ----------
    gain, limit
        Of the exponent, gain * lag, which is kept within -limit..limit.
    inertia
        Steps; those that Adam's first moment looks back.
    memory
        Decay of the moving averages of the pulls.
    task, penalty
        These averages: sums of the absolute gradients with respect to the gates' parameters, for each lambda.
    before
        Present shares at the last step.
    """

    gain: float = 20.0
    limit: float = 1.0
    inertia: float = 10.0
    memory: float = 0.9
    task: Tensor | None = None
    penalty: Tensor | None = None
    before: Tensor | None = None

    def update(self, task: Tensor, penalty: Tensor, wanted: Tensor, present: Tensor) -> Tensor:
        """Each lambda of the next step, from the pulls and the shares of pruned groups at the step that was done.

        Where the penalty does not pull at all (every gate is closed), lambda is 0.
        """
        speed = present - self.before if self.before is not None else torch.zeros_like(present)
        self.before = present
        self.task = task if self.task is None else self.memory * self.task + (1 - self.memory) * task
        self.penalty = penalty if self.penalty is None else self.memory * self.penalty + (1 - self.memory) * penalty
        balance = torch.where(self.penalty > 0, self.task / self.penalty, 0.0)
        lag = wanted - present - self.inertia * speed
        return balance * (self.gain * lag).clamp(-self.limit, self.limit).exp()

    def tensors(self) -> dict[str, Tensor]:
        """What `restore` needs to go on."""
        found = {"task": self.task, "penalty": self.penalty, "before": self.before}
        return {key: value for key, value in found.items() if value is not None}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Put back what `tensors` gave."""
        self.task, self.penalty, self.before = (tensors.get(key) for key in ("task", "penalty", "before"))
