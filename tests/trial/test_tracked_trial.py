"""A whole trial and MLflow: everything it left is there, and trouble with MLflow is no trouble of the trial."""

from pathlib import Path

import mlflow
import numpy as np
import pytest

from bench.engine.vocoder import Vocoder
from bench.trial.run import run_trial
from bench.trial.tracking import Tracking
from tests.trial.conftest import tiny_config


def test_everything_of_a_trial_is_in_mlflow(tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    tracking = Tracking(tmp_path, "tiny")
    folder = tmp_path / "trials" / "0000"
    record = run_trial(tiny_config(tiny_corpus), folder, study="tiny", tracking=tracking)
    assert tracking.trouble is None
    client = tracking._client()
    (run,) = client.search_runs([tracking._experiment_id], "tags.`lanewise.kind` = 'trial'")
    assert run.info.status == "FINISHED"
    assert run.data.metrics["quality.nll_bits"] == record.metrics["quality.nll_bits"]
    top = {item.path for item in client.list_artifacts(run.info.run_id)}
    files = {"config.yaml", "record.json", "model.lwm", "masks.npz", "snapshots.npz", "utterances.json"}
    assert files | {"audio", "masks", "spectrograms", "images"} == top
    images = {Path(item.path).name for item in client.list_artifacts(run.info.run_id, "images")}
    steps = record.facts["snapshots"]["steps"]
    assert len(images) == 2 * len(steps)
    assert {int(name.split("+")[2]) for name in images} == set(steps)
    assert {name.split("+")[0] for name in images} == {"masks~gru.recurrent"}
    assert run.data.tags["mlflow.loggedImages"] == "True"
    (used,) = run.inputs.dataset_inputs
    assert used.dataset.digest == record.tags["lanewise.data_hash"][:16]
    assert "NLL" in run.data.tags["mlflow.note.content"]
    (made,) = client.search_logged_models([tracking._experiment_id])
    assert (made.source_run_id, made.name) == (run.info.run_id, record.params["arm"].replace(".", "-"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking.uri)
    mel = np.random.default_rng(0).normal(-4, 1, (9, 80)).astype(np.float32)
    spoken = mlflow.pyfunc.load_model(made.model_uri).predict(mel, {"seed": 3})
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert np.array_equal(spoken, Vocoder(folder / "model.lwm").synthesize(mel, seed=3))
    (folder / "record.json").write_text((folder / "record.json").read_text() + "\n")  # changed: it is logged again
    tracking.sync_record(folder)
    assert len(client.list_artifacts(run.info.run_id, "images")) == len(images)
    assert len(client.search_logged_models([tracking._experiment_id])) == 1


def test_tracking_never_stops_a_trial(tiny_corpus: Path, tmp_path: Path) -> None:
    tracking = Tracking(tmp_path, "tiny", "http://127.0.0.1:9")
    record = run_trial(tiny_config(tiny_corpus), tmp_path / "trial", tracking=tracking)
    assert record.state == "complete"
    assert tracking.trouble is not None
