"""Commands `lanewise sweep` and `lanewise worker`."""

import contextlib
import json
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.options import allow_cache
from bench.errors import UsageError
from bench.progress import say
from studies.folder import StudyFolder, find
from studies.proofs import campaign, replay

if TYPE_CHECKING:
    from studies.run import Options
    from studies.study_file import Study

_STUDY = click.argument("study", required=False)
_STORAGE = click.option("--storage", metavar="URL", help="Optuna's database; by default SQLite in the study's folder.")
_TRACKING = click.option(
    "--tracking-uri", metavar="URI", help="MLflow's store, or none; by default SQLite in the study's folder."
)
_OUT = click.option("--out", type=click.Path(path_type=Path), help="The study's folder; by default runs/NAME.")
_WORKERS = click.option(
    "--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes on this host."
)
_TIMING = click.option(
    "--timing",
    type=click.Choice(("here", "later", "only")),
    default="here",
    show_default=True,
    help="Time each trial here; leave that to a quiet host (later); or be that host, until all have ended (only).",
)
_LAUNCHER = click.option(
    "--launcher", type=click.Choice(("local", "slurm", "ray")), default="local", show_default=True,
    help="What starts the workers.",
)  # fmt: skip
_SETTINGS = click.option(
    "--launcher-set", "settings", multiple=True, metavar="KEY=VALUE",
    help="The launcher's settings, such as slurm_partition=gpu, or num_gpus=0.25.",
)  # fmt: skip
_STACK = click.option(
    "--stack", type=click.IntRange(1), default=1, show_default=True, metavar="ARMS",
    help="Train up to so many arms of equal shape and budget at once, before the trials run (for a GPU).",
)  # fmt: skip
_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout: a list of trials.")


@click.group()
def sweep() -> None:
    """Run, resume, stop or look at a study.

    \b
    lanewise sweep run studies/paper.yaml --fast
    lanewise sweep status
    lanewise sweep resume runs/paper-fast
    """


@sweep.command()
@click.argument("study", type=click.Path(path_type=Path))
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Override a trial's or the study's key.")
@click.option("--trials", type=click.IntRange(1), help="Total number of trials, baselines included.")
@_WORKERS
@_STORAGE
@_TRACKING
@_OUT
@allow_cache
@_TIMING
@_LAUNCHER
@_SETTINGS
@_STACK
@click.option("--accept-changes", is_flag=True, help="Take on a study file that changed: only what differs runs anew.")
@click.option("--dry-run", is_flag=True, help="Print the resolved plan, what is done and the cost; run nothing.")
@click.option("--fast", is_flag=True, help="The study's own smaller form (its `fast:` section).")
@_JSON
def run(
    study: Path,
    assignments: tuple[str, ...],
    trials: int | None,
    workers: int,
    storage: str | None,
    tracking_uri: str | None,
    out: Path | None,
    timing: str,
    launcher: str,
    settings: tuple[str, ...],
    stack: int,
    accept_changes: bool,
    dry_run: bool,
    fast: bool,
    as_json: bool,
) -> int:
    """Run the study of a file, or continue it where it was left.

    Exit code 0 when every trial ended well, 3 when some failed, 130 when it was interrupted (after saving).

    \b
    lanewise sweep run studies/paper.yaml --dry-run
    lanewise sweep run studies/paper.yaml --fast --set train.steps=500
    lanewise sweep run studies/paper.yaml --set 'arms=[dense-continued, lasso-1x1-s70]'
    lanewise sweep run my-study.yaml --workers 4 --trials 40
    lanewise sweep run studies/paper.yaml --set train.device=cuda --stack 64
    """
    from studies.launchers import read_settings
    from studies.run import Options
    from studies.study_file import load

    loaded = load(study, assignments, fast)
    folder = StudyFolder(out or Path("runs") / loaded.name)
    if dry_run:
        return _dry_run(loaded, folder, trials, workers, storage, as_json, stack, timing, launcher)
    options = Options(
        trials, workers, storage, tracking_uri, timing=timing, launcher=launcher, settings=read_settings(settings),
        accept_changes=accept_changes, stack=stack,
    )  # fmt: skip
    return run_and_report(loaded, folder, options, as_json)


