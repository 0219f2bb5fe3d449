"""One worker: claims a trial, runs it, says how it ended, until nothing waits."""

import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from bench.config.flat import config_hash, run_name
from bench.config.schema import TrialConfig
from bench.config.yaml_lines import ConfigError
from bench.errors import LanewiseError
from bench.progress import say
from bench.trial.provenance import provenance
from bench.trial.record import FILE_NAME, Record, empty_metrics
from studies.folder import StudyFolder
from studies.owner import Owner
from studies.plan import Planned, sampled_config
from studies.sampler import draw
from studies.study_file import Study

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from bench.trial.tracking import Tracking
    from studies.store import Store


class Runner(Protocol):
    """What runs one trial: `bench.trial.run.run_trial`, or a light one of the same shape in the harness's own tests."""

    def __call__(
        self, config: TrialConfig, folder: Path, *, study: str, number: int, cache: Path, tracking: "Tracking | None"
    ) -> Record:
        """Run a trial in its folder, from its checkpoints if there are any; failures are in the record, not raised."""


def work(
    study: Study,
    folder: StudyFolder,
    store: "Store",
    tracking: "Tracking | None",
    trials: Sequence[Planned],
    runner: Runner,
) -> None:
    """Run waiting trials one after another until there is none or the study is stopped.

    Raises
    ------
    KeyboardInterrupt
        After the trial at hand was put back, to be continued under its number.
    """
    me = Owner.me()
    while not store.attribute("stop"):
        for number in store.reap():
            say(f"trial {number}: its process died; it is continued from its last checkpoint")
        trial = store.claim(me)
        if trial is None:
            return
        with store.heartbeat(trial):
            try:
                _run_one(study, folder, store, tracking, trials[trial.number], trial, me, runner)
            except KeyboardInterrupt:
                store.release(trial, me, "interrupted")
                raise
            except BaseException as error:
                # Not the trial's failure (that is in its record) but the harness's: give the trial back, and stop.
                store.release(trial, me, f"{type(error).__name__}: {error}")
                raise


def _run_one(
    study: Study,
    folder: StudyFolder,
    store: "Store",
    tracking: "Tracking | None",
    planned: Planned,
    trial: "FrozenTrial",
    me: Owner,
    runner: Runner,
) -> None:
    number, started = trial.number, time.monotonic()
    if planned.skip is not None:
        skipped_record(study.name, number, planned).write(folder.trial(number))
        store.finish(trial, me, "skipped", None, reason=planned.skip)
        say(f"trial {number} ({planned.arm}): skipped: {planned.skip}")
        return
    try:
        config = planned.config
        if config is None:
            point = draw(store.study, trial._trial_id, number, study.mode, study.search_seed, study.axes)
            config = sampled_config(study, point)
    except ConfigError as error:
        store.finish(trial, me, "infeasible", None, reason=str(error))
        say(f"trial {number}: infeasible: {error}")
        return
    digest, rests_on = config_hash(config), provenance(config)
    store.note(trial, arm=config.arm, config_hash=digest, provenance=rests_on)
    for twin in store.rows():
        same = (twin.config_hash, twin.provenance) == (digest, rests_on)
        if same and twin.state == "complete" and twin.number != number and twin.duplicate_of is None:
            store.finish(trial, me, "complete", twin.values, duplicate_of=twin.number, seconds=0.0)
            say(f"trial {number} ({config.arm}): the same settings as trial {twin.number}, whose result it takes over")
            return
    say(f"trial {number + 1} of {store.count()}: {config.arm}, seed {config.seed.recover}")
    place = folder.trial(number)
    record = finished_record(place, digest, rests_on)
    if record is None:
        record = runner(config, place, study=study.name, number=number, cache=folder.cache, tracking=tracking)
    if tracking is not None:
        tracking.sync_record(place)
    state, values, reason = outcome(record, study.objectives)
    ours = store.finish(trial, me, state, values, reason=reason, seconds=record.trial.get("seconds"))
    if not ours:
        say(f"trial {number}: another worker took it over meanwhile")
    elif state != "complete":
        say(f"trial {number} ({config.arm}): {state}: {reason}")
    else:
        figures = ", ".join(f"{key} {value:.4g}" for key, value in zip(study.objectives, values or (), strict=True))
        say(f"trial {number} ({config.arm}): done in {time.monotonic() - started:.0f} s: {figures}")


def skipped_record(study: str, number: int, planned: Planned) -> Record:
    """Return the record of a combination that cannot exist: why, and nothing measured."""
    assert planned.seeds is not None, "what is skipped was planned with its seeds"
    dense, recover = planned.seeds
    name = run_name(number, str(planned.arm), recover)
    return Record(
        study={"name": study, "task": "vocoder"},
        trial={"number": number, "name": name, "config_hash": None, "started": None, "ended": None, "seconds": 0.0},
        state="skipped",
        reason=planned.skip,
        params={"arm": planned.arm, "seed.dense": dense, "seed.recover": recover},
        metrics=empty_metrics(),
        tags={"lanewise.trial_number": str(number), "lanewise.stop_reason": planned.skip or ""},
    )


def finished_record(place: Path, digest: str, rests_on: Mapping[str, str]) -> Record | None:
    """Return the record of a trial that ended before its worker could say so; None if it has to run.

    Its configuration must hash to `digest`, and its tags must name the recordings, the checkpoint and the metrics'
    packages that it would rest on now (`bench.trial.provenance`).
    """
    if not (place / FILE_NAME).is_file():
        return None
    try:
        record = Record.read(place)
    except LanewiseError as error:  # damaged, or of another version
        say(f"{error}; the record is made again from the stages that the trial kept")
        return None
    ended = record.state in ("complete", "stopped_early", "skipped", "infeasible")
    same = record.trial.get("config_hash") == digest and rests_on.items() <= record.tags.items()
    return record if ended and same else None


def outcome(record: Record, objectives: Sequence[str]) -> tuple[str, tuple[float, ...] | None, str | None]:
    """Return a record's state, its objective values (if complete) and its reason.

    A trial that ran to its end but lacks an objective has failed as far as the study is concerned.
    """
    if record.state != "complete":
        return record.state, None, record.reason
    values = []
    for objective in objectives:
        value = record.metrics.get(objective)
        if value is None:
            return (
                "failed",
                None,
                f"objective {objective} is missing: {record.reasons.get(objective, 'no reason given')}",
            )
        values.append(float(value))
    return "complete", tuple(values), None


def end_with_parent(parent: int) -> None:
    """Interrupt this worker (as Ctrl-C would) when the process that started it has gone."""
    import _thread

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        _thread.interrupt_main()

    threading.Thread(target=watch, daemon=True).start()
