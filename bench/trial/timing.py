"""How fast a trial's packed model is, and why there is no figure where there is none."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bench import host
from bench.errors import LanewiseError
from bench.progress import say
from bench.trial import packing
from bench.trial.context import Trial
from bench.trial.record import Record

if TYPE_CHECKING:
    from bench.trial.learning import Arm

UNSTABLE = "unstable"
"""Timing verdict (see `bench.measure.speed.rtf`) of samples that no steady clock confirmed."""

LATER = "trained; its timing is left to a quiet host"
"""Why a trial that is trained here and timed there is not done yet."""

METRICS = {
    "vocoder": ("rtf", "rtf_dense", "kernel_us", "vs_dense", "vs_limit"),
    "enhancer": ("rtf", "rtf_dense", "frame_us", "vs_dense"),
}

Stage = Callable[..., Any]


def time_model(trial: Trial, arm: "Arm", stage: Stage, record: Record) -> None:
    """Time the packed model, or say why there is no time: a host that cannot be timed does not spoil the trial."""
    why = "measure.speed is false"
    if trial.config.measure.speed:
        try:
            timed = timed_stage(trial, arm, stage, "speed", packing.MODEL)
        except LanewiseError as error:
            why = str(error)
        else:
            record.metrics |= {f"speed.{name}": value for name, value in timed["metrics"].items()}
            record.timing = timed["timing"]
            record.tags["lanewise.timing_verdict"] = timed["timing"]["verdict"]
            return
    leave_out(record, trial.config.task, why)


def leave_out(record: Record, task: str, why: str) -> None:
    """Say why there is no timing."""
    record.reasons |= {f"speed.{name}": why for name in METRICS[task]}
    record.tags["lanewise.timing_verdict"] = f"not timed: {why}"


def timed_stage(trial: Trial, arm: "Arm", stage: Stage, name: str, model: str) -> dict[str, Any]:
    """Return `metrics` and `timing` of a packed model in the trial's folder; an unstable kept timing is tried again.

    Raises
    ------
    LanewiseError
        This host cannot be timed, or is not to be: then `trial.untimed` is set.
    """

    def measured() -> dict[str, Any]:
        if not trial.timing:
            trial.untimed = True
            raise LanewiseError(LATER)
        from bench.measure.speed.gate import GateRules

        rules, path = GateRules(patience_s=trial.config.measure.patience_s), trial.folder / model
        # Units that were pruned count: the dense version of an arm is the model that it was pruned from.
        result: Any
        if trial.config.task == "enhancer":
            from bench.measure.speed.enhancer import measure_enhancer
            from bench.trial.enhancing import whole_arch

            whole = whole_arch(trial, arm)
            result = measure_enhancer(path, isa=trial.isa, rules=rules, hidden=whole.hidden, fc=whole.fc)
        else:
            from bench.measure.speed.rtf import measure_rtf

            result = measure_rtf(path, isa=trial.isa, rules=rules, hidden=arm.arch["hidden"])
        found = {key: getattr(result, key) for key in METRICS[trial.config.task]}
        return {"metrics": found, "timing": result.timing()}

    def again(kept: dict[str, Any]) -> dict[str, Any]:
        """Return an unstable timing or, if it is more to be trusted, a new one."""
        if kept["timing"]["verdict"] != UNSTABLE:
            return kept
        say("the timing that was kept is unstable; measuring again")
        try:
            return max(kept, measured(), key=_trust)
        except LanewiseError:  # a host that cannot be timed now leaves what there was
            return kept

    found: dict[str, Any] = stage(name, measured, again, isa=trial.isa, cpu=host.cpu_name())
    return found


def _trust(timed: dict[str, Any]) -> tuple[bool, int]:
    """Rank a timing: by its verdict, then by the accepted samples that its RTF and speed-up rest on."""
    samples = timed["timing"]["samples_us"]
    return timed["timing"]["verdict"] != UNSTABLE, min(len(samples["model"]), len(samples["dense"]))
