"""Many arms trained at once, each to the result that it would have alone.

What costs time, forward and backward, runs for a whole group of arms as one program (`bench.learn.program`). Everything
that makes an arm what it is stays its own `ArmRun`: schedule, learning rate, lambda, tiles, seed, curves, checkpoint.
An arm whose network is not that of its neighbours (learned gates, skip gates, a teacher, another task) makes a group of
one, which does exactly what `train_arm` does; on a CPU, which one arm keeps busy, so does every arm.
"""

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from bench.errors import LanewiseError
from bench.learn.arm import ArmPlan, ArmResult, ArmRun
from bench.learn.fit import device_of
from bench.learn.interrupt import between_steps
from bench.learn.program import Program
from bench.learn.task import Task


@dataclass(frozen=True)
class Start:
    """An arm to be trained; attributes as the parameters of `bench.learn.arm.train_arm`."""

    model: nn.Module
    task: Task
    plan: ArmPlan
    seed: int
    checkpoint_dir: Path | None = None


Outcome = ArmResult | Exception
"""What became of an arm."""


def train_arms(
    arms: Sequence[Start],
    width: int | None = None,
    on_step: Callable[[int, int, float], object] | None = None,
    on_end: Callable[[int, Outcome], object] | None = None,
) -> list[Outcome]:
    """Train arms from dense models (changed in place), taking up their checkpoints where there are any.

    Parameters
    ----------
    arms
        On one device.
    width
        The most arms in one program; by default all on a GPU, one on a CPU.
    on_step
        Called after each step of an arm with (arm, steps done, bits); what it raises ends the run after a checkpoint of
        every arm.
    on_end
        Called with each arm and what became of it, as soon as that is known.

    Returns
    -------
    list
        Per arm its result, or the error that ended it: the others go on without it.

    Raises
    ------
    torch.OutOfMemoryError, torch.AcceleratorError
        The GPU has no room, or fails: that ends all arms, which go on from their last checkpoints when called again.
    """
    stack = Stack(arms, width, on_end)
    with between_steps() as interruption:

        def hear(arm: int, step: int, bits: float) -> None:
            try:
                if on_step is not None:
                    on_step(arm, step, bits)
                interruption()
            except BaseException:
                stack.save()
                raise

        while stack.left:
            stack.step(hear)
    return stack.outcomes()


class _Member:
    """An arm of a group, and what became of it once that is known."""

    def __init__(self, number: int, arm: Start) -> None:
        self.number, self.bits = number, math.nan
        self.outcome: Outcome | None = None
        self.told: float | None = None
        """Its next validation outcome, where that was measured together with the others'."""
        self._validate = arm.task.validate
        task = replace(arm.task, validate=self.validate)
        self.run = ArmRun(arm.model, task, arm.plan, arm.seed, arm.checkpoint_dir)

    def validate(self, model: nn.Module) -> float:
        told, self.told = self.told, None  # once: the next time its weights may be others
        return self._validate(model) if told is None else told

    @contextmanager
    def trouble(self) -> Iterator[None]:
        """Let an error in here end this arm and no other; one of the GPU is of all."""
        try:
            yield
        except (torch.OutOfMemoryError, torch.AcceleratorError):
            raise
        except Exception as error:
            self.outcome = error

    def key(self) -> Hashable | None:
        """Return what the arms of one program have in common; None for one that must be alone."""
        run = self.run
        if run.task.stacked is None or run.plan.distil > 0 or any(is_parametrized(m) for m in run.model.modules()):
            return None
        return run.task.stacked.key(run.model)


class Stack:
    """Arms while they train; parameters as of `train_arms`."""

    def __init__(
        self, arms: Sequence[Start], width: int | None = None, on_end: Callable[[int, Outcome], object] | None = None
    ) -> None:
        self._on_end = on_end
        self._outcomes: dict[int, Outcome] = {}
        self._members: list[_Member] = []
        for number, arm in enumerate(arms):
            try:
                self._members.append(_Member(number, arm))
            except LanewiseError as error:  # of a plan that fits no arm
                self._tell(number, error)
        if width is None:
            width = 1 if not arms or device_of(arms[0].model).type == "cpu" else len(arms)
        self._groups = [_Group(members) for members in _grouped(self._members, width)]
        self._batches = _Batches()

    @property
    def left(self) -> bool:
        """Whether an arm has steps to do."""
        return any(member.outcome is None for member in self._members)

    @property
    def programs(self) -> list[int]:
        """Arms of each program, alone ones included."""
        return [len(group.members) for group in self._groups]

    def step(self, hear: Callable[[int, int, float], object]) -> None:
        """Do one step of every arm that is not over; `hear(arm, steps done, bits)` hears each.

        An arm begins, or takes up its checkpoint, before its first step here: so that of many arms on a slow host those
        that have begun are kept when it is interrupted.
        """
        self._batches.forget()
        for group in self._groups:
            stepped, ended = group.step(self._batches)
            for member in ended:
                self._tell(member.number, member.outcome)
            for member in stepped:
                hear(member.number, member.run.fit.step, member.bits)

    def save(self) -> None:
        """Write the checkpoints of all arms that are under way."""
        for member in self._members:
            if member.run.fit.step > 0 and member.outcome is None:
                member.run.save()

    def outcomes(self) -> list[Outcome]:
        """Return what became of each arm, once none is left."""
        return [self._outcomes[number] for number in sorted(self._outcomes)]

    def _tell(self, number: int, outcome: Outcome | None) -> None:
        assert outcome is not None, "the arm is over"
        self._outcomes[number] = outcome
        if self._on_end is not None:
            self._on_end(number, outcome)


