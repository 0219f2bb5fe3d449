"""`lanewise tracking resync`: MLflow rebuilt from records, whatever became of it, with the same tables afterwards."""

import contextlib
import shutil
import socket
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.cli.main import main
from bench.trial.behind import Behind
from bench.trial.tracking import Tracking
from reports.analysis import analyse
from reports.loader import load_study
from reports.mirror import mirror
from reports.tables import write_csv
from studies import servers
from studies.servers import Postgres
from tests.trial.records import example

Write = Callable[..., Path]
ARMS = """\
arms:
  dense-continued: {}
  simd: {reg.kind: group_lasso, prune.kind: magnitude, prune.tile: 16x1, prune.sparsity: 0.7}
baselines: false
"""


@pytest.fixture
def lanewise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LANEWISE_REHEARSAL", "1")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def run(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["lanewise", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0)

    return run


def table(uri: str, into: str) -> str:
    """Return the report's table, made from MLflow alone."""
    return write_csv(analyse(load_study(mirror(uri, "tiny", Path(into)))))


def test_the_same_table_from_every_store(
    lanewise: Callable[..., int], study_file: Write, tmp_path: Path, postgres: Postgres
) -> None:
    assert lanewise("sweep", "run", str(study_file(ARMS))) == 0
    local = f"sqlite:///{tmp_path / 'runs' / 'tiny' / 'mlflow.db'}"
    before = table(local, "before")
    assert lanewise("tracking", "resync", "tiny") == 0, "nothing to do is done well"
    assert table(local, "again") == before
    with sqlite3.connect(tmp_path / "runs" / "tiny" / "mlflow.db") as database:
        notes = dict(database.execute("SELECT key, value FROM experiment_tags").fetchall())
        assert "dense-continued" in notes["mlflow.note.content"], "the report's headline"
        assert "viewStateShareKey=lanewise&compareRunsMode=CHART" in notes["mlflow.note.content"]
        assert "mlflow.sharedViewState.lanewise" in notes
    with sqlite3.connect(tmp_path / "runs" / "tiny" / "mlflow.db") as database:  # an accident
        database.execute("DELETE FROM latest_metrics")
        database.execute("DELETE FROM tags WHERE key = 'lanewise.record_sha256'")
    assert lanewise("tracking", "resync", "tiny") == 0
    assert table(local, "mended") == before
    name = f"mlflow{servers.free_port()}"
    postgres.add(name)
    server = servers.mlflow_server(tmp_path, postgres.url(name), servers.free_port())
    with servers.running([server]):
        assert lanewise("tracking", "resync", "tiny", "--tracking-uri", server.url) == 0
        assert table(server.url, "server") == before
        assert lanewise("tracking", "resync", "tiny", "--tracking-uri", server.url) == 0
        assert table(server.url, "twice") == before


def test_a_server_that_is_down_is_said(
    lanewise: Callable[..., int], study_file: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lanewise("sweep", "run", str(study_file(ARMS)), "--tracking-uri", "none") == 0
    gone = f"http://me:s3cret@127.0.0.1:{servers.free_port()}"
    assert lanewise("tracking", "resync", "tiny", "--tracking-uri", gone) == 1
    said = capsys.readouterr().err
    assert "0 of 2 records are there" in said
    assert "s3cret" not in said


@pytest.fixture
def hanging() -> Iterator[str]:
    """A server that takes every connection and never answers."""
    with socket.socket() as listening:
        listening.bind((servers.HOST, 0))
        listening.listen(64)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_a_server_that_hangs_keeps_no_trial_waiting(hanging: str, tmp_path: Path) -> None:
    tracking = Tracking(tmp_path, "demo", hanging)
    folder = tmp_path / "trials" / "0003"
    folder.mkdir(parents=True)
    example().write(folder)
    behind = Behind(tracking)
    with contextlib.suppress(KeyboardInterrupt), behind:
        behind.start_trial(3, "t0003", {}, {})
        behind.sync_record(folder)
        raise KeyboardInterrupt
    assert behind._thread.is_alive(), "it still waits for an answer, and we did not"
    assert tracking.trouble is None


def test_strays_are_removed_and_a_clock_that_jumped_back_changes_nothing(tmp_path: Path) -> None:
    from mlflow import MlflowClient

    tracking = Tracking(tmp_path, "demo")
    folder = tmp_path / "trials" / "0003"
    folder.mkdir(parents=True)
    record = example()
    record.trial |= {"started": "2090-01-01T00:00:00+00:00", "ended": "2090-01-01T00:01:00+00:00"}  # clock was ahead
    record.write(folder)
    assert tracking.sync_all() == 1
    record.metrics["speed.rtf"] = 0.01
    record.write(folder)
    assert tracking.sync_all() == 1
    tracking.start_trial(7, "of a folder that was removed", {}, {})
    assert tracking.sync_all() == 1
    client = MlflowClient(tracking.uri)
    experiment = client.get_experiment_by_name("demo")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id], "tags.`lanewise.kind` = 'trial'")
    assert run.data.metrics["speed.rtf"] == 0.01
    shutil.rmtree(tmp_path / "artifacts")