@sweep.command()
@_STUDY
@click.option("--trials", type=click.IntRange(1), help="New total number of trials, at least the old one.")
@click.option("--retry-failed", is_flag=True, help="Run failed trials again, from the stages that they finished.")
@_WORKERS
@_STORAGE
@_TRACKING
@_OUT
@allow_cache
@_TIMING
@_LAUNCHER
@_SETTINGS
@_STACK
@_JSON
def resume(
    study: str | None,
    trials: int | None,
    retry_failed: bool,
    workers: int,
    storage: str | None,
    tracking_uri: str | None,
    out: Path | None,
    timing: str,
    launcher: str,
    settings: tuple[str, ...],
    stack: int,
    as_json: bool,
) -> int:
    """Continue a study: trials that were interrupted go on from their checkpoints, under their own numbers.

    STUDY is a folder, a name below runs/, or the study file; by default the study used last.

    \b
    lanewise sweep resume
    lanewise sweep resume runs/demo --workers 2
    """
    from studies.launchers import read_settings
    from studies.run import Options

    folder = find(study, out)
    options = Options(
        trials, workers, storage, tracking_uri, retry_failed, timing=timing, launcher=launcher,
        settings=read_settings(settings), stack=stack,
    )  # fmt: skip
    return run_and_report(folder.load(), folder, options, as_json)


@sweep.command()
@_STUDY
@_STORAGE
@_OUT
@click.option("--watch", "watching", is_flag=True, help="Stay, and show progress, estimated end and front.")
@click.option("--every", type=click.FloatRange(0.1), default=5.0, show_default=True, help="Seconds between two looks.")
@_JSON
def status(
    study: str | None, storage: str | None, out: Path | None, watching: bool, every: float, as_json: bool
) -> int:
    """Show every trial of a study: its state, objective values, and why if it did not finish.

    With --watch it stays until the study is done: exit code 0, or 3 when trials failed.

    \b
    lanewise sweep status
    lanewise sweep status --watch
    lanewise sweep status runs/demo --json | jq '.[] | select(.state == "failed")'
    """
    from studies.run import open_store
    from studies.status import status_rows, status_text

    folder = find(study, out)
    loaded = folder.load()
    store = open_store(loaded, folder, storage)
    if watching:
        from studies.watch import watch

        if as_json:
            raise UsageError("--watch is for people; use --json without it")
        return watch(loaded, store.rows, every)
    rows = store.rows()
    click.echo(json.dumps(status_rows(loaded, rows), indent=1) if as_json else status_text(loaded, rows))
    return 0


@sweep.command()
@_STUDY
@click.option("--now", is_flag=True, help="Interrupt this host's workers too (they save first).")
@_STORAGE
@_OUT
def stop(study: str | None, now: bool, storage: str | None, out: Path | None) -> int:
    """Stop a study after the trials that run now, on every host; `sweep resume` continues it.

    \b
    lanewise sweep stop
    lanewise sweep stop runs/demo --now
    """
    from studies.run import open_store

    folder = find(study, out)
    store = open_store(folder.load(), folder, storage)
    store.set_attribute("stop", time.time())
    running = [row for row in store.rows() if row.state == "running"]
    if now:
        for row in running:
            if row.owner and row.owner.alive():
                os.kill(row.owner.pid, signal.SIGINT)
    when = "as soon as they have saved" if now else "when their trial ends"
    say(f"{len(running)} trials running; their workers stop {when}; continue with: lanewise sweep resume {folder.root}")
    return 0


