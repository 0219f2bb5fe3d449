"""One arm after the dense model: train under a regularizer, prune, recover with fixed masks.

Every arm of a comparison spends the same steps on the same batches; an arm without a phase recovers (or simply goes on,
as dense-continued does) for those steps instead.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from bench.learn.dataset import ClipData, Segments
from bench.learn.evaluate import mean_nll
from bench.learn.fit import Fit, Optimisation
from bench.learn.interrupt import between_steps
from bench.models.wavernn import MATRICES, SubbandWaveRNN
from bench.sparsity.control import FixedLambda, LambdaControl, LambdaPoint, TargetSparsity
from bench.sparsity.masks import achieved_sparsity, apply_masks_
from bench.sparsity.pruner import magnitude_masks, random_masks
from bench.sparsity.regularizer import Form, GroupLasso
from bench.sparsity.schedule import Kind, Schedule
from bench.sparsity.tile import Tile

LAMBDA_MAX = 1.0
"""Ceiling of a controlled lambda: beyond it Adam's updates, about one learning rate each, could defend no weight."""


@dataclass(frozen=True)
class Regularization:
    """A group Lasso on the arm's matrices during the first phase and while pruning goes on.

    A controlled lambda falls to zero by itself once pruning leaves more zero groups than its target.

    Attributes
    ----------
    tile
        Its groups.
    form
        "proximal" or "subgradient".
    lam
        A number; "controlled" to reach a share `target` of zero groups at the end of the first phase.
    target
        Share of zero groups that a controlled lambda steers to.
    """

    tile: Tile
    form: Form = "proximal"
    lam: float | Literal["controlled"] = "controlled"
    target: float = 0.0


@dataclass(frozen=True)
class Pruning:
    """What is pruned; see `bench.sparsity.pruner` and `bench.sparsity.schedule` for the words."""

    tile: Tile
    sparsity: float
    kind: Literal["magnitude", "random"] = "magnitude"
    schedule: Kind = "cubic"
    scope: Literal["global", "matrix", "gate"] = "matrix"
    score: Literal["l2", "l1", "max", "l2-mean"] = "l2"
    keep_diagonal: bool = False


@dataclass(frozen=True)
class ArmPlan:
    """Everything that decides an arm, besides the dense model, the clips and the seed.

    Attributes
    ----------
    optimisation
        Steps and learning rate of all phases together.
    matrices
        Public names (`bench.models.wavernn.MATRICES`) of what is regularised and pruned.
    reg, prune
        None for a phase the arm does not have.
    reg_steps, prune_steps
        Lengths of the first two phases; the rest is recovery.
    batch, frames
        Segments per step, frames per segment.
    validate_every, checkpoint_every
        Steps between points of the validation curve, between checkpoints.
    """

    optimisation: Optimisation
    matrices: tuple[str, ...] = ("gru.recurrent",)
    reg: Regularization | None = None
    prune: Pruning | None = None
    reg_steps: int = 0
    prune_steps: int = 0
    batch: int = 32
    frames: int = 10
    validate_every: int = 50
    checkpoint_every: int = 50


@dataclass
class Curves:
    """What is kept of an arm's training; steps are counted from 1, `valid_nll[0]` is the dense model's."""

    step: list[int] = field(default_factory=list)
    train_nll: list[float] = field(default_factory=list)
    sparsity: list[float] = field(default_factory=list)
    lam: list[float] = field(default_factory=list)
    valid_step: list[int] = field(default_factory=list)
    valid_nll: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class ArmResult:
    """A trained arm.

    Attributes
    ----------
    model
        With pruned weights at zero.
    masks, tiles
        By state-dict key: kept weights (out, in) bool, and the pruning tile's name. Empty for a dense arm.
    curves
        Of training.
    lambda_
        Last lambda of the first phase; None without regularizer.
    milestones
        Validation NLL: "start", "penalised" (before any pruning), "pruned" (masks final), "recovered"; what the
        penalty costs and what pruning costs stay apart.
    """

    model: SubbandWaveRNN
    masks: dict[str, Tensor]
    tiles: dict[str, str]
    curves: Curves
    lambda_: float | None
    milestones: dict[str, float]


