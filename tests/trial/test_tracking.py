"""The MLflow mirror on a real SQLite store: keys, repetition, changed records, concurrent workers, dead servers."""

import json
import multiprocessing
import shutil
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from bench.trial.record import Record
from bench.trial.tracking import Tracking, redact
from tests.trial.records import example


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An initialised, empty MLflow database: making one takes seconds, copying one nothing."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def study(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    return tmp_path


def write(study: Path, record: Record) -> Path:
    folder = study / "trials" / f"{record.trial['number']:04d}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "audio").mkdir(exist_ok=True)
    for name in ("model.lwm", "config.yaml", "audio/a.wav"):
        (folder / name).write_bytes(name.encode())
    record.write(folder)
    return folder


def runs(study: Path) -> list[Any]:
    client = MlflowClient(tracking_uri=f"sqlite:///{study / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("demo")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id]))


def children(study: Path) -> list[Any]:
    return [run for run in runs(study) if run.data.tags.get("lanewise.kind") == "trial"]


def test_a_record_becomes_a_child_run_with_every_key(study: Path) -> None:
    folder = write(study, example())
    tracking = Tracking(study, "demo")
    run_id = tracking.sync_record(folder)
    (child,) = children(study)
    (parent,) = [run for run in runs(study) if run.data.tags.get("lanewise.kind") == "study"]
    assert child.info.run_id == run_id
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert child.info.run_name == "t0003-simd-16x1-s70-seed1"
    assert child.info.status == "FINISHED"
    assert child.data.params == {
        "arm": "simd-16x1-s70", "reg.kind": "group_lasso", "reg.lambda": "0.0001", "prune.score": "none",
    }  # fmt: skip
    finals = {key: value for key, value in child.data.metrics.items() if not key.startswith("curve.")}
    assert finals == {"quality.nll_bits": 2.5, "speed.rtf": 0.03, "valid.loss": 2.4}
    assert child.data.tags["lanewise.isa"] == "avx2"
    assert child.info.end_time - child.info.start_time == 90_000
    client = MlflowClient(tracking_uri=f"sqlite:///{study / 'mlflow.db'}")
    curve = client.get_metric_history(run_id, "curve.train_loss")
    assert [(point.step, point.value) for point in curve] == [(0, 3.0), (10, 2.8), (20, 2.6)]
    names = {item.path for item in client.list_artifacts(run_id)}
    assert names == {"record.json", "model.lwm", "config.yaml", "audio", "utterances.json"}
    assert (study / "artifacts").is_dir()
    table = json.loads(Path(client.download_artifacts(run_id, "utterances.json")).read_text())
    assert table["columns"][:4] == ["trial", "arm", "id", "nll_bits"]
    assert len(table["data"]) == 2


def test_mlflow_reads_the_utterance_table(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracking = Tracking(study, "demo")
    tracking.sync_record(write(study, example(1)))
    tracking.sync_record(write(study, example(2)))
    # (mlflow.set_tracking_uri would change the environment for every later test.)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{study / 'mlflow.db'}")
    client = MlflowClient()
    experiment = client.get_experiment_by_name("demo")
    assert experiment is not None
    table = client.load_table(experiment.experiment_id, "utterances.json")
    assert len(table) == 4


def test_repeating_changes_nothing(study: Path) -> None:
    folder = write(study, example())
    first = Tracking(study, "demo").sync_record(folder)
    before = (study / "mlflow.db").read_bytes()
    assert Tracking(study, "demo").sync_record(folder) == first
    assert len(runs(study)) == 2
    assert (study / "mlflow.db").read_bytes() == before


def test_a_changed_metric_updates_the_same_run(study: Path) -> None:
    record = example()
    tracking = Tracking(study, "demo")
    first = tracking.sync_record(write(study, record))
    record.metrics["speed.rtf"] = 0.01  # smaller: MLflow breaks ties of time stamps by the larger value
    assert tracking.sync_record(write(study, record)) == first
    (child,) = children(study)
    assert child.data.metrics["speed.rtf"] == 0.01


@pytest.mark.parametrize("change", ["params", "metric gone"])
def test_what_mlflow_cannot_change_replaces_the_run(study: Path, change: str) -> None:
    tracking = Tracking(study, "demo")
    first = tracking.sync_record(write(study, example()))
    record = example(arm="column-s70") if change == "params" else example()
    if change == "metric gone":
        record.metrics["speed.rtf"] = None
    second = tracking.sync_record(write(study, record))
    assert first != second
    (child,) = children(study)
    assert child.data.params["arm"] == record.params["arm"]
    assert ("speed.rtf" in child.data.metrics) == (change == "params")


def test_states_become_mlflow_states(study: Path) -> None:
    tracking = Tracking(study, "demo")
    states = ("complete", "failed", "stopped_early", "interrupted", "infeasible", "skipped")
    for number, state in enumerate(states):
        tracking.sync_record(write(study, example(number, state)))
    found = {run.data.tags["lanewise.state"]: run.info.status for run in children(study)}
    assert found == {
        "complete": "FINISHED", "failed": "FAILED", "stopped_early": "KILLED",
        "interrupted": "KILLED", "infeasible": "FINISHED", "skipped": "KILLED",
    }  # fmt: skip


def test_a_started_trial_is_the_run_that_its_record_completes(study: Path) -> None:
    record = example()
    tracking = Tracking(study, "demo")
    started = tracking.start_trial(3, str(record.trial["name"]), record.params, {"lanewise.version": "0.1.0"})
    (child,) = children(study)
    assert (child.info.status, child.data.tags["lanewise.state"]) == ("RUNNING", "running")
    assert tracking.sync_record(write(study, record)) == started
    (child,) = children(study)
    assert child.info.status == "FINISHED"
    assert Tracking(study, "demo").start_trial(3, "again", record.params, {}) == started, "a resumed trial"


def test_long_curves_fit_one_batch(study: Path) -> None:
    record = example()
    steps = list(range(5000))
    record.curves = {"step": steps, **{name: [float(s) for s in steps] for name in ("a", "b", "c", "d")}}  # type: ignore[dict-item]
    run_id = Tracking(study, "demo").sync_record(write(study, record))
    assert run_id is not None
    client = MlflowClient(tracking_uri=f"sqlite:///{study / 'mlflow.db'}")
    points = client.get_metric_history(run_id, "curve.d")
    assert 200 < len(points) < 1000
    assert points[-1].step == 4999


def test_everything_is_rebuilt_from_records(study: Path, empty_store: Path) -> None:
    for number in range(3):
        write(study, example(number))
    assert Tracking(study, "demo").sync_all() == 3
    table = sorted((run.info.run_name, sorted(run.data.metrics.items())) for run in children(study))
    shutil.copy(empty_store, study / "mlflow.db")
    assert Tracking(study, "demo").sync_all() == 3
    assert sorted((run.info.run_name, sorted(run.data.metrics.items())) for run in children(study)) == table


def test_a_store_that_fails_is_said_once_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:9")
    folder = write(tmp_path, example())
    tracking = Tracking(tmp_path, "demo")
    assert tracking.sync_record(folder) is None
    assert tracking.start_trial(4, "x", {}, {}) is None
    assert tracking.trouble is not None
    said = capsys.readouterr().err
    assert said.count("going on without it") == 1
    assert "secret" not in said
    assert "secret" not in tracking.trouble


def test_redact() -> None:
    assert redact("postgresql://a:b@host/db and http://host/x@y") == "postgresql://***@host/db and http://host/x@y"


def test_study_facts_go_to_the_parent(study: Path) -> None:
    tracking = Tracking(study, "demo")
    report = study / "report.html"
    report.write_text("<p>hello")
    parent = tracking.log_study({report: None}, {"lanewise.headline": "16x1"}, {"front.size": 3}, finished=True)
    (run,) = runs(study)
    assert run.info.run_id == parent
    assert run.info.status == "FINISHED"
    assert run.data.metrics == {"front.size": 3}
    assert run.data.tags["lanewise.headline"] == "16x1"


def _sync(study: Path, number: int) -> None:
    assert Tracking(study, "demo").sync_record(study / "trials" / f"{number:04d}") is not None


def test_workers_make_one_parent(study: Path) -> None:
    for number in range(3):
        write(study, example(number))
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_sync, args=(study, number)) for number in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    kinds = sorted(run.data.tags["lanewise.kind"] for run in runs(study))
    assert kinds == ["study", "trial", "trial", "trial"]
