"""A study's records and audio fetched from MLflow's artifacts into a directory that the loader reads."""

from pathlib import Path

from bench.errors import LanewiseError, UsageError

WANTED = ("record.json", "masks.npz", "snapshots.npz", "audio")
OF_THE_STUDY = ("study.yaml", "references.json", "references")


def mirror(tracking_uri: str, experiment: str, into: Path) -> Path:
    """Download an experiment's trials as `trials/NNNN/` in order of start, and the study's own files; returns `into`.

    Raises
    ------
    UsageError
        There is no such experiment at that URI.
    LanewiseError
        MLflow does not answer, or no run of the experiment has a record.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    database = Path(tracking_uri.removeprefix("sqlite:///"))
    if tracking_uri.startswith("sqlite:///") and not database.is_file():  # MLflow would make an empty one
        raise UsageError(f"--tracking-uri {tracking_uri}: no such file; expected as in sqlite:///runs/demo/mlflow.db")
    try:
        client = mlflow.MlflowClient(tracking_uri=tracking_uri)
        found = client.get_experiment_by_name(experiment)
        if found is None:
            known = ", ".join(sorted(item.name for item in client.search_experiments())) or "none"
            raise UsageError(f"no experiment {experiment!r} at {tracking_uri}; there are: {known}")
        runs = _all_runs(client, found.experiment_id)
        into.mkdir(parents=True, exist_ok=True)
        fetched = [_fetch(client, run.info.run_id, into, place) for place, run in enumerate(runs)]
    except MlflowException as error:
        raise LanewiseError(f"MLflow at {tracking_uri}: {error.message}") from error
    if not any(fetched):
        raise LanewiseError(f"experiment {experiment!r} at {tracking_uri}: none of {len(runs)} runs has a record.json")
    return into


def _all_runs(client: "mlflow.MlflowClient", experiment_id: str) -> "list[mlflow.entities.Run]":  # type: ignore[name-defined] # noqa: F821
    runs, token = [], None
    while True:
        page = client.search_runs([experiment_id], page_token=token, order_by=["attributes.start_time ASC"])
        runs += list(page)
        token = page.token
        if not token:
            return runs


def _fetch(client: "mlflow.MlflowClient", run_id: str, into: Path, place: int) -> bool:  # type: ignore[name-defined] # noqa: F821
    """Download what a report reads of one run (the `place`-th); True if the run is a trial."""
    names = {Path(item.path).name for item in client.list_artifacts(run_id)}
    for name in OF_THE_STUDY:
        if name in names:
            client.download_artifacts(run_id, name, str(into))
    if "record.json" not in names:
        return False
    local = Path(client.download_artifacts(run_id, "record.json", str(into)))
    folder = into / "trials" / f"{place:04d}"
    folder.mkdir(parents=True, exist_ok=True)
    local.rename(folder / "record.json")
    for name in WANTED[1:]:
        if name in names:
            client.download_artifacts(run_id, name, str(folder))
    return True
