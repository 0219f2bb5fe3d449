"""A whole study: its trials planned and enqueued, workers started, references scored, MLflow brought up to date."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from bench.config.schema import TrialConfig
from bench.errors import UsageError
from bench.progress import say
from bench.trial.behind import Behind
from studies.change import change
from studies.checks import check_caches, check_host
from studies.described import describe_study, study_view
from studies.folder import UNTRACKED, StudyFolder
from studies.launchers import launcher
from studies.mend import mend
from studies.plan import Planned, dense_config, plan
from studies.processes import in_processes, worker_command, worker_environment
from studies.rehearsal import light_trial, rehearsing
from studies.stacking import train_stacks
from studies.states import ENDED
from studies.study_file import Study
from studies.worker import Runner, work

if TYPE_CHECKING:
    from bench.trial.tracking import Tracking
    from studies.rows import Row
    from studies.store import Store


@dataclass(frozen=True)
class Options:
    """How a study is run, which no result depends on."""

    trials: int | None = None
    workers: int = 1
    storage: str | None = None
    tracking_uri: str | None = None
    retry_failed: bool = False
    """Whether trials that failed are run again, from the stages that they finished."""
    recordings: bool = True
    """Whether the recordings are read here: to refuse changed ones, and to score the reference systems. A rehearsal
    never does."""
    timing: str = "here"
    """Whether workers time their trials: see `studies.worker.TIMING`."""
    launcher: str = "local"
    """What starts the workers: this process (`local`), or one of `studies.launchers`."""
    accept_changes: bool = False
    """Whether a study file that changed since the study began is taken on."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """The launcher's."""
    stack: int = 1
    """How many arms at most are trained at once, here, before the trials run; 1: each trial trains its own."""


def run_study(study: Study, folder: StudyFolder, options: Options, runner: Runner | None = None) -> "list[Row]":
    """Run or continue a study until every trial has ended, or it is stopped.

    Parameters
    ----------
    study, folder
        What to run and where; a folder that holds the same study is continued.
    options
        Number of workers, stores.
    runner
        What runs one trial; `bench.trial.run_trial` by default. Only with one worker.

    Returns
    -------
    list of Row
        Every trial as it ended.

    Raises
    ------
    UsageError
        The folder holds another study, `data.cache` is a place that nobody allowed, or workers are to start here and
        this host lacks what the trials need.
    KeyboardInterrupt
        After saving.
    """
    if options.stack > 1 and options.launcher != "local":
        raise UsageError(
            f"--stack trains on this host, before --launcher {options.launcher} starts workers elsewhere; run "
            "`lanewise sweep run --stack` on a node with the GPU, or leave one of the two out"
        )
    trials = plan(study, options.trials)
    check_caches(study, trials, folder)
    changed = options.accept_changes and folder.differs(study)
    if options.launcher == "local":
        known = [] if changed or not folder.holds(study) else open_store(study, folder, options.storage).rows()
        again = {"failed"} if options.retry_failed else set()
        check_host(study, trials, [row for row in known if row.state not in again], options.timing)
    if changed:
        store = open_store(study, folder, options.storage)
        store.reap(forgive=True)
        change(study, folder, store, trials)
    if folder.adopt(study, options.storage, options.tracking_uri):
        say(f"continuing the study in {folder.root}")
    store = open_store(study, folder, options.storage)
    check_rehearsal(store, folder)
    _check_plan(store, trials, folder)
    recordings = options.recordings and not rehearsing()
    if recordings:
        fixed = [planned.config for planned in trials if planned.config is not None]
        _check_inputs(store, [*fixed, dense_config(study)], folder)
    if options.retry_failed:
        _retry_failed(study, store)
    store.enqueue([planned.attributes() for planned in trials])
    store.set_attribute("stop", None)
    for number in store.reap(forgive=True):
        say(f"trial {number}: interrupted earlier; it is continued from its last checkpoint")
    tracking = open_tracking(study, folder, options.tracking_uri)
    everything = plan(study, store.count())  # an earlier run may have asked for more trials than this one
    if options.stack > 1 and not rehearsing():
        train_stacks(everything, store.rows(), folder, options.stack)
    with contextlib.ExitStack() as stack:
        mirror = stack.enter_context(Behind(tracking)) if tracking is not None else None
        if mirror is not None:
            mirror.log_study({folder.study_file: None}, study_tags(study), study_view(study))
        mend(study, folder, store, mirror, everything, lambda: runner or default_runner())
        if options.launcher != "local":
            stores = worker_environment(options.storage, options.tracking_uri)
            launch = launcher(options.launcher)
            launch(worker_command(folder, options.timing), stores, options.workers, options.settings)
            store.reap()
        elif options.workers == 1:
            work(study, folder, store, mirror, everything, runner or default_runner(), options.timing)
        else:
            in_processes(folder, store, options.workers, options.storage, options.tracking_uri, options.timing)
            for number in store.reap():
                say(f"trial {number}: its worker died; `lanewise sweep resume {folder.root}` continues it")
    rows = store.rows()
    if all(ended(row) for row in rows):
        if recordings and study.task == "vocoder":
            from studies.references import ensure_references

            ensure_references(dense_config(study), folder)
        if tracking is not None:
            tracking.sync_all()
            log_end(tracking, folder, rows)
    return rows


