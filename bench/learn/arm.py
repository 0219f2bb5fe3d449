"""One arm after the dense model: train under a regularizer, prune, recover with fixed masks.

Every arm of a comparison spends the same steps on the same batches; an arm without a phase recovers (or simply goes on,
as dense-continued does) for those steps instead.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from bench.learn.calibration import second_moments
from bench.learn.fit import Fit, Optimisation, exact
from bench.learn.interrupt import between_steps
from bench.learn.recovery import Kind as RecoverKind
from bench.learn.recovery import Recovery
from bench.learn.snapshots import Snapshots, moments
from bench.learn.structure import groups_of, reorder_units_
from bench.learn.task import Task
from bench.sparsity import catalogue
from bench.sparsity.grid import Score
from bench.sparsity.groups import Groups
from bench.sparsity.masks import achieved_sparsity
from bench.sparsity.method import Method, Option, Phases, Pruner, Target
from bench.sparsity.schedule import Kind, Schedule
from bench.sparsity.tile import Tile


@dataclass(frozen=True)
class Regularization:
    """What pulls groups to zero during the first phase and while pruning goes on.

    Attributes
    ----------
    tile
        Its groups.
    kind
        A regularizer of `bench.sparsity.catalogue`.
    options
        Its `form`, `lambda` and `target`, and its own hyper-parameters.
    """

    tile: Tile
    kind: str = "group_lasso"
    options: Mapping[str, Option] = field(default_factory=dict)


@dataclass(frozen=True)
class Pruning:
    """What is pruned, and how: the words of the configuration's `prune` section.

    With `permute` the dense model's hidden units are reordered before anything else; the order is among the facts.
    """

    tile: Tile
    sparsity: float
    kind: str = "magnitude"
    schedule: Kind = "cubic"
    scope: str = "matrix"
    score: Score = "l2"
    keep_diagonal: bool = False
    gate_sparsity: tuple[float, ...] | None = None
    permute: bool = False
    options: Mapping[str, Option] = field(default_factory=dict)


@dataclass(frozen=True)
class ArmPlan:
    """Everything that decides an arm, besides the dense model, the task and the seed.

    Attributes
    ----------
    optimisation
        Steps and learning rate of all phases together.
    matrices
        Public names (`Task.matrices`) of what is regularised and pruned.
    reg, prune
        None for a phase the arm does not have.
    recover, distil
        How weights are trained once masks are final, and the weight of the distance to the dense start in the loss:
        see `bench.learn.recovery`.
    reg_steps, prune_steps
        Lengths of the first two phases; the rest is recovery.
    validate_every, checkpoint_every
        Steps between points of the validation curve, between checkpoints.
    """

    optimisation: Optimisation
    matrices: tuple[str, ...] = ("gru.recurrent",)
    reg: Regularization | None = None
    prune: Pruning | None = None
    recover: RecoverKind = "finetune"
    distil: float = 0.0
    reg_steps: int = 0
    prune_steps: int = 0
    validate_every: int = 50
    checkpoint_every: int = 50

    @property
    def phases(self) -> Phases:
        """When each phase ends."""
        steps, schedule = self.optimisation.steps, self.prune.schedule if self.prune is not None else None
        if schedule == "offline":
            return Phases(steps, steps, steps)
        prune_end = self.reg_steps + (0 if schedule == "one-shot" else self.prune_steps)
        return Phases(self.reg_steps, prune_end, steps)

    def pruned_groups(self, model: nn.Module, task: Task) -> Groups:
        """Return what is kept or pruned as one."""
        what = self.prune
        assert what is not None, "the arm prunes"
        return groups_of(model, task, self.matrices, what.tile, what.scope, what.gate_sparsity, what.keep_diagonal)


@dataclass
class Curves:
    """What is kept of an arm's training; steps are counted from 1, `valid_loss[0]` is the dense model's."""

    step: list[int] = field(default_factory=list)
    train_loss: list[float] = field(default_factory=list)
    sparsity: list[float] = field(default_factory=list)
    lam: list[float] = field(default_factory=list)
    valid_step: list[int] = field(default_factory=list)
    valid_loss: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class ArmResult:
    """A trained arm.

    Attributes
    ----------
    model
        With pruned weights at zero.
    masks, tiles
        By state-dict key: kept weights (out, in) bool, and the pruning tile's name. Empty for a dense arm. Of tile
        `unit`, those of every matrix that the units lie in.
    curves
        Of training.
    lambda_
        Last lambda of the first phase; None without regularizer.
    milestones
        Validation NLL: "start", "penalised" (before any pruning), "pruned" (masks final), "restarted" (weights
        rewound or drawn anew), "recovered"; what the penalty costs and what pruning costs stay apart.
    facts
        What the methods have to say for themselves; `permute`: the order of hidden units (`reorder_units_`).
    snapshots
        What the plan's matrices looked like on the way.
    """

    model: nn.Module
    masks: dict[str, Tensor]
    tiles: dict[str, str]
    curves: Curves
    lambda_: float | None
    milestones: dict[str, float]
    facts: dict[str, Any]
    snapshots: Snapshots


def build_methods(model: nn.Module, task: Task, plan: ArmPlan, seed: int) -> tuple[Method | None, Pruner | None]:
    """Return the plan's regularizer and pruner, acting on the model."""
    named = dict(model.named_parameters())
    pruned = plan.pruned_groups(model, task) if plan.prune is not None else None

    def target(groups: Groups, schedule: Schedule | None, score: Score, options: Mapping[str, Option]) -> Target:
        rate, calibrate = plan.optimisation.rate, second_moments(model, task, groups.keys)
        weights = {key: named[key] for key in groups.keys}
        return Target(model, weights, groups, plan.phases, schedule, rate, seed, score, options, calibrate)

    reg = pruner = None
    if plan.reg is not None:
        how = plan.reg
        groups = groups_of(model, task, plan.matrices, how.tile)
        reg = catalogue.load("regularizer", how.kind)(target(groups, None, "l2", how.options))
    if plan.prune is not None and pruned is not None:
        what = plan.prune
        schedule = Schedule(what.schedule, what.sparsity, plan.phases.reg_end, plan.phases.prune_end)
        made = catalogue.load("pruner", what.kind)(target(pruned, schedule, what.score, what.options))
        assert isinstance(made, Pruner), "a pruner of the catalogue is a Pruner"
        pruner = made
    return reg, pruner


