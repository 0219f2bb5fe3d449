"""The int8 version of an f32 arm, beside it: what it saves in time and bytes, and what it costs in likelihood."""

from typing import TYPE_CHECKING

import numpy as np

from bench.config.schema import Pack
from bench.errors import LanewiseError
from bench.trial import judging, packing, timing
from bench.trial.context import Trial
from bench.trial.record import Record
from bench.trial.timing import Stage

if TYPE_CHECKING:
    from bench.trial.learning import Arm

MODEL = "model-int8.lwm"
METRICS = ("speed.rtf_int8", "size.bytes_int8", "quality.nll_bits_int8")


def beside(trial: Trial, arm: "Arm", stage: Stage, record: Record) -> None:
    """Pack, score and time the arm in int8; where that cannot be, its metrics are missing with the reason."""
    why = _why_not(trial, arm)
    if why:
        record.reasons |= dict.fromkeys(METRICS, why)
        return
    settings = Pack(format="int8")
    packed = stage("int8", lambda: packing.pack(trial, arm, MODEL, settings))
    record.artifacts["model_int8"] = MODEL
    nlls = stage(
        "int8-nll",
        lambda: judging.nlls(trial, arm.as_packed().model, trial.folder / MODEL, trial.test_ids),
        test=trial.test_ids,
        isa=trial.isa,
    )
    record.metrics["size.bytes_int8"] = packed["bytes"]
    record.metrics["quality.nll_bits_int8"] = float(np.mean(list(nlls.values())))
    if not trial.config.measure.speed:
        record.reasons["speed.rtf_int8"] = "measure.speed is false"
        return
    try:
        timed = timing.timed_stage(trial, arm, stage, "int8-speed", MODEL)
    except LanewiseError as error:
        record.reasons["speed.rtf_int8"] = str(error)
    else:
        record.metrics["speed.rtf_int8"] = timed["metrics"]["rtf"]
        record.tags["lanewise.timing_verdict_int8"] = timed["timing"]["verdict"]


def _why_not(trial: Trial, arm: "Arm") -> str | None:
    from bench.engine import table
    from bench.engine.recipe import recipe

    if trial.config.pack.format != "f32":
        return f"the arm itself is packed as {trial.config.pack.format}"
    if trial.config.pack.delta:
        return "a delta network runs in f32 only"
    tiles = arm.as_packed().tiles
    for key, number in recipe("int8", tiles).matrices.items():
        tile = tiles.get(key, "dense")
        if not table.can_run(tile, number, trial.isa):
            return f"the engine has no {number} kernel for {tile} on {trial.isa} ({key})"
    return None
