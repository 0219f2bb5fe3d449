"""The commands `sweep` and `dashboard` as a user meets them: output, exit codes, stores (trials are light)."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.cli.main import main
from studies import run as studies_run
from studies.rehearsal import light_trial

Write = Callable[..., Path]
ARMS = """\
arms:
  dense-continued: {}
  simd: {reg.kind: group_lasso, prune.kind: magnitude, prune.tile: 16x1, prune.sparsity: 0.7}
baselines: false
"""


@pytest.fixture
def lanewise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run the command in a fresh folder; return exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LANEWISE_REHEARSAL", "1")

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["lanewise", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


def test_run_status_and_mlflow(lanewise: Callable[..., tuple[int, str, str]], study_file: Write) -> None:
    from mlflow import MlflowClient

    path = str(study_file(ARMS))
    code, out, err = lanewise("sweep", "run", path, "--json")
    assert code == 0, err
    rows = json.loads(out)
    assert [(row["arm"], row["state"]) for row in rows] == [("dense-continued", "complete"), ("simd", "complete")]
    code, out, _ = lanewise("sweep", "status", "--json")
    assert (code, json.loads(out)) == (0, rows)
    code, out, _ = lanewise("sweep", "status", "tiny")
    assert code == 0
    assert "tiny: 2 trials: 2 complete" in out
    code, out, _ = lanewise("sweep", "status", "--watch")
    assert (code, "2 of 2 trials: 2 complete\ndone" in out, "front so far" in out) == (0, True, True)
    assert lanewise("sweep", "status", "--watch", "--json")[0] == 2

    client = MlflowClient(f"sqlite:///{Path('runs/tiny/mlflow.db').resolve()}")
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    assert len(parents) == 1
    assert parents[0].data.metrics["trials.complete"] == 2
    assert parents[0].data.tags["lanewise.margin.nll_bits"] == "0.02"
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parents[0].info.run_id}
    assert sorted(run.data.params["arm"] for run in children) == ["dense-continued", "simd"]


def test_dry_run_runs_nothing(lanewise: Callable[..., tuple[int, str, str]], study_file: Write) -> None:
    path = str(study_file(ARMS))
    code, out, _ = lanewise("sweep", "run", path, "--dry-run", "--set", "train.steps=7", "--json")
    assert code == 0
    assert [(row["arm"], row["state"], row["train.steps"]) for row in json.loads(out)] == [
        ("dense-continued", "new", 7),
        ("simd", "new", 7),
    ]
    code, out, _ = lanewise("sweep", "run", path, "--dry-run")
    assert code == 0
    assert "estimated cost" in out
    assert not Path("runs").exists()


def test_exit_codes(
    lanewise: Callable[..., tuple[int, str, str]], study_file: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(study_file(ARMS))
    monkeypatch.setenv("LANEWISE_REHEARSAL_FAIL", "simd")
    code, _, err = lanewise("sweep", "run", path)
    assert code == 3
    assert "asked to fail" in err
    study_file(ARMS.replace("0.7", "0.8"))
    code, _, err = lanewise("sweep", "run", path)
    assert code == 2
    assert "+    prune.sparsity: 0.8" in err
    code, _, err = lanewise("sweep", "run", str(study_file(ARMS + "bas: 1\n")))
    assert code == 2
    assert f"{path}:9: bas: unknown key; did you mean 'base'?" in err
    code, _, err = lanewise("sweep", "run", path, "--storage", "optuna.db", "--out", "other")
    assert code == 2
    code, _, err = lanewise("sweep", "resume", "nothing")
    assert code == 2
    assert "is no study's folder" in err


def test_stop_ends_after_the_trial_and_resume_goes_on(
    lanewise: Callable[..., tuple[int, str, str]], study_file: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    from studies.folder import find
    from studies.run import open_store

    def stopping(*args: object, **settings: object) -> object:
        record = light_trial(*args, **settings)  # type: ignore[arg-type]
        folder = find("tiny")
        open_store(folder.load(), folder).set_attribute("stop", 1.0)
        return record

    monkeypatch.setattr(studies_run, "default_runner", lambda: stopping)
    code, _, err = lanewise("sweep", "run", str(study_file(ARMS)))
    assert code == 130
    assert "lanewise sweep resume runs/tiny" in err
    monkeypatch.setattr(studies_run, "default_runner", lambda: light_trial)
    code, out, _ = lanewise("sweep", "resume", "--json")
    assert code == 0
    assert [row["state"] for row in json.loads(out)] == ["complete", "complete"]
    code, _, err = lanewise("sweep", "stop", "tiny")
    assert code == 0
    assert "0 trials running" in err


def test_dashboard_answers(lanewise: Callable[..., tuple[int, str, str]], study_file: Write) -> None:
    import socket

    code, _, err = lanewise("sweep", "run", str(study_file(ARMS)))
    assert code == 0, err
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, _, err = lanewise("dashboard", "tiny", "--port", str(port))
        assert code == 1
        assert f"port {port} is taken" in err
    code, _, err = lanewise("dashboard", "tiny", "--port", str(port), "--check")
    assert code == 0, err
    assert f"tiny, trials: http://127.0.0.1:{port}/#/experiments/" in err
    assert "viewStateShareKey=lanewise&compareRunsMode=CHART" in err
    assert re.search(rf"Optuna, tiny: http://127.0.0.1:{port + 1}/dashboard/studies/\d+", err)