def open_store(study: Study, folder: StudyFolder, storage: str | None = None) -> "Store":
    """Open (or create) the study's trials."""
    from studies.database import check_url
    from studies.store import Store

    url = folder.storage_url(storage)
    check_url(url)
    if rehearsing():  # its trials take a second
        return Store(url, study.name, study.directions, heartbeat_s=0.2)
    return Store(url, study.name, study.directions)


def open_tracking(study: Study, folder: StudyFolder, tracking_uri: str | None = None) -> "Tracking | None":
    """Open the study's bridge to MLflow; None when it is to have none."""
    uri = folder.tracking_uri(tracking_uri)
    if uri == UNTRACKED:
        return None
    from bench.trial.tracking import Tracking

    return Tracking(folder.root, study.name, uri)


def default_runner() -> Runner:
    """Return what runs a trial: a real one (imports torch), or a light one in a rehearsal."""
    if rehearsing():
        return light_trial
    from bench.trial.run import run_trial

    return run_trial


def check_rehearsal(store: "Store", folder: StudyFolder) -> None:
    """Refuse to mix results of a rehearsal, which mean nothing, with real ones.

    Raises
    ------
    UsageError
        This process rehearses and the study does not, or the other way round.
    """
    now = rehearsing()
    known = store.attribute("rehearsal")
    if known is None:
        store.set_attribute("rehearsal", now)
    elif known != now:
        what, do = ("a rehearsal", "set") if known else ("no rehearsal", "unset")
        raise UsageError(f"{folder.root}: this study is {what}; {do} LANEWISE_REHEARSAL, or start with --out DIR")


def ended(row: "Row") -> bool:
    """Say whether a trial has ended, well or not."""
    return row.state in ENDED


def exit_code(rows: "Sequence[Row]") -> int:
    """Return 0 when all is well, 3 when the study is finished with failed trials, 130 when trials are left to run."""
    if not all(ended(row) for row in rows):
        return 130
    return 3 if any(row.state == "failed" for row in rows) else 0


def _check_plan(store: "Store", trials: Sequence[Planned], folder: StudyFolder) -> None:
    """Refuse to go on when the same study file now means other trials (defaults changed with the version, say)."""
    for row, planned in zip(store.rows(), trials, strict=False):
        known = planned.config_hash
        if known and row.config_hash and row.config_hash != known:
            raise UsageError(
                f"{folder.root}: trial {row.number} was planned as {row.arm} ({row.config_hash}) and is now "
                f"{planned.arm} ({known}) although the study file is the same; another version of Lanewise started it. "
                "Go on with that version, or start afresh with --out DIR"
            )


def _retry_failed(study: Study, store: "Store") -> None:
    """Make the study's trials anew: those that have a finished record take it over, the others run."""
    if study.sampled:
        raise UsageError(f"{study.name}: its sampler has learnt from what failed; raise the number of trials instead")
    failed = sum(row.state == "failed" for row in store.rows())
    if failed:
        store.reap(forgive=True)
        store.start_over()
        say(f"{failed} failed trials are run again")


def _check_inputs(store: "Store", configs: Sequence[TrialConfig], folder: StudyFolder) -> None:
    """Refuse to go on when a recording or a checkpoint has changed since the study was started.

    `configs` are those known before a search draws any, the study's dense arm among them.
    """
    from bench.config.checkpoints import checkpoint_hash
    from bench.trial import corpus

    found = {}
    for config in {(config.task, config.data): config for config in configs}.values():
        found[f"the recordings of {config.data.corpus}"] = corpus.content(config)
    for task, init in {(config.task, config.model.init) for config in configs}:
        if init not in ("dense", "scratch"):
            found[f"the checkpoint {init}"] = checkpoint_hash(init, task)
    known: dict[str, str] = store.attribute("inputs") or {}
    changed = [name for name in sorted(found) if known.get(name, found[name]) != found[name]]
    if changed:
        raise UsageError(
            f"{folder.root}: {', '.join(changed)} changed since this study was started, and mixing results would "
            "compare what is not comparable; start it afresh with --out DIR (or another `name:`), or restore them"
        )
    store.set_attribute("inputs", known | found)


def log_end(tracking: "Tracking", folder: StudyFolder, rows: "Sequence[Row]") -> None:
    """Write what a study came to, besides its trials, to its own run."""
    report = folder.root / "report" / "report.html"
    kept = {folder.references: None, folder.references.with_suffix(""): "references", report: None}
    files = {path: place for path, place in kept.items() if path.exists()}
    tracking.log_study(files=files, metrics=_counts(rows), finished=True, about=partial(describe_study, folder))


def study_tags(study: Study) -> dict[str, str]:
    tags = {f"lanewise.margin.{key}": f"{value:g}" for key, value in study.margins.items()}
    return tags | {"lanewise.study": study.name, "lanewise.objectives": ", ".join(study.objectives)}


def _counts(rows: "Sequence[Row]") -> dict[str, float]:
    return {f"trials.{state}": float(sum(row.state == state for row in rows)) for state in ENDED}
