"""What a method is: an object that acts on an arm's weights while it trains.

Training asks it for a penalty before each update, tells it of each update, and at the end of pruning takes the masks it
made. Everything a method needs is in its `Target`; nothing in it knows which network it works on.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from bench.sparsity.grid import Score
from bench.sparsity.groups import Groups
from bench.sparsity.masks import apply_masks_
from bench.sparsity.schedule import Schedule

Option = float | int | str | bool


@dataclass(frozen=True)
class Phases:
    """Steps (optimiser updates done) at which phases of an arm end: regularisation, pruning, everything."""

    reg_end: int
    prune_end: int
    steps: int


@dataclass(frozen=True)
class Target:
    """What a method works on.

    Attributes
    ----------
    model
        The network: modules to hang a parametrisation on.
    weights
        Its matrices (out, in) that the groups lie in, by state key; parameters, changed in place.
    groups
        Their groups under the method's tile.
    phases
        When the method's phase ends.
    schedule
        Sparsity by step; None for a method that does not prune.
    rate
        Peak learning rate of the arm.
    seed
        For draws; the same on every device and after every resumption.
    options
        The method's own hyper-parameters, complete (defaults filled in from `bench.sparsity.catalogue`).
    score
        Norm by which magnitude ranks groups.
    calibrate
        Gives, by state key, the second moment X^T X / n (in, in), float64, of each matrix's input over a fixed set of
        training segments, on the current weights; costs some forward passes.
    """

    model: nn.Module
    weights: Mapping[str, nn.Parameter]
    groups: Groups
    phases: Phases
    schedule: Schedule | None = None
    rate: float = 1e-3
    seed: int = 0
    score: Score = "l2"
    options: Mapping[str, Option] = field(default_factory=dict)
    calibrate: Callable[[], dict[str, Tensor]] | None = None


class Method:
    """Base of all methods; each hook does nothing unless a method says otherwise.

    A method may register parametrisations (`torch.nn.utils.parametrize`) on `target.model` when it is made; it bakes
    them into the plain weights when its phase ends (`after_step` at `phases.prune_end`), and on `resume` after that.

    Attributes
    ----------
    lam
        Strength of a penalty at the last step, kept as a curve; 0 where there is none.
    """

    lam: float = 0.0

    def __init__(self, target: Target) -> None:
        self.target = target

    def begin(self) -> None:
        """Act once before the first step; not called when a run is resumed."""

    def resume(self, step: int) -> None:
        """Take up a run of which `step` updates are done, before its weights and `state` are put back."""

    def penalty(self, step: int) -> Tensor | None:
        """Return a differentiable term in bits that is added to the loss of step `step` (counted from 0)."""
        return None

    def after_step(self, step: int, rate: float) -> None:
        """Act after update `step` (counted from 0) at learning rate `rate`; gradients are still there, unmasked."""

    def state(self) -> dict[str, Any]:
        """Return JSON values that `restore` needs to go on; tensors belong into `tensors`."""
        return {}

    def tensors(self) -> dict[str, Tensor]:
        """Return tensors that `restore` needs to go on."""
        return {}

    def restore(self, state: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        """Put back what `state` and `tensors` gave."""

    def facts(self) -> dict[str, Any]:
        """Return JSON values for the arm's record: curves of the method's own (thresholds, lambda, bits)."""
        return {}


class Pruner(Method):
    """Base of the methods that make masks: it follows the schedule and keeps what is pruned at zero.

    Subclasses say how groups are ranked (`scores`), or override `prune` altogether.

    Attributes
    ----------
    kept
        Bool (n,): groups kept; None until the first pruning.
    masks
        The same per weight, by state key, on the weights' device; empty until then.
    """

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        assert target.schedule is not None, "a pruner has a schedule"
        self.schedule: Schedule = target.schedule
        self.kept: Tensor | None = None
        self.masks: dict[str, Tensor] = {}

    def scores(self) -> Tensor:
        """Return what groups are ranked by, float64 (n,), larger is kept: by default the target's norm."""
        return self.target.groups.scores(self.target.weights, self.target.score)

    def prune(self, sparsity: float) -> None:
        """Make the masks of a sparsity, never giving back what is pruned already."""
        self.keep(self.target.groups.keep(self.scores(), sparsity, self.kept))

    def keep(self, kept: Tensor) -> None:
        """Take `kept` (n,) as the groups that are kept."""
        self.kept = kept
        masks = self.target.groups.expand(kept)
        self.masks = {key: mask.to(self.target.weights[key].device) for key, mask in masks.items()}

    def begin(self) -> None:
        """Prune before the first step, where the schedule says so."""
        if self.target.phases.prune_end == 0:
            self.prune(self.schedule.final)
        self.apply_()

    @torch.no_grad()
    def after_step(self, step: int, rate: float) -> None:
        """Prune where the schedule rises; set pruned weights to zero."""
        done = step + 1
        if self.target.phases.reg_end <= done <= self.target.phases.prune_end and self.schedule.changes_at(done):
            self.prune(self.schedule.sparsity_at(done))
        self.apply_()

    def apply_(self) -> None:
        """Set pruned weights to zero."""
        apply_masks_(self.target.weights, self.masks)

    def tensors(self) -> dict[str, Tensor]:
        """Return the groups kept."""
        return {} if self.kept is None else {"kept": self.kept}

    def restore(self, state: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        """Put back the groups kept."""
        if "kept" in tensors:
            self.keep(tensors["kept"].cpu())
