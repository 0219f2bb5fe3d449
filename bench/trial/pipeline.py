"""The stages of a trial in order, each putting what it found into the record as soon as it is there."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bench.config.schema import TrialConfig
from bench.digest import file_sha256
from bench.errors import LanewiseError
from bench.measure.sound.registry import packages
from bench.trial import enhancing, int8, judging, learning, packing, pictures, timing
from bench.trial.context import Trial
from bench.trial.provenance import provenance
from bench.trial.record import Record, aggregate

if TYPE_CHECKING:
    from bench.trial.learning import Arm

VERSIONS = {
    "pack": 2, "nll": 2, "scores": 2, "speed": 2, "int8": 1, "int8-nll": 1, "int8-speed": 1, "pictures": 2,
    "delta": 1, "valid-nll": 1, "enhancer-pack": 2, "enhancer-scores": 1, "weight": 2, "vela": 1,
    "enhancer-pictures": 2,
}  # fmt: skip
"""Of the code of each stage: raise one when its results change, so that results of the older code are not reused."""


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
        keyed = {"arm": arm.key, "pack": trial.config.pack.model_dump(), "version": VERSIONS[name], **inputs}
        return trial.stages.run(name, keyed, work, again)

    record.metrics["valid.loss"] = arm.milestones["recovered"]
    (_enhancer if trial.config.task == "enhancer" else _vocoder)(trial, arm, stage, record)


def _enhancer(trial: Trial, arm: "Arm", stage: timing.Stage, record: Record) -> None:
    from bench.measure import accelerator, vela

    packed = stage("enhancer-pack", lambda: enhancing.pack(trial, arm))
    _packed(packed, record)
    if packed["as_dense"]:
        record.facts["as_dense"] = packed["as_dense"]
    measure = trial.config.measure
    rows = stage(
        "enhancer-scores",
        lambda: enhancing.score(trial, arm),
        test=[pair.id for pair in enhancing.test_pairs(trial)],
        isa=trial.isa,
        metrics=measure.metrics,
        packages=packages(measure.metrics),
        audio_clips=measure.audio_clips,
    )
    _scored(rows, record, trial.config)
    devices = file_sha256(accelerator.SHIPPED)  # which its users edit
    record.metrics |= stage("weight", lambda: enhancing.weigh(trial, arm), accelerators=devices)
    if trial.config.quant.kind == "none":
        record.reasons |= dict.fromkeys(("size.compression", *enhancing.VELA), "the arm computes in float32")
    else:
        try:
            record.metrics |= stage("vela", lambda: enhancing.compiled(arm), compiler=vela.version())
        except LanewiseError as error:  # an extra that is not installed, say
            record.reasons |= dict.fromkeys(enhancing.VELA, str(error))
    if enhancing.in_engine(trial):
        timing.time_model(trial, arm, stage, record)
    else:
        timing.leave_out(
            record, trial.config.task, "the engine's int8 has a scale for each row and dynamic activations"
        )
    drawn = stage("enhancer-pictures", lambda: enhancing.draw(trial, arm, rows), kept=[row["audio"] for row in rows])
    record.artifacts |= drawn


def _vocoder(trial: Trial, arm: "Arm", stage: timing.Stage, record: Record) -> None:
    _packed(stage("pack", lambda: packing.pack(trial, arm, packing.MODEL, trial.config.pack)), record)
    measure = trial.config.measure
    nlls = stage(
        "nll",
        lambda: judging.nlls(trial, arm.as_packed().model, trial.folder / packing.MODEL, trial.test_ids),
        test=trial.test_ids,
        isa=trial.isa,
    )
    if trial.config.pack.delta:  # which the trained model knows nothing of
        record.metrics["valid.loss"] = stage(
            "valid-nll", lambda: judging.valid_nll(trial, arm.as_packed().model), valid=trial.valid_ids, isa=trial.isa
        )
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
    _scored(rows, record, trial.config)
    if trial.config.pack.delta:
        heard: dict[str, Any] = {"test": trial.test_ids, "isa": trial.isa, "seed": trial.config.seed.recover}
        share = stage("delta", lambda: judging.skipped(trial), **heard, temperature=measure.temperature)
        record.facts["delta"] = {"threshold": trial.config.pack.delta, "skipped": share}
    timing.time_model(trial, arm, stage, record)
    int8.beside(trial, arm, stage, record)
    drawn = stage("pictures", lambda: pictures.draw(trial, arm, rows), kept=[row["audio"] for row in rows])
    record.artifacts |= drawn


def _learnt(arm: "Arm", record: Record) -> None:
    record.curves = arm.curves
    record.metrics["train.lambda"] = arm.lambda_
    if arm.lambda_ is None:
        record.reasons["train.lambda"] = "no regularizer"
    for phase in ("start", "penalised", "pruned", "restarted"):
        record.metrics[f"valid.loss.{phase}"] = arm.milestones.get(phase)
        if phase not in arm.milestones:
            restarts = phase == "restarted"
            why = "recover.kind is finetune: no weights are put back" if restarts else "the arm has no such phase"
            record.reasons[f"valid.loss.{phase}"] = why
    if arm.tuned is not None:
        tried = ", ".join(f"{value:g}: {bits:.4f}" for value, (bits, _) in arm.grid.items())
        record.tags["lanewise.tuned"] = f"{arm.tuned} (valid.loss) {tried}"
        record.facts["tune"] = {
            "key": arm.tuned,
            "values": list(arm.grid),
            "valid": [bits for bits, _ in arm.grid.values()],
            "curves": [curve for _, curve in arm.grid.values()],
        }
        record.metrics["train.tuned"] = min(arm.grid, key=lambda value: arm.grid[value][0])
    else:
        record.reasons["train.tuned"] = "nothing was tuned"
    if arm.facts:
        record.facts["methods"] = arm.facts
    record.facts["snapshots"] = arm.snapshots


def _packed(packed: dict[str, Any], record: Record) -> None:
    record.artifacts["model"] = packing.MODEL
    record.tags["lanewise.model_sha256"] = packed["sha256"]
    record.metrics |= {
        "size.bytes": packed["bytes"],
        "size.nonzeros": packed["nonzeros"],
        "sparsity.achieved": packed["sparsity"],
    }


def _scored(rows: list[dict[str, Any]], record: Record, config: TrialConfig) -> None:
    record.utterances = rows
    metrics, reasons = aggregate(rows, config.seed.recover, config.task)
    record.metrics |= metrics
    record.reasons |= reasons
    record.artifacts["audio"] = [row["audio"] for row in rows if row["audio"]]
