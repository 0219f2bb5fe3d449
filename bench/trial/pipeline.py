"""The stages of a trial in order, each putting what it found into the record as soon as it is there."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bench import host
from bench.errors import LanewiseError
from bench.measure.sound.registry import packages
from bench.progress import say
from bench.trial import judging, learning, packing, pictures
from bench.trial.context import Trial
from bench.trial.provenance import provenance
from bench.trial.record import Record, aggregate

if TYPE_CHECKING:
    from bench.trial.learning import Arm

VERSIONS = {"pack": 1, "nll": 1, "scores": 1, "speed": 1, "pictures": 1}
"""Of the code of each stage: raise one when its results change, so that results of the older code are not reused."""

UNSTABLE = "unstable"
"""Timing verdict (see `bench.measure.speed.rtf`) of samples that no steady clock confirmed."""

SPEED_METRICS = ("rtf", "rtf_dense", "kernel_us", "vs_dense", "vs_limit")


def run_stages(trial: Trial, record: Record) -> None:
    """Run every stage that has no result in the trial's folder yet.

    Raises
    ------
    Exception
        Whatever a stage raises; the record then holds what the stages before it found.
    """
    record.tags |= provenance(trial.config)
    record.tags["lanewise.isa"] = trial.isa
    started = time.monotonic()
    arm = learning.trained_arm(trial)
    elapsed = round(time.monotonic() - started, 3)
    # Kept, so that a trial that is resumed, and finds its arm in the cache, still says what the arm took.
    trial.stages.seconds["arm"] = trial.stages.run("arm", {"arm": arm.key}, lambda: elapsed)
    _learnt(arm, record)

    def stage(name: str, work: Callable[[], Any], again: Callable[[Any], Any] | None = None, **inputs: Any) -> Any:
        return trial.stages.run(name, {"arm": arm.key, "version": VERSIONS[name], **inputs}, work, again)

    _packed(stage("pack", lambda: packing.pack(trial, arm)), record)
    measure = trial.config.measure
    nlls = stage("nll", lambda: judging.nlls(trial, arm.model()), test=trial.test_ids)
    record.metrics["valid.nll_bits"] = arm.milestones["recovered"]
    rows = stage(
        "scores",
        lambda: judging.score(trial, judging.synthesise(trial), nlls),
        test=trial.test_ids,
        isa=trial.isa,
        seed=trial.config.seed.recover,
        metrics=measure.metrics,
        packages=packages(measure.metrics),
        **measure.model_dump(include={"temperature", "audio_clips"}),
    )
    _scored(rows, record, trial.config.seed.recover)
    _timed(trial, stage, record)
    drawn = stage("pictures", lambda: pictures.draw(trial, arm, rows), kept=[row["audio"] for row in rows])
    record.artifacts |= drawn


def _learnt(arm: "Arm", record: Record) -> None:
    record.curves = arm.curves
    record.metrics["train.lambda"] = arm.lambda_
    if arm.lambda_ is None:
        record.reasons["train.lambda"] = "no regularizer"
    for phase in ("start", "penalised", "pruned"):
        record.metrics[f"valid.nll_bits.{phase}"] = arm.milestones.get(phase)
        if phase not in arm.milestones:
            record.reasons[f"valid.nll_bits.{phase}"] = "the arm has no such phase"
    if arm.grid:
        record.tags["lanewise.lambda_grid"] = ", ".join(f"{lam:g}: {bits:.4f}" for lam, bits in arm.grid.items())


def _packed(packed: dict[str, Any], record: Record) -> None:
    record.artifacts["model"] = packing.MODEL
    record.tags["lanewise.model_sha256"] = packed["sha256"]
    record.metrics |= {
        "size.bytes": packed["bytes"],
        "size.nonzeros": packed["nonzeros"],
        "sparsity.achieved": packed["sparsity"],
    }


def _scored(rows: list[dict[str, Any]], record: Record, seed: int) -> None:
    record.utterances = rows
    metrics, reasons = aggregate(rows, seed)
    record.metrics |= metrics
    record.reasons |= reasons
    record.artifacts["audio"] = [row["audio"] for row in rows if row["audio"]]


def _timed(trial: Trial, stage: Callable[..., Any], record: Record) -> None:
    """Time the packed model, or say why there is no time: a host that cannot be timed does not spoil the trial."""

    def measured() -> dict[str, Any]:
        from bench.measure.speed.rtf import measure_rtf

        result = measure_rtf(trial.folder / packing.MODEL, isa=trial.isa)
        return {"metrics": {name: getattr(result, name) for name in SPEED_METRICS}, "timing": result.timing()}

    def again(kept: dict[str, Any]) -> dict[str, Any]:
        """Return an unstable timing or, if it is more to be trusted, a new one."""
        if kept["timing"]["verdict"] != UNSTABLE:
            return kept
        say("the timing that was kept is unstable; measuring again")
        try:
            return max(kept, measured(), key=_trust)
        except LanewiseError:  # a host that cannot be timed now leaves what there was
            return kept

    why = "measure.speed is false"
    if trial.config.measure.speed:
        try:
            timed = stage("speed", measured, again, isa=trial.isa, cpu=host.cpu_name())
        except LanewiseError as error:
            why = str(error)
        else:
            record.metrics |= {f"speed.{name}": value for name, value in timed["metrics"].items()}
            record.timing = timed["timing"]
            record.tags["lanewise.timing_verdict"] = timed["timing"]["verdict"]
            return
    record.reasons |= {f"speed.{name}": why for name in SPEED_METRICS}
    record.tags["lanewise.timing_verdict"] = f"not timed: {why}"


def _trust(timed: dict[str, Any]) -> tuple[bool, int]:
    """Rank a timing: by its verdict, then by the accepted samples that its RTF and speed-up rest on."""
    samples = timed["timing"]["samples_us"]
    return timed["timing"]["verdict"] != UNSTABLE, min(len(samples["model"]), len(samples["dense"]))
