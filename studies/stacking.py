"""Which arms of a study are trained at once, and training them before its trials run (`sweep run --stack`)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.config.schema import TrialConfig
from bench.progress import say
from bench.trial.stacking import label, shape, why_alone
from studies.folder import StudyFolder
from studies.plan import Planned
from studies.states import ENDED

if TYPE_CHECKING:
    from studies.rows import Row


@dataclass(frozen=True)
class Job:
    """An arm that a trial trains.

    Attributes
    ----------
    number
        The trial's; one that tunes has an arm for each value.
    name
        What the arm is called where several are named.
    config
        Its own, with nothing left to tune.
    """

    number: int
    name: str
    config: TrialConfig


@dataclass
class StackPlan:
    """Arms that are trained at once, and those that are not.

    Attributes
    ----------
    stacks
        Each of at least two arms of one shape.
    alone
        (trial number, arm, reason) of those that their own trial trains.
    """

    stacks: list[list[Job]] = field(default_factory=list)
    alone: list[tuple[int, str, str]] = field(default_factory=list)


def plan_stacks(trials: Sequence[Planned], known: "Sequence[Row]", width: int) -> StackPlan:
    """Group the arms that are left to train, `width` at most in a stack, in the order of their trials.

    Parameters
    ----------
    trials
        Of the study; what its sampler draws and what is skipped has no arm yet, or none.
    known
        What the study's database says of them.
    width
        The most arms in a stack.
    """
    from bench.trial.learning import tries

    plan, alike, seen = StackPlan(), dict[tuple[Any, ...], list[Job]](), set[str]()
    for number, planned in enumerate(trials):
        if number < len(known) and known[number].state in ENDED:
            continue
        if planned.config is None:
            if planned.skip is None:
                plan.alone.append((number, planned.arm or "(drawn by the sampler)", "its settings are not known yet"))
            continue
        if planned.config_hash in seen:
            continue
        seen.add(str(planned.config_hash))
        why = why_alone(planned.config)
        if why is not None:
            plan.alone.append((number, label(planned.config), why))
            continue
        key, grid = planned.config.tune.key, planned.config.tune.grid or ()
        values = [f", {key} {value:g}" for value in grid] or [""]
        for value, config in zip(values, tries(planned.config), strict=True):
            job = Job(number, f"{label(planned.config)}{value}", config)
            alike.setdefault(tuple(shape(config).items()), []).append(job)
    for jobs in alike.values():
        for first in range(0, len(jobs), width):
            stack = jobs[first : first + width]
            if len(stack) > 1:
                plan.stacks.append(stack)
            else:
                plan.alone.append((stack[0].number, stack[0].name, "no other arm of its shape and budget"))
    return plan


def stack_lines(plan: StackPlan) -> list[str]:
    """Return the plan for people."""
    lines = []
    for number, jobs in enumerate(plan.stacks, 1):
        config = jobs[0].config
        what = f"GRU {config.model.hidden}, {config.train.steps} steps of {config.train.batch} x {config.train.segment}"
        how = "at once" if config.train.device == "cuda" else "in turn at every step"
        arms = "; ".join(job.name for job in jobs)
        lines.append(f"stack {number}: {len(jobs)} arms {how} ({what}, {config.train.device}): {arms}")
    return [*lines, *(f"not stacked: trial {number}, {arm}: {why}" for number, arm, why in sorted(plan.alone))]


def train_stacks(trials: Sequence[Planned], known: "Sequence[Row]", folder: StudyFolder, width: int) -> None:
    """Train the arms that can be stacked into the study's cache, where their trials find them.

    Raises
    ------
    KeyboardInterrupt
        After a checkpoint of every arm.
    """
    from bench.trial.cache import StageCache, shared_folder
    from bench.trial.context import Trial
    from bench.trial.stacking import train_stack

    plan = plan_stacks(trials, known, width)
    for line in stack_lines(plan):
        say(line)
    for jobs in plan.stacks:
        train_stack(
            [
                Trial(
                    job.config, folder.trial(job.number), StageCache(shared_folder(job.config.data.cache, folder.cache))
                )
                for job in jobs
            ]
        )
