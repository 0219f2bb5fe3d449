"""Rehearsals: whole studies of light trials, for trying out a cluster and for breaking one on purpose.

With `LANEWISE_REHEARSAL=1` in the environment a study's trials train nothing: each takes a few "steps" with a
checkpoint after each, and its results, made up from its settings, are the same wherever and however often it is
interrupted. Everything else (database, workers, records, MLflow) is the real thing. A study is a rehearsal or it is
not: it remembers, and refuses to be mixed.

`progress.log` in a trial's folder has one line per step that was computed, so that repeated work shows. More from the
environment: `LANEWISE_REHEARSAL_STEP_S` slows the steps down, `LANEWISE_REHEARSAL_FAIL` names an arm that fails.
"""

import hashlib
import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import host
from bench.config.flat import config_hash, flatten
from bench.config.schema import TrialConfig
from bench.trial.context import OnStep, StopEarly
from bench.trial.files import atomic_path, read_json
from bench.trial.identity import adopt
from bench.trial.provenance import provenance
from bench.trial.record import Record, aggregate, empty_metrics, utterance_metrics
from bench.trial.timing import LATER

if TYPE_CHECKING:
    from bench.trial.behind import TrialMirror

STEPS = 5
TAG = "lanewise.rehearsal"
CLOCK_FILE = ".clock"
"""Seconds by which a rehearsal's clock is wrong, in the study's folder (see `studies.faults`)."""

_CLIPS = 4


def rehearsing() -> bool:
    """Say whether this process rehearses."""
    return os.environ.get("LANEWISE_REHEARSAL") == "1"


def light_trial(
    config: TrialConfig,
    folder: Path,
    *,
    study: str,
    number: int,
    cache: Path,
    tracking: "TrialMirror | None",
    on_step: OnStep | None = None,
    timing: bool = True,
) -> Record:
    """Run a light trial; see `studies.worker.Runner`."""
    name, params = f"t{number:04d}-{config.arm}", flatten(config)
    tags = {TAG: "yes", "lanewise.trial_number": str(number), "lanewise.config_hash": config_hash(config)}
    tags |= provenance(config) | {"lanewise.cpu": host.cpu_name()}
    if tracking is not None:
        tracking.start_trial(number, name, params, tags)
    started = adopt(folder, config_hash(config), name, _now(cache.parent))
    state, reason = "complete", None
    try:
        total = _steps(config, folder, number, on_step)
    except StopEarly as stop:
        state, reason, total = "stopped_early", str(stop), None
    if config.arm == os.environ.get("LANEWISE_REHEARSAL_FAIL"):
        state, reason, total = "failed", "asked to fail", None
    timed = timing or not config.measure.speed
    if total is not None and not timed:
        state, reason = "interrupted", LATER
    record = Record(
        study={"name": study, "task": config.task},
        trial={"number": number, "name": name, "config_hash": config_hash(config), "started": started},
        state=state,
        reason=reason,
        params=params,
        metrics=empty_metrics(config.task),
        tags=tags,
    )
    if total is not None:
        _judge(record, config, total)
        if timed:
            record.metrics["speed.rtf"] = 0.5 - 0.4 * (config.prune.sparsity or 0.0)
            record.tags["lanewise.timing_verdict"] = "rehearsed"
    record.trial |= {"ended": _now(cache.parent), "seconds": 1.0}
    record.write(folder)
    return record


def _steps(config: TrialConfig, folder: Path, number: int, on_step: OnStep | None) -> float:
    """Take the steps that are left, each with its checkpoint; return what they make up."""
    checkpoint = folder / "checkpoint.json"
    done: dict[str, Any] = read_json(checkpoint) if checkpoint.exists() else {"step": 0, "sum": 0.0}
    while done["step"] < STEPS:
        time.sleep(float(os.environ.get("LANEWISE_REHEARSAL_STEP_S", "0")))
        done = {"step": done["step"] + 1, "sum": done["sum"] + _unit(f"{config_hash(config)} {done['step']}")}
        with atomic_path(checkpoint) as partial:  # not synced to disk: a killed process loses nothing by that
            partial.write_text(json.dumps(done))
        with (folder / "progress.log").open("a") as log:
            log.write(f"{number} {done['step']}\n")
        if on_step is not None:
            on_step(done["step"], done["sum"] / done["step"])
    return float(done["sum"])


def _judge(record: Record, config: TrialConfig, total: float) -> None:
    record.metrics |= {"valid.loss": total, "size.bytes": round(1e6 * (1 - (config.prune.sparsity or 0.0)))}
    scores = utterance_metrics(config.task)
    record.utterances = [
        {
            "id": f"clip-{clip}",
            **dict.fromkeys(scores),
            scores[0]: total + 0.01 * _unit(f"{config_hash(config)} clip {clip}"),
            "reasons": dict.fromkeys(scores[1:], "a rehearsal"),
            "audio": None,
        }
        for clip in range(_CLIPS)
    ]
    metrics, reasons = aggregate(record.utterances, config.seed.recover, config.task)
    record.metrics |= metrics
    record.reasons |= reasons


def _unit(text: str) -> float:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48


def _now(root: Path) -> str:
    """Return the time as this study's clock has it."""
    wrong = root / CLOCK_FILE
    jump = timedelta(seconds=float(wrong.read_text())) if wrong.exists() else timedelta()
    return (datetime.now(UTC) + jump).isoformat()
