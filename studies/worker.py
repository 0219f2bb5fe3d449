"""One worker: claims a trial, runs it, says how it ended, until nothing waits."""

import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from bench.config.flat import config_hash, run_name
from bench.config.schema import TrialConfig
from bench.config.yaml_lines import ConfigError
from bench.errors import LanewiseError
from bench.progress import say
from bench.trial.provenance import provenance
from bench.trial.record import FILE_NAME, Record, empty_metrics
from studies.checks import check_host
from studies.constraints import broken, excesses, exempt
from studies.early import Knowledge, rule
from studies.folder import StudyFolder
from studies.owner import Owner
from studies.plan import Planned, sampled_config
from studies.sampler import draw
from studies.study_file import Study

if TYPE_CHECKING:
    from bench.trial.behind import TrialMirror
    from bench.trial.context import OnStep
    from studies.store import Claim, Store

TIMING = ("here", "later", "only")
"""What a worker does about timing: times its trials itself, leaves that to a quiet host, or is that host."""

_IDLE_S = 1.0


class Runner(Protocol):
    """What runs one trial: `bench.trial.run.run_trial`, or a light one of the same shape in the harness's own tests."""

    def __call__(
        self,
        config: TrialConfig,
        folder: Path,
        *,
        study: str,
        number: int,
        cache: Path,
        tracking: "TrialMirror | None",
        on_step: "OnStep | None" = None,
        timing: bool = True,
    ) -> Record:
        """Run a trial in its folder, from its checkpoints if there are any; failures are in the record, not raised."""


def work(
    study: Study,
    folder: StudyFolder,
    store: "Store",
    mirror: "TrialMirror | None",
    trials: Sequence[Planned],
    runner: Runner,
    timing: str = "here",
) -> None:
    """Run waiting trials one after another until there is none or the study is stopped.

    A worker that finds none waiting first makes sure that trials of other hosts live: those of a host that vanished
    are continued here. One that only times stays until every trial has ended, whoever trains them and however late.

    Raises
    ------
    KeyboardInterrupt
        After the trial at hand was put back, to be continued under its number.
    """
    me = Owner.me()
    wanted = {"here": None, "later": False, "only": True}[timing]
    said, latest = False, _LatestStep(Knowledge(study, folder, store))
    while not store.attribute("stop"):
        for number in store.reap():
            say(f"trial {number}: its process died; it is continued from its last checkpoint")
        claim = store.claim(me, wanted)
        if claim is not None:
            latest.step, latest.rule = 0, None
            with store.heartbeat(claim, latest.now):
                try:
                    _run_one(study, folder, store, mirror, trials[claim.number], claim, me, runner, latest, timing)
                except KeyboardInterrupt:
                    store.release(claim, me, "interrupted")
                    raise
                except BaseException as error:
                    # Not the trial's failure (that is in its record) but the harness's: give the trial back, and stop.
                    store.release(claim, me, f"{type(error).__name__}: {error}")
                    raise
        elif store.unsure() or (timing == "only" and store.left()):
            if not said:
                say("nothing waits; watching the trials that run elsewhere (`lanewise sweep stop` ends this)")
                said = True
            time.sleep(_IDLE_S)
        else:
            return


class _LatestStep:
    """Hears a trial's training steps: remembers the last one, and asks the study's early-stopping rule."""

    def __init__(self, known: Knowledge) -> None:
        self.known = known
        self.step = 0
        self.rule: OnStep | None = None

    def now(self) -> int:
        return self.step

    def __call__(self, step: int, bits: float) -> None:
        self.step = step
        if self.rule is not None:
            self.rule(step, bits)


