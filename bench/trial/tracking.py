"""A mirror of a study in MLflow: one parent run per study, one child run per trial, made from records.

Records are the truth and this is a view of them: every call can be repeated, and everything can be rebuilt by
`Tracking.sync_all`. Trouble with MLflow (a server that is down, a full disk) is said once and never stops a trial.
Each run is written in one batch; many small calls are what makes MLflow slow.
"""

import logging
import os
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from bench.errors import LanewiseError
from bench.progress import say
from bench.trial import image_grid, mirror, model_card
from bench.trial.cache import exclusive
from bench.trial.described import NOTE, describe
from bench.trial.record import FILE_NAME, Record, Scalar
from bench.urls import redact

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

T = TypeVar("T")

PAUSE_AFTER_TROUBLE_S = 60.0
"""How long nothing is tried after MLflow failed, so that a dead server costs one time-out and not one a trial."""

DIGEST_TAG = "lanewise.record_sha256"
"""Tag of a run that is in step with the record of this digest."""

_QUIET_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}


def default_uri(study_dir: Path) -> str:
    """Return MLFLOW_TRACKING_URI, or else the SQLite store in the study's own folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{study_dir.resolve() / 'mlflow.db'}"


class Tracking:
    """Bridge from one study to MLflow.

    Parameters
    ----------
    study_dir
        Folder of the study; holds `mlflow.db` and `artifacts/` unless a server is used.
    study
        Name of the study: the experiment's and the parent run's name.
    uri
        Tracking URI; by default `default_uri(study_dir)`.

    Attributes
    ----------
    trouble
        Reason of the latest failure, None while all is well.

    Examples
    --------
    >>> tracking = Tracking(Path("runs/demo"), "demo")
    >>> tracking.sync_record(Path("runs/demo/trials/0003"))
    """

    def __init__(self, study_dir: Path, study: str, uri: str | None = None) -> None:
        self.study_dir, self.study = study_dir, study
        self.uri = uri or default_uri(study_dir)
        self.trouble: str | None = None
        self._quiet_until = 0.0
        self._connected: MlflowClient | None = None
        self._experiment_id = ""
        self._parent_id = ""

    def start_trial(self, number: int, name: str, params: Mapping[str, Scalar], tags: Mapping[str, str]) -> str | None:
        """Show a trial as running; return its run's id, None if MLflow failed."""

        def start() -> str:
            client = self._client()
            run = self._child(number)
            if run is not None and mirror.contradicts_params(params, run.data.params):
                client.delete_run(run.info.run_id)
                run = None
            run_id = str((run or self._create_child(number, name, _now_ms())).info.run_id)
            client.log_batch(
                run_id, params=mirror.params(params), tags=mirror.tags({**tags, "lanewise.state": "running"})
            )
            client.update_run(run_id, status="RUNNING")
            client.set_tag(run_id, DIGEST_TAG, "")
            return run_id

        return self._attempt(start)

    def sync_record(self, record_dir: Path) -> str | None:
        """Make the trial's run equal to its record, creating it if there is none; return its id, None on trouble.

        Nothing is written when the run was made from the same record already. A run whose parameters contradict the
        record (they can never be changed), or that has metrics which the record lacks, is replaced.

        Raises
        ------
        LanewiseError
            The record cannot be read.
        """
        record = Record.read(record_dir)
        return self._attempt(lambda: self._sync(record, record_dir))

    def _sync(self, record: Record, folder: Path, runs: "Mapping[str, Run] | None" = None) -> str:
        """Make a trial's run equal to its record; `runs`, if they were read already, are those of all trials."""
        client = self._client()
        number = int(record.trial["number"] or 0)
        run = self._child(number) if runs is None else runs.get(self._trial_id(number))
        digest = mirror.digest(folder / FILE_NAME)
        if run is not None and run.data.tags.get(DIGEST_TAG) == digest:
            return str(run.info.run_id)
        if run is not None and mirror.contradicts(record, run.data.params, run.data.metrics):
            model_card.forget_models(client, self._experiment_id, run.info.run_id)
            client.delete_run(run.info.run_id)
            run = None
        ended = _milliseconds(record.trial["ended"])
        if run is None:
            run = self._create_child(number, str(record.trial["name"]), _milliseconds(record.trial["started"]))
        run_id, present = str(run.info.run_id), run.data.metrics
        facts = {"lanewise.state": record.state, "lanewise.reason": record.reason or ""}
        facts[NOTE] = describe(record, self._experiment_id, run_id)
        client.log_batch(
            run_id,
            # MLflow shows the value of the latest time stamp: what replaces a value needs a later one.
            metrics=mirror.metrics(record, present, self._after(run_id, record, present) if present else ended),
            params=mirror.params(record.params),
            tags=mirror.tags({**record.tags, **facts, **mirror.table_tag()}),
        )
        for path, artifact_folder in mirror.artifacts(record, folder):
            client.log_artifact(run_id, str(path), artifact_folder)
        with mirror.utterance_table(record) as table:
            client.log_artifact(run_id, str(table))
        with image_grid.image_grid(record, folder, ended) as pictures:
            if pictures is not None:
                client.log_artifacts(run_id, str(pictures), image_grid.FOLDER)
                client.log_batch(run_id, tags=mirror.tags(image_grid.TAG))
        if inputs := mirror.datasets(record):
            client.log_inputs(run_id, inputs)
        model_card.log_model(client, record, folder, self._experiment_id, run_id)
        client.set_terminated(run_id, mirror.STATUS[record.state], ended)
        client.set_tag(run_id, DIGEST_TAG, digest)  # last: it says that all of the above is there
        return run_id

    def _after(self, run_id: str, record: Record, present: Mapping[str, float]) -> int:
        """Return a time stamp later than those of the values to be replaced: the clock may have jumped back."""
        replaced = [key for key, value in record.metrics.items() if key in present and present[key] != value]
        points = [point for key in replaced for point in self._client().get_metric_history(run_id, key)]
        return max([_now_ms(), *(int(point.timestamp) + 1 for point in points)])

    def sync_all(self, on_record: Callable[[], None] = lambda: None) -> int:
        """Bring MLflow up to date with every record of the study; return how many runs are in step with theirs.

        Runs that two workers made for one trial, or that belong to no trial's folder, are deleted.
        """
        in_step = 0
        runs = self._attempt(self._children)
        folders = sorted(path.parent for path in (self.study_dir / "trials").glob(f"*/{FILE_NAME}"))
        for folder in folders if runs is not None else []:
            try:
                in_step += self._attempt(partial(self._sync, Record.read(folder), folder, runs)) is not None
            except LanewiseError as error:  # one damaged record must not keep the others from MLflow
                say(f"tracking: left out: {error}")
            on_record()
        return in_step

    def _children(self) -> "dict[str, Run]":
        """Return the run of each trial that has a folder; delete the others."""
        client = self._client()
        numbers = [path.name for path in (self.study_dir / "trials").glob("*") if path.name.isdigit()]
        wanted = {self._trial_id(int(name)) for name in numbers}
        kept: dict[str, Run] = {}
        token = None
        while True:
            page = client.search_runs(
                [self._experiment_id], "tags.`lanewise.kind` = 'trial'", order_by=["attributes.start_time ASC"],
                max_results=1000, page_token=token,
            )  # fmt: skip
            for run in page:
                name = run.data.tags.get("lanewise.trial_id", "")
                if name in wanted and name not in kept:
                    kept[name] = run
                else:
                    client.delete_run(run.info.run_id)
            token = page.token
            if not token:
                return kept

    def log_study(
        self,
        files: Mapping[Path, str | None] | None = None,
        tags: Mapping[str, str] | None = None,
        metrics: Mapping[str, float | None] | None = None,
        finished: bool = False,
        about: Callable[[str, str], str] | None = None,
        view: Mapping[str, str] | None = None,
    ) -> str | None:
        """Write study-level facts to the parent run; return its id, None on trouble.

        Parameters
        ----------
        files
            Files or folders to attach, each with the artifact folder that it goes to (None: the top).
        tags, metrics
            Facts and numbers of the whole study.
        finished
            Whether the study is done.
        about
            Given the ids of the experiment and of the parent run, what both are described by, in Markdown.
        view
            Tags of the experiment: see `bench.trial.view`.
        """

        def log() -> str:
            client = self._client()
            points = mirror.points(metrics or {}, _now_ms())
            client.log_batch(self._parent_id, metrics=points, tags=mirror.tags(tags or {}))
            notes = {} if about is None else {NOTE: about(self._experiment_id, self._parent_id)}
            for key, value in {**(view or {}), **notes}.items():
                client.set_experiment_tag(self._experiment_id, key, value[:5000])
            client.log_batch(self._parent_id, tags=mirror.tags(notes))
            for path, folder in (files or {}).items():
                (client.log_artifacts if path.is_dir() else client.log_artifact)(self._parent_id, str(path), folder)
            if finished:
                client.set_terminated(self._parent_id, "FINISHED")
            else:
                client.update_run(self._parent_id, status="RUNNING")
            return self._parent_id

        return self._attempt(log)

    def set_view(self, view: Mapping[str, str]) -> tuple[str, str] | None:
        """Write a view (`bench.trial.view`) to the study's experiment; return its id and the parent run's, or None."""

        def write() -> tuple[str, str]:
            for key, value in view.items():
                self._client().set_experiment_tag(self._experiment_id, key, value)
            return self._experiment_id, self._parent_id

        return self._attempt(write)

    def _attempt(self, action: Callable[[], T]) -> T | None:
        """Do something with MLflow; on trouble say so once, record the reason and return None."""
        if time.monotonic() < self._quiet_until:
            return None
        try:
            result = action()
        except Exception as error:  # anything that MLflow, its database driver or its server raise
            lines = str(error).strip().splitlines() or [""]
            reason = f"{type(error).__name__}: {redact(lines[0])}"
            if self.trouble is None:
                say(
                    f"tracking: MLflow at {redact(self.uri)} failed ({reason}); "
                    "going on without it: the records stay on disk and can be logged later"
                )
            self.trouble = reason
            self._quiet_until = time.monotonic() + PAUSE_AFTER_TROUBLE_S
            return None
        self.trouble = None
        return result

    def _client(self) -> "MlflowClient":
        """Connect once: open the store, find or make the experiment and the parent run."""
        if self._connected is not None:
            return self._connected
        for key, value in _QUIET_DEFAULTS.items():
            os.environ.setdefault(key, value)
        from mlflow import MlflowClient

        for name in ("alembic", "mlflow.store.db.utils"):
            logging.getLogger(name).setLevel(logging.WARNING)
        # Two workers that set up one SQLite file, or one experiment, at once break each other.
        with exclusive(self.study_dir / ".mlflow.lock"):
            client = MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
            experiment = client.get_experiment_by_name(self.study)
            if experiment is None:
                local = self.uri.startswith("sqlite:")
                location = (self.study_dir / "artifacts").resolve().as_uri() if local else None
                self._experiment_id = client.create_experiment(self.study, artifact_location=location)
            else:
                self._experiment_id = experiment.experiment_id
            self._connected = client
            parent = self._find("lanewise.kind", "study")
            if parent is None:
                parent = client.create_run(
                    self._experiment_id,
                    run_name=self.study,
                    tags={"lanewise.kind": "study", "lanewise.study": self.study},
                )
            self._parent_id = parent.info.run_id
        return client

    def _find(self, tag: str, value: str) -> "Run | None":
        """Return the oldest live run with a tag, so that all workers agree on one."""
        assert self._connected is not None
        quoted = value.replace("'", "")
        found = self._connected.search_runs(
            [self._experiment_id],
            filter_string=f"tags.`{tag}` = '{quoted}'",
            order_by=["attributes.start_time ASC"],
            max_results=1,
        )
        return found[0] if found else None

    def _child(self, number: int) -> "Run | None":
        return self._find("lanewise.trial_id", self._trial_id(number))

    def _create_child(self, number: int, name: str, started_ms: int) -> "Run":
        return self._client().create_run(
            self._experiment_id,
            start_time=started_ms,
            run_name=name,
            tags={
                "mlflow.parentRunId": self._parent_id,
                "lanewise.kind": "trial",
                "lanewise.study": self.study,
                "lanewise.trial_id": self._trial_id(number),
            },
        )

    def _trial_id(self, number: int) -> str:
        return f"{self.study}/{number:04d}".replace("'", "")


def _now_ms() -> int:
    return int(time.time() * 1000)


def _milliseconds(iso: Scalar) -> int:
    return int(datetime.fromisoformat(str(iso)).timestamp() * 1000)