class ArmRun:
    """An arm while it trains: its methods, its curves and its checkpoint; parameters as of `train_arm`.

    `start`, then steps of `fit`, each told to `hear`, then `result`.
    """

    def __init__(self, model: nn.Module, task: Task, plan: ArmPlan, seed: int, checkpoint_dir: Path | None) -> None:
        self.model, self.task, self.plan = model, task, plan
        self.path = checkpoint_dir / "arm.resume" if checkpoint_dir is not None else None
        self.facts: dict[str, Any] = {}
        if plan.prune is not None and plan.prune.permute:  # the same order when the run is resumed
            groups = plan.pruned_groups(model, task)
            self.facts["permute"] = reorder_units_(model, task, groups, plan.prune.tile, plan.prune.sparsity)
        self.recovery = Recovery(plan.recover, plan.distil, model, task, plan.phases, seed)
        self.reg, self.pruner = build_methods(model, task, plan, seed)
        self.methods: dict[str, Method] = {
            name: method for name, method in (("reg", self.reg), ("prune", self.pruner)) if method is not None
        }
        self.fit = Fit(model, plan.optimisation, self.loss, self.after_step)
        self.curves, self.milestones = Curves(), dict[str, float]()
        self.lambda_: float | None = None
        looked_at = dict(task.matrices[name] for name in plan.matrices)
        self.snapshots = Snapshots(model, looked_at, moments(plan.phases))

    def loss(self, step: int) -> tuple[Tensor, Tensor]:
        total, bits = self.recovery.loss(self.model, self.task.batches(step))
        for penalty in self.penalties(step):
            total = total + penalty
        return total, bits

    def penalties(self, step: int) -> Iterator[Tensor]:
        """Terms that the methods add to the loss of a step."""
        for method in self.methods.values():
            penalty = method.penalty(step)
            if penalty is not None:
                yield penalty

    def after_step(self, step: int, rate: float) -> None:
        if self.reg is not None:
            self.reg.after_step(step, rate)
            if step + 1 == self.plan.reg_steps:  # the pruner's turn may be its first
                self.milestones["penalised"] = self.measure()
        if self.pruner is not None:
            self.pruner.after_step(step, rate)

    @property
    def over(self) -> bool:
        """Whether all steps are done."""
        return self.fit.step >= self.plan.optimisation.steps

    @property
    def fresh(self) -> bool:
        """Whether there is no checkpoint to take up."""
        return self.path is None or not self.path.is_file()

    def start(self) -> None:
        """Begin, or take up the checkpoint."""
        if self.path is None or self.fresh:
            self.begin()
        else:
            self.restore(self.path)

    def begin(self) -> None:
        self.snapshots.at(0)
        self.milestones["start"] = self.validate(0)
        for method in self.methods.values():
            method.begin()
        if self.plan.phases.prune_end == 0:  # pruned at once, before the first step, or never
            if self.pruner is not None:
                self.milestones["pruned"] = self.measure()
            self.restart()

    def restart(self) -> None:
        """Put weights back, where the plan says so; the masks are final."""
        if self.plan.recover == "finetune":
            return
        self.recovery.restart(self.model)
        if self.pruner is not None:
            self.pruner.apply_()
        self.fit.forget()
        self.milestones["restarted"] = self.measure()

    def validate(self, step: int) -> float:
        if not self.curves.valid_step or self.curves.valid_step[-1] != step:
            outcome = self.measure()
            self.curves.valid_step.append(step)
            self.curves.valid_loss.append(outcome)
        return self.curves.valid_loss[-1]

    def measure(self) -> float:
        """Validate in evaluation mode, in which gates and the like are not random."""
        self.model.eval()
        try:
            with exact():
                return self.task.validate(self.model)
        finally:
            self.model.train()

    def hear(self, step: int, bits: float) -> None:
        """Keep the curves of a step that was done (counted from 1)."""
        plan = self.plan
        lam = self.reg.lam if self.reg is not None else self.pruner.lam if self.pruner is not None else 0.0
        if self.reg is not None and step <= plan.reg_steps:
            self.lambda_ = lam
        self.curves.step.append(step)
        self.curves.train_loss.append(bits)
        self.curves.sparsity.append(self.sparsity())
        self.curves.lam.append(lam)
        self.snapshots.at(step)
        if plan.prune is not None and step == plan.phases.prune_end:
            self.milestones["pruned"] = self.validate(step)
        if step == plan.phases.prune_end:
            self.restart()  # before the checkpoint of this step, so that a resumed run does not restart again
        if self.validates_at(step):
            self.validate(step)
        if step % plan.checkpoint_every == 0:
            self.save()

    def validates_at(self, step: int) -> bool:
        """Whether a point of the validation curve belongs to a step."""
        return step % self.plan.validate_every == 0 or step == self.plan.optimisation.steps

    def sparsity(self) -> float:
        """Pruned share of the plan's matrices: what units lose elsewhere is not counted."""
        masks = self.pruner.masks if self.pruner is not None else {}
        keys = [self.task.matrices[name][0] for name in self.plan.matrices]
        return achieved_sparsity({key: masks[key] for key in keys if key in masks})

    def save(self) -> None:
        if self.path is None:
            return
        extra: dict[str, Any] = {
            "curves": vars(self.curves),
            "milestones": self.milestones,
            "lambda": self.lambda_,
            "methods": {name: method.state() for name, method in self.methods.items()},
            "snapshots": self.snapshots.state(),
        }
        tensors = {f"snapshots/{key}": value for key, value in self.snapshots.kept.items()}
        for name, method in self.methods.items():
            tensors |= {f"{name}/{key}": value for key, value in method.tensors().items()}
        self.fit.save(self.path, extra, tensors)

    def restore(self, path: Path) -> None:
        done = Fit.steps_done(path)
        for method in self.methods.values():
            method.resume(done)
        extra, tensors = self.fit.restore(path)
        self.curves, self.milestones = Curves(**extra["curves"]), extra["milestones"]
        self.lambda_ = extra["lambda"]

        def of(name: str) -> dict[str, Tensor]:
            return {key.partition("/")[2]: value for key, value in tensors.items() if key.startswith(f"{name}/")}

        self.snapshots.restore(extra["snapshots"], of("snapshots"))
        for name, method in self.methods.items():
            method.restore(extra["methods"][name], of(name))

    def result(self) -> ArmResult:
        """Return the trained arm."""
        self.milestones["recovered"] = self.validate(self.plan.optimisation.steps)
        masks = self.pruner.masks if self.pruner is not None else {}
        tiles = dict.fromkeys(masks, self.plan.prune.tile.name) if self.plan.prune is not None else {}
        facts = self.facts | {name: found for name, method in self.methods.items() if (found := method.facts())}
        return ArmResult(self.model, masks, tiles, self.curves, self.lambda_, self.milestones, facts, self.snapshots)


def train_arm(
    model: nn.Module,
    task: Task,
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
    task
        Batches, loss and validation (curves only; nothing is chosen here).
    plan
        The arm.
    seed
        Decides random masks and other draws of methods; the batches are the task's.
    checkpoint_dir
        Holds `arm.resume` while the arm is unfinished; None keeps no checkpoint.
    on_step
        Called after each step with (steps done, bits); what it raises ends the run after a checkpoint.

    Returns
    -------
    ArmResult
    """
    run = ArmRun(model, task, plan, seed, checkpoint_dir)
    run.start()

    def hear(step: int, bits: float) -> None:
        run.hear(step, bits)
        try:
            if on_step is not None:
                on_step(step, bits)
            interruption()
        except BaseException:
            run.save()
            raise

    with between_steps() as interruption:
        run.fit.run(plan.optimisation.steps, hear)
    return run.result()