class _Sparsifier:
    """Acts after each update: regularizer's step, new masks, masked weights at zero."""

    def __init__(self, model: SubbandWaveRNN, plan: ArmPlan, seed: int) -> None:
        self.plan = plan
        self.keys = [MATRICES[name][0] for name in plan.matrices]
        self.gates = {MATRICES[name][0]: MATRICES[name][1] for name in plan.matrices}
        parameters = dict(model.named_parameters())
        self.weights = {key: parameters[key] for key in self.keys}
        self.masks: dict[str, Tensor] = {}
        self.seed = seed
        self.lam = 0.0
        self.schedule: Schedule | None = None
        self.prune_end = plan.reg_steps + plan.prune_steps
        if plan.prune is not None:
            kind, start = plan.prune.schedule, plan.reg_steps
            self.schedule = Schedule(kind, plan.prune.sparsity, start, max(self.prune_end, start))
            if kind == "one-shot":
                self.prune_end = start
        if plan.reg is not None:
            self.lasso = GroupLasso(plan.reg.tile, plan.reg.form)
            self.control = self._control(plan)

    @staticmethod
    def _control(plan: ArmPlan) -> LambdaControl:
        reg = plan.reg
        assert reg is not None
        tolerance = 2 * plan.optimisation.rate if reg.form == "subgradient" else 0.0
        if reg.lam != "controlled":
            return FixedLambda(reg.lam, reg.form, tolerance)
        ramp = Schedule("linear", reg.target, 0, max(plan.reg_steps - 1, 0))
        return TargetSparsity(ramp, reg.form, tolerance, lam_max=LAMBDA_MAX)

    @torch.no_grad()
    def after_step(self, step: int, rate: float) -> None:
        """`step` counts updates from 0."""
        done = step + 1
        self.lam = 0.0
        if self.plan.reg is not None and step < max(self.prune_end, self.plan.reg_steps):
            rms = torch.cat([self.lasso.rms(w, self.gates[k]) for k, w in self.weights.items()])
            self.lam = self.lasso.lam = self.control.update(step, rms, rate)
            for key, weight in self.weights.items():
                self.lasso.step_(weight, self.gates[key], rate)
        if self.schedule is not None and done >= self.plan.reg_steps and done <= self.prune_end:
            self.prune(self.schedule.sparsity_at(done))
        apply_masks_(self.weights, self.masks)

    def prune(self, sparsity: float) -> None:
        """Make the masks of a sparsity, never giving back what is pruned already."""
        how = self.plan.prune
        assert how is not None
        weights = {key: weight.detach() for key, weight in self.weights.items()}
        tiles = dict.fromkeys(self.keys, how.tile)
        diagonal = ["gru.w_hh"] if how.keep_diagonal and "gru.w_hh" in weights else False
        previous = self.masks if self.masks else None
        if how.kind == "random":
            generator = torch.Generator().manual_seed(self.seed)
            self.masks = random_masks(weights, tiles, self.gates, sparsity, generator, how.scope, diagonal, previous)
        else:
            self.masks = magnitude_masks(weights, tiles, self.gates, sparsity, how.score, how.scope, diagonal, previous)

    def sparsity(self) -> float:
        """Pruned share of the arm's matrices together."""
        return achieved_sparsity(self.masks)


def train_arm(
    model: SubbandWaveRNN,
    train: list[ClipData],
    valid: list[ClipData],
    plan: ArmPlan,
    *,
    seed: int,
    checkpoint_dir: Path | None = None,
    on_step: Callable[[int, float], object] | None = None,
) -> ArmResult:
    """Train one arm from a dense model (changed in place), taking up its checkpoint if there is one.

    Parameters
    ----------
    model
        The dense start, on the device to train on.
    train, valid
        Training clips, and validation clips (curves only; nothing is chosen here).
    plan
        The arm.
    seed
        Decides the segments drawn and random masks.
    checkpoint_dir
        Holds `arm.resume` while the arm is unfinished; None keeps no checkpoint.
    on_step
        Called after each step with (steps done, bits); what it raises ends the run after a checkpoint.

    Returns
    -------
    ArmResult
    """
    segments = Segments(train, model.arch, model.band_scale.cpu().numpy(), plan.batch, plan.frames)
    sparsifier = _Sparsifier(model, plan, seed)
    fit = Fit(model, plan.optimisation, lambda step: segments(step, seed), sparsifier.after_step)
    curves, milestones = Curves(), dict[str, float]()
    path = checkpoint_dir / "arm.resume" if checkpoint_dir is not None else None
    steps = plan.optimisation.steps

    def validate(step: int) -> float:
        if not curves.valid_step or curves.valid_step[-1] != step:
            bits = mean_nll(model, valid)
            curves.valid_step.append(step)
            curves.valid_nll.append(bits)
        return curves.valid_nll[-1]

    def save() -> None:
        if path is not None:
            extra: dict[str, Any] = {"curves": vars(curves), "milestones": milestones}
            if plan.reg is not None:
                extra["lambda"] = sparsifier.control.curve
            fit.save(path, extra, sparsifier.masks)

    if path is not None and path.is_file():
        extra, sparsifier.masks = fit.restore(path)
        curves, milestones = Curves(**extra["curves"]), extra["milestones"]
        if plan.reg is not None:
            sparsifier.control.curve = [LambdaPoint(*point) for point in extra["lambda"]]
    else:
        milestones["start"] = validate(0)

    def hear(step: int, bits: float) -> None:
        curves.step.append(step)
        curves.train_nll.append(bits)
        curves.sparsity.append(sparsifier.sparsity())
        curves.lam.append(sparsifier.lam)
        if step == plan.reg_steps and plan.reg is not None and (plan.prune is None or plan.prune_steps > 0):
            milestones["penalised"] = validate(step)
        if plan.prune is not None and step == sparsifier.prune_end:
            milestones["pruned"] = validate(step)
        if step % plan.validate_every == 0 or step == steps:
            validate(step)
        if step % plan.checkpoint_every == 0:
            save()
        try:
            if on_step is not None:
                on_step(step, bits)
            interruption()
        except BaseException:
            save()
            raise

    if plan.prune is not None and sparsifier.prune_end == 0:  # pruned at once, before the first step
        sparsifier.prune(plan.prune.sparsity)
        with torch.no_grad():
            apply_masks_(sparsifier.weights, sparsifier.masks)
        milestones["pruned"] = validate(0)
    with between_steps() as interruption:
        fit.run(steps, hear)
    milestones["recovered"] = validate(steps)
    lams = [p.lam for p in sparsifier.control.curve if p.step < plan.reg_steps] if plan.reg is not None else []
    tiles = dict.fromkeys(sparsifier.masks, plan.prune.tile.name) if plan.prune is not None else {}
    return ArmResult(model, sparsifier.masks, tiles, curves, lams[-1] if lams else None, milestones)
