"""`lanewise tracking`: the mirror in MLflow, rebuilt from records."""

from pathlib import Path

import click

from bench.errors import LanewiseError, UsageError
from bench.progress import Progress, say
from bench.urls import redact
from studies.folder import UNTRACKED, find


@click.group()
def tracking() -> None:
    """Rebuild a study's mirror in MLflow from its records.

    \b
    lanewise tracking resync runs/demo
    """


@tracking.command()
@click.argument("study", required=False)
@click.option("--tracking-uri", metavar="URI", help="MLflow's store; by default the study's own.")
@click.option("--storage", metavar="URL", help="Optuna's database; by default the study's own.")
@click.option("--out", type=click.Path(path_type=Path), help="The study's folder; by default runs/NAME.")
def resync(study: str | None, tracking_uri: str | None, storage: str | None, out: Path | None) -> int:
    """Make MLflow equal to a study's records: after a server was down, on a new server, after an accident.

    What is in step already is left alone; repeating it changes nothing. STUDY is a folder, a name below runs/, or the
    study file; by default the study used last.

    \b
    lanewise tracking resync
    lanewise tracking resync runs/paper --tracking-uri http://127.0.0.1:5000
    """
    from bench.trial.record import FILE_NAME
    from bench.trial.tracking import Tracking
    from studies.described import study_view
    from studies.run import ended, log_end, open_store, study_tags

    folder = find(study, out)
    loaded = folder.load()
    uri = folder.tracking_uri(tracking_uri)
    if uri == UNTRACKED:
        if tracking_uri:
            raise UsageError("--tracking-uri none: is no store of MLflow's; name one, or leave it out")
        uri = None
    mirror = Tracking(folder.root, loaded.name, uri)
    records = len(list((folder.root / "trials").glob(f"*/{FILE_NAME}")))
    mirror.log_study({folder.study_file: None}, study_tags(loaded), view=study_view(loaded))
    with Progress("records", records) as progress:
        in_step = mirror.sync_all(progress.advance)
    rows = open_store(loaded, folder, storage).rows()
    if all(ended(row) for row in rows):
        log_end(mirror, folder, rows)
    if mirror.trouble:
        raise LanewiseError(
            f"MLflow at {redact(mirror.uri)}: {mirror.trouble}; {in_step} of {records} records are there; "
            "run it again once the server is well"
        )
    say(f"{in_step} of {records} records are in MLflow at {redact(mirror.uri)}, experiment {loaded.name}")
    return 0 if in_step == records else 1
