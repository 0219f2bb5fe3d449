"""Launchers: the one worker command, started by submitit and by Ray on two nodes of this host."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from test_postgresql import MANY, check_whole

from bench.errors import UsageError
from studies import launchers
from studies.folder import StudyFolder
from studies.launchers import read_settings
from studies.run import Options, exit_code, run_study
from studies.study_file import load

Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def rehearse(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LANEWISE_REHEARSAL", "1")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.chdir(tmp_path)


def test_submitit_runs_workers(study_file: Write, tmp_path: Path, database: str) -> None:
    pytest.importorskip("submitit")
    path, root = study_file("", base=MANY.replace("200", "24")), tmp_path / "run"
    options = Options(workers=2, storage=database, tracking_uri="none", launcher="slurm", settings={"cluster": "local"})
    assert exit_code(run_study(load(path), StudyFolder(root), options)) == 0
    assert "LANEWISE_STORAGE" not in os.environ, "the next study of this process has stores of its own"
    check_whole(root, database, 24)
    password = database.split(":")[2].partition("@")[0].encode()
    jobs = [path for path in (tmp_path / "submitit-jobs").rglob("*") if path.is_file()]
    assert jobs
    assert not [path for path in jobs if password in path.read_bytes()]


def test_ray_runs_workers_on_two_nodes(
    study_file: Write, tmp_path: Path, database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ray = pytest.importorskip("ray")
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    path, root = study_file("", base=MANY), tmp_path / "run"
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 4, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=4)
        ray.init(address=cluster.address, log_to_driver=False)
        options = Options(workers=8, storage=database, tracking_uri="none", launcher="ray", settings={"num_cpus": "1"})
        assert exit_code(run_study(load(path), StudyFolder(root), options)) == 0
    finally:
        ray.shutdown()
        cluster.shutdown()
    check_whole(root, database, 200)
    assert "8 workers ended on 2 nodes" in capsys.readouterr().err


def test_a_launcher_that_is_not_installed_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"pip install 'lanewise\[ray\]'"):
        launchers.launcher("ray")


def test_settings() -> None:
    assert read_settings(["a=1", "b=c=d"]) == {"a": "1", "b": "c=d"}
    with pytest.raises(UsageError, match="expected KEY=VALUE"):
        read_settings(["partition"])
