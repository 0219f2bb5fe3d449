"""Arms of many trials trained at once into the cache of arms, where the trials then find them.

An entry is the one that its trial would have made alone, under the same key: a study goes on either way.
"""

import contextlib
import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.config.flat import arm_name
from bench.config.schema import TrialConfig
from bench.errors import LanewiseError
from bench.progress import Progress, say
from bench.sparsity import catalogue
from bench.trial import dense, learning
from bench.trial.cache import Entry
from bench.trial.context import Trial


def why_alone(config: TrialConfig) -> str | None:
    """Return why a trial's arm is trained by itself; None if it can be stacked with others."""
    if config.task != "vocoder":
        return "an enhancer's arms are trained one by one"
    if config.recover.distil > 0:
        return "recover.distil runs the dense model beside the arm"
    if config.reg.kind != "none" and catalogue.info("regularizer", config.reg.kind).gated:
        return f"reg.kind {config.reg.kind} hangs gates on the network"
    if config.prune.kind != "none" and catalogue.info("pruner", config.prune.kind).gated:
        return f"prune.kind {config.prune.kind} hangs gates on the network"
    return None


def shape(config: TrialConfig) -> dict[str, Any]:
    """Return what the arms of a stack have in common, by key: the network's sizes, the data and the step budget."""
    return {
        "data.corpus": config.data.corpus,
        "data.cache": config.data.cache,
        "measure.valid_clips": config.measure.valid_clips,
        **{f"model.{key}": value for key, value in config.model.model_dump().items()},
        **{f"train.{key}": getattr(config.train, key) for key in ("steps", "batch", "segment", "device")},
    }


def label(config: TrialConfig) -> str:
    """Return how an arm is called where several are named."""
    return f"{arm_name(config)} seed {config.seed.recover}"


@dataclass(frozen=True)
class _Job:
    """An arm to be trained, and its place in the cache."""

    trial: Trial
    entry: Entry


def train_stack(trials: Sequence[Trial]) -> None:
    """Train the arms of trials of one `shape` (with nothing left to tune) that nobody has trained, all at once.

    An arm that fails leaves the stack, and its trial will say why. What others have made, or are making, is left out.

    Raises
    ------
    LanewiseError
        The stack does not fit the GPU's memory, or the GPU failed.
    KeyboardInterrupt
        After a checkpoint of every arm; the same call, or the trials one by one, go on from there.
    """
    with contextlib.ExitStack() as held:
        jobs = []
        for trial in {learning.key(trial): trial for trial in trials}.values():
            entry = held.enter_context(trial.cache.claim(learning.STAGE, learning.inputs(trial)))
            if entry is not None:
                jobs.append(_Job(trial, entry))
        if jobs:
            _train(jobs)
            _give_memory_back(jobs[0].trial.config.train.device)


def _train(jobs: list[_Job]) -> None:
    import torch

    from bench.learn.arm import ArmResult
    from bench.learn.stack import Outcome, Start, train_arms
    from bench.measure.speed.lock import pause_while_timing
    from bench.trial.start import begin

    tasks: dict[tuple[Any, ...], Any] = {}  # arms of equal data share them, and with them every batch
    begun, starts = [], []
    for job in jobs:
        config, seed = job.trial.config, job.trial.config.seed.recover
        try:
            made = begin(job.trial)
        except LanewiseError as error:  # its dense model diverged, say
            _leaves(job, error)
            continue
        task = tasks.setdefault((dense.key(job.trial), seed), made.task)
        starts.append(Start(made.model, task, learning.arm_plan(config), seed, job.entry.work))
        begun.append((job, made))

    def on_end(number: int, outcome: Outcome) -> None:
        job, made = begun[number]
        if isinstance(outcome, ArmResult):
            job.entry.fill(lambda folder: learning.keep(job.trial.config, made, outcome, folder))
        else:
            _leaves(job, outcome)

    total = sum(_left(start) for start in starts)
    with Progress(f"stack of {len(starts)} arms, arm-steps", total) as progress:
        began = time.monotonic()

        def on_step(number: int, step: int, bits: float) -> None:
            pause_while_timing()
            progress.advance(1, f"{per_s():.3g} arm-steps/s, {bits:.3f} bit")

        def per_s() -> float:
            return progress.done / (time.monotonic() - began)

        try:
            for start, (job, _) in zip(starts, begun, strict=True):
                start.model.to(job.trial.config.train.device)
            train_arms(starts, on_step=on_step, on_end=on_end)
        except torch.OutOfMemoryError as error:
            raise LanewiseError(
                f"a stack of {len(starts)} arms does not fit the memory of the GPU; give a smaller --stack "
                f"(such as {max(len(starts) // 2, 1)})"
            ) from error
        except torch.AcceleratorError as error:
            raise LanewiseError(
                f"the GPU failed ({str(error).splitlines()[0]}); the same command goes on from the last checkpoints"
            ) from error
        say(f"stack of {len(starts)} arms: {progress.done} arm-steps, {per_s():.3g} arm-steps/s")


def _give_memory_back(device: str) -> None:
    """Leave none of a stack's GPU memory in torch's keeping: the next stack, or this host's other workers, need it."""
    import torch

    if device == "cuda":
        gc.collect()  # an arm, its task and its place in the stack refer to each other
        torch.cuda.empty_cache()


def _leaves(job: _Job, error: Exception) -> None:
    say(f"{label(job.trial.config)}: leaves the stack ({error}); its trial will say what comes of it")


def _left(start: Any) -> int:
    from bench.learn.fit import Fit

    kept = start.checkpoint_dir / "arm.resume"
    return int(start.plan.optimisation.steps) - (Fit.steps_done(kept) if kept.is_file() else 0)