@click.command()
@_STUDY
@_STORAGE
@_TRACKING
@_OUT
@allow_cache
@_TIMING
@_WORKERS
@click.option("--with-parent", is_flag=True, hidden=True, help="End when the process that started this one ends.")
def worker(
    study: str | None,
    storage: str | None,
    tracking_uri: str | None,
    out: Path | None,
    timing: str,
    workers: int,
    with_parent: bool,
) -> int:
    """Join a study that was started: run waiting trials one after another until none is left.

    Start as many as you like, on every machine that reaches the study's folder and database.

    \b
    lanewise worker runs/paper
    lanewise worker studies/paper.yaml --storage postgresql://user@host/optuna
    lanewise worker runs/paper --timing only      (on the quiet host, of a study that runs with --timing later)
    """
    from bench.trial.behind import Behind
    from studies.checks import check_host
    from studies.database import database_errors
    from studies.plan import plan
    from studies.processes import in_processes
    from studies.run import check_rehearsal, default_runner, exit_code, open_store, open_tracking
    from studies.worker import end_with_parent, work

    _stop_on_signals()
    if with_parent:
        end_with_parent(os.getppid())
    folder = find(study, out)
    loaded = folder.load()
    store = open_store(loaded, folder, storage)
    if not store.count():
        raise UsageError(f"{folder.root}: the study has no trials yet; start it with `lanewise sweep run`")
    check_rehearsal(store, folder)
    trials = plan(loaded, store.count())
    check_host(loaded, trials, store.rows(), timing)
    with database_errors(folder.storage_url(storage)):
        if workers > 1:
            in_processes(folder, store, workers, storage, tracking_uri, timing)
        else:
            tracking = open_tracking(loaded, folder, tracking_uri)
            with Behind(tracking) if tracking is not None else contextlib.nullcontext() as mirror:
                work(loaded, folder, store, mirror, trials, default_runner(), timing)
    return exit_code([row for row in store.rows() if row.state == "failed"])


def _dry_run(
    study: "Study",
    folder: StudyFolder,
    trials: int | None,
    workers: int,
    storage: str | None,
    as_json: bool,
    stack: int,
    timing: str,
    launcher: str,
) -> int:
    from studies.checks import check_caches, check_host
    from studies.dryrun import plan_rows, plan_text
    from studies.plan import plan
    from studies.run import open_store
    from studies.stacking import plan_stacks, stack_lines

    planned = plan(study, trials)
    check_caches(study, planned, folder)
    known = open_store(study, folder, storage).rows() if folder.holds(study) else []
    if launcher == "local":
        check_host(study, planned, known, timing)
    stacks = plan_stacks(planned, known, stack) if stack > 1 else None
    rows = plan_rows(planned, known, stacks)
    if as_json:
        click.echo(json.dumps(rows, indent=1))
    else:
        click.echo("\n".join([plan_text(study, folder, rows, workers), *(stack_lines(stacks) if stacks else [])]))
    return 0


def run_and_report(study: "Study", folder: StudyFolder, options: "Options", as_json: bool = False) -> int:
    """Run a study to its end, say how it went, return the exit code."""
    from studies.database import database_errors
    from studies.run import exit_code, run_study
    from studies.status import status_rows, status_text

    _stop_on_signals()
    try:
        with database_errors(folder.storage_url(options.storage)):
            rows = run_study(study, folder, options)
    except KeyboardInterrupt:
        say(f"stopped; everything so far is saved. Continue with: lanewise sweep resume {folder.root}")
        raise
    if as_json:
        click.echo(json.dumps(status_rows(study, rows), indent=1))
    else:
        say(status_text(study, rows))
    code = exit_code(rows)
    if code == 130:
        say(f"not finished; continue with: lanewise sweep resume {folder.root}")
    elif code == 3:
        say(f"some trials failed: their tracebacks are in {folder.root}/trials/NNNN/traceback.txt")
        say(f"once the cause is gone: lanewise sweep resume {folder.root} --retry-failed")
    return code


def _stop_on_signals() -> None:
    """Let SIGTERM (a scheduler's, a container's) save and end as Ctrl-C does."""

    def interrupt(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGINT, interrupt)  # a background process of a script starts with SIGINT ignored


sweep.add_command(campaign)
sweep.add_command(replay)