class _Batches:
    """Batches of a step, made once for all arms that share them."""

    def __init__(self) -> None:
        self._made: dict[tuple[Any, int], tuple[Tensor, ...]] = {}

    def of(self, run: ArmRun) -> tuple[Tensor, ...]:
        """Return the batch of an arm's next step on its device."""
        key = (run.task.batches, run.fit.step)
        if key not in self._made:
            assert run.task.stacked is not None, "the task has a stacked form"
            device = device_of(run.model)
            self._made[key] = tuple(x.to(device) for x in run.task.stacked.tensors(run.task.batches(run.fit.step)))
        return self._made[key]

    def forget(self) -> None:
        """Drop them: a new step begins."""
        self._made.clear()


class _Group:
    """Arms that take their steps together, as one program if there are several."""

    def __init__(self, members: list[_Member]) -> None:
        self.members, self._started = members, False
        form = members[0].run.task.stacked
        self._program: Program | None = None
        if len(members) > 1:
            assert form is not None, "arms without a stacked form are alone"
            self._program = Program([member.run.model for member in members], form)

    def step(self, batches: _Batches) -> tuple[list[_Member], list[_Member]]:
        """Do a step of each open arm; return those that did it, and those that ended with it or without it."""
        before = _well(self.members)
        if not self._started:
            self._start()
        going = [member for member in _well(before) if not member.run.over]  # one that is taken up may be
        self._gradients(going, batches)
        for member in _well(going):
            with member.trouble():
                member.run.fit.update(member.bits)
        stepped = _well(going)
        self._foretell([member for member in stepped if member.run.validates_at(member.run.fit.step)])
        for member in stepped:
            with member.trouble():
                member.run.hear(member.run.fit.step, member.bits)
            member.told = None
        self._finish(before)
        return stepped, [member for member in before if member.outcome is not None]

    def _start(self) -> None:
        self._started = True
        self._foretell([member for member in self.members if member.run.fresh])
        for member in self.members:
            with member.trouble():
                member.run.start()
            member.told = None

    def _gradients(self, going: list[_Member], batches: _Batches) -> None:
        if self._program is None:
            for member in going:
                with member.trouble():
                    member.bits = member.run.fit.gradients()
        elif going:
            for member in going:
                self._program.feed(self.members.index(member), batches.of(member.run))
            losses = self._program.run()
            for member in going:
                member.bits = losses[self.members.index(member)]
                with member.trouble():
                    for penalty in member.run.penalties(member.run.fit.step):
                        penalty.backward()  # type: ignore[no-untyped-call]

    def _foretell(self, due: list[_Member]) -> None:
        """Validate all arms at once, where one by one would take as long for each."""
        if self._program is not None and due:
            outcomes = self._program.validate()
            for member in due:
                member.told = outcomes[self.members.index(member)]

    def _finish(self, going: list[_Member]) -> None:
        """Close the arms that are over, and those that failed."""
        for member in going:
            if member.outcome is None and member.run.over:
                with member.trouble():
                    member.outcome = member.run.result()
            if member.outcome is not None and self._program is not None:
                self._program.release(self.members.index(member))


def _well(members: Sequence[_Member]) -> list[_Member]:
    """Return the arms whose outcome is open."""
    return [member for member in members if member.outcome is None]


def _grouped(members: Sequence[_Member], width: int) -> list[list[_Member]]:
    """Put arms into groups of at most `width` that can be one program."""
    alike: dict[Hashable, list[_Member]] = {}
    for member in members:
        key = member.key()
        alike.setdefault(("alone", member.number) if key is None else key, []).append(member)
    return [same[at : at + width] for same in alike.values() for at in range(0, len(same), width)]