def _run_one(
    study: Study,
    folder: StudyFolder,
    store: "Store",
    mirror: "TrialMirror | None",
    planned: Planned,
    claim: "Claim",
    me: Owner,
    runner: Runner,
    latest: _LatestStep,
    timing: str,
) -> None:
    number, started = claim.number, time.monotonic()
    if planned.skip is not None:
        skipped_record(study.name, study.task, number, planned).write(folder.trial(number))
        if mirror is not None:
            mirror.sync_record(folder.trial(number))
        store.finish(claim, me, "skipped", None, reason=planned.skip)
        say(f"trial {number} ({planned.arm}): skipped: {planned.skip}")
        return
    try:
        config = planned.config or _drawn(study, store, claim)
        latest.rule = None
        if planned.config is None:
            check_host(study, [replace(planned, config=config)], (), timing)
            latest.rule = rule(study, config, latest.known)
    except ConfigError as error:
        store.finish(claim, me, "infeasible", None, reason=str(error))
        say(f"trial {number}: infeasible: {error}")
        return
    digest, rests_on = config_hash(config), provenance(config)
    store.note(claim, arm=config.arm, config_hash=digest, provenance=rests_on)
    for twin in store.rows(digest):
        same = twin.provenance == rests_on
        if same and twin.state == "complete" and twin.number != number and twin.duplicate_of is None:
            store.finish(claim, me, "complete", twin.values, duplicate_of=twin.number, seconds=0.0)
            say(f"trial {number} ({config.arm}): the same settings as trial {twin.number}, whose result it takes over")
            return
    say(f"trial {number + 1} of {store.count()}: {config.arm}, seed {config.seed.recover}")
    place = folder.trial(number)
    record = finished_record(place, digest, rests_on)
    if record is None:
        record = runner(
            config,
            place,
            study=study.name,
            number=number,
            cache=folder.cache,
            tracking=mirror,
            on_step=latest,
            timing=timing != "later",
        )
    if record.state == "interrupted":  # all but its timing is done
        store.release(claim, me, record.reason or "", state="untimed", needs="timing")
        say(f"trial {number} ({config.arm}): {record.reason}")
        return
    state, values, reason = outcome(record, study.objectives)
    why = broken(study.constraints, record.metrics)
    if state == "complete" and why and not exempt(config):
        record.state, record.reason = state, reason = "infeasible", why
        record.write(place)
    if mirror is not None:
        mirror.sync_record(place)
    off = excesses(study.constraints, record.metrics)
    ours = store.finish(claim, me, state, values, off, reason=reason, seconds=record.trial.get("seconds"))
    if not ours:
        say(f"trial {number}: another worker took it over meanwhile")
    elif state != "complete":
        say(f"trial {number} ({config.arm}): {state}: {reason}")
    else:
        figures = ", ".join(f"{key} {value:.4g}" for key, value in zip(study.objectives, values or (), strict=True))
        say(f"trial {number} ({config.arm}): done in {time.monotonic() - started:.0f} s: {figures}")


def skipped_record(study: str, task: str, number: int, planned: Planned) -> Record:
    """Return the record of a combination that cannot exist: why, and nothing measured."""
    assert planned.seeds is not None, "what is skipped was planned with its seeds"
    dense, recover = planned.seeds
    name = run_name(number, str(planned.arm), recover)
    return Record(
        study={"name": study, "task": task},
        trial={"number": number, "name": name, "config_hash": None, "started": None, "ended": None, "seconds": 0.0},
        state="skipped",
        reason=planned.skip,
        params={"arm": planned.arm, "seed.dense": dense, "seed.recover": recover},
        metrics=empty_metrics(task),
        tags={"lanewise.trial_number": str(number), "lanewise.stop_reason": planned.skip or ""},
    )


def _drawn(study: Study, store: "Store", claim: "Claim") -> TrialConfig:
    """Return the trial that the study's sampler draws.

    Raises
    ------
    ConfigError
        It is no valid one.
    """
    point = store.draw(
        lambda optuna_study: draw(optuna_study, claim.trial_id, claim.number, study.mode, study.search_seed, study.axes)
    )
    return sampled_config(study, point)


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
    if record.state not in ("complete", "infeasible"):
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
    return record.state, tuple(values), record.reason


def end_with_parent(parent: int) -> None:
    """Interrupt this worker (as Ctrl-C would) when the process that started it has gone."""
    import _thread

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        _thread.interrupt_main()

    threading.Thread(target=watch, daemon=True).start()
