"""One trial from its configuration to its record: resumable, its failures recorded, nothing computed ever lost."""

import time
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from bench import __version__, host
from bench.config import plugins
from bench.config.flat import arm_name, config_hash, dump, flatten, run_name
from bench.config.schema import TrialConfig
from bench.errors import LanewiseError, describe
from bench.progress import say
from bench.trial.cache import StageCache, shared_folder
from bench.trial.context import OnStep, StopEarly, Trial
from bench.trial.files import unwritable, write_text
from bench.trial.identity import adopt
from bench.trial.pipeline import run_stages
from bench.trial.record import Record, empty_metrics
from bench.trial.timing import LATER

if TYPE_CHECKING:
    from bench.trial.behind import TrialMirror

TRACEBACK_FILE = "traceback.txt"


def run_trial(
    config: TrialConfig,
    folder: Path,
    *,
    study: str = "trial",
    number: int = 0,
    cache: Path | None = None,
    tracking: "TrialMirror | None" = None,
    on_step: OnStep | None = None,
    timing: bool = True,
) -> Record:
    """Run one trial, or continue it where it was interrupted.

    Parameters
    ----------
    config
        Resolved configuration (`bench.config.load`).
    folder
        The trial's folder. What an earlier run of the same configuration finished there is kept.
    study, number
        Which study the trial belongs to, and its number there.
    cache
        Folder of the stages that trials share, unless `data.cache` names one; by default `cache` inside `folder`.
    tracking
        Bridge to MLflow; its troubles never stop the trial.
    on_step
        Called after each optimizer step of the arm; may raise `StopEarly`.
    timing
        Whether to time the packed model here. If not, everything else is done and the state is `interrupted`:
        running the trial again on a quiet host times it.

    Returns
    -------
    Record
        As written to `record.json`. A stage that fails gives the state `failed`, a reason and `traceback.txt`;
        metrics found before stay in the record.

    Raises
    ------
    UsageError
        The folder holds a trial of another configuration, or `data.cache` is a place that nobody allowed.
    LanewiseError
        The folder cannot be written (its disk is full, say): that is the host's trouble and no outcome of the trial,
        which goes on where it was when run again.
    KeyboardInterrupt
        After a record of state `interrupted` was written; running the trial again goes on from there.
    """
    began = time.monotonic()
    name = run_name(number, arm_name(config), config.seed.recover)
    started = adopt(folder, config_hash(config), name, _now())
    cache_dir = shared_folder(config.data.cache, cache or folder / "cache")
    trial = Trial(config, folder, StageCache(cache_dir), on_step, timing)
    record = Record(
        study={"name": study, "task": config.task},
        trial={"number": number, "name": name, "config_hash": config_hash(config), "started": started},
        state="failed",
        params=flatten(config),
        metrics=empty_metrics(config.task),
        tags=_tags(config, number),
        artifacts={"config": "config.yaml"},
    )
    for plugin, text in plugins.sources(config.plugins).items():
        write_text(folder / plugin, text)  # beside the configuration that names it, which so stays valid
    write_text(folder / "config.yaml", yaml.safe_dump(dump(config), sort_keys=False))
    if tracking is not None:
        tracking.start_trial(number, name, record.params, record.tags)
    try:
        run_stages(trial, record)
        record.state, record.reason = ("interrupted", LATER) if trial.untimed else ("complete", None)
        (folder / TRACEBACK_FILE).unlink(missing_ok=True)
    except StopEarly as stop:
        record.state, record.reason = "stopped_early", str(stop) or "stopped by the study"
    except KeyboardInterrupt:
        record.state, record.reason = "interrupted", "interrupted; run it again to continue"
        raise
    except Exception as error:
        trouble = unwritable(folder) or unwritable(cache_dir)
        if trouble:
            record.state, record.reason = "interrupted", trouble
            raise LanewiseError(f"{trouble}; the trial goes on where it was once that is mended") from error
        # Whatever a stage raises is this trial's outcome: it is recorded with its traceback, and the study goes on.
        record.reason = _words(error)
        record.artifacts["traceback"] = TRACEBACK_FILE
        write_text(folder / TRACEBACK_FILE, traceback.format_exc())
        say(f"{name}: failed: {record.reason} (details in {folder / TRACEBACK_FILE})")
    finally:
        _finish(trial, record, began)
        if tracking is not None:
            tracking.sync_record(folder)
    return record


def _finish(trial: Trial, record: Record, began: float) -> None:
    """Write the record: what was found, and a reason for everything that was not.

    `seconds` of a complete trial is what its stages took, in whatever runs; else how long this run lasted.
    """
    for key, value in record.metrics.items():
        if value is None and not key.endswith((".ci_low", ".ci_high", ".n", ".n_failed")):
            record.reasons.setdefault(key, f"the trial ended before ({record.reason})")
    record.trial["ended"] = _now()
    stages_s = sum(trial.stages.seconds.values())
    record.trial["seconds"] = round(stages_s if record.state == "complete" else time.monotonic() - began, 3)
    record.tags["lanewise.stop_reason"] = record.reason or ""
    record.write(trial.folder)


def _words(error: Exception) -> str:
    if isinstance(error, LanewiseError):
        return str(error)
    return describe(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"


def _tags(config: TrialConfig, number: int) -> dict[str, str]:
    git = host.git_state()
    return {
        "lanewise.version": __version__,
        "lanewise.git": str(git["sha"] or "none"),
        "lanewise.git_dirty": str(git["dirty"]).lower(),
        "lanewise.cpu": host.cpu_name(),
        "lanewise.config_hash": config_hash(config),
        "lanewise.trial_number": str(number),
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
