"""Train here, time there: two hosts (processes of their own cache folder and CPU name) with one study between them."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.trial.record import Record
from studies.folder import StudyFolder
from studies.rehearsal import STEPS
from studies.run import open_store
from studies.study_file import load

ROOT = Path(__file__).parents[2]
ON_HOST = "from bench import host; host.cpu_name = lambda: {cpu!r}; from bench.cli.main import main; main()"
STUDY = """\
name: hosts
base: {model.init: dense, model.hidden: 64, prune.kind: magnitude, train.steps: 20, train.dense_steps: 20}
search: {prune.sparsity: {float: [0.5, 0.9]}, prune.tile: {choice: [4x1, 8x1, 16x1]}}
mode: random
trials: 8
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'optuna.db'}"
    return str(request.getfixturevalue("database"))


def test_a_quiet_host_times_what_another_trains(storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANEWISE_REHEARSAL", "1")
    path, root = tmp_path / "hosts.yaml", tmp_path / "run"
    path.write_text(STUDY)

    def lanewise(cpu: str, *words: str) -> "subprocess.Popen[str]":
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
            "LANEWISE_REHEARSAL_STEP_S": "0.02", "LANEWISE_STORAGE": storage,
            "LANEWISE_CACHE": str(tmp_path / cpu),
        }  # fmt: skip
        return subprocess.Popen(
            [sys.executable, "-c", ON_HOST.format(cpu=cpu), *words, "--tracking-uri", "none"],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    trainer = lanewise("loud", "sweep", "run", str(path), "--out", str(root), "--timing", "later", "--json")
    _wait_for(lambda: (root / "trials" / "0000" / "record.json").exists(), trainer)
    quiet = lanewise("quiet", "worker", str(root), "--timing", "only")
    assert json.loads(trainer.communicate(timeout=60)[0])
    assert trainer.returncode in (0, 130)  # as timing keeps up with it
    assert quiet.wait(60) == 0, quiet.communicate()[1]

    rows = open_store(load(root / "study.yaml"), StudyFolder(root), storage).rows()
    assert [(row.number, row.state) for row in rows] == [(number, "complete") for number in range(8)]
    for row in rows:
        place = root / "trials" / f"{row.number:04d}"
        record = Record.read(place / "record.json")
        assert record.tags["lanewise.cpu"] == "quiet"
        assert row.values == (record.metrics["valid.loss"], record.metrics["speed.rtf"])
        steps = (place / "progress.log").read_text().splitlines()
        assert steps == [f"{row.number} {step}" for step in range(1, STEPS + 1)], "trained once"


def _wait_for(happened: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.05)
