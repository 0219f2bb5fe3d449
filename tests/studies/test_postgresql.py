"""Studies on PostgreSQL: many workers, a server that restarts, passwords that nobody gets to see."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.errors import LanewiseError
from studies.folder import StudyFolder
from studies.owner import Owner
from studies.rehearsal import STEPS
from studies.run import open_store
from studies.servers import Postgres
from studies.store import Store
from studies.study_file import load

Write = Callable[..., Path]
MANY = """\
name: many
base: {model.init: dense, model.hidden: 64, prune.kind: magnitude, train.steps: 20, train.dense_steps: 20}
search: {prune.sparsity: {float: [0.5, 0.9]}, prune.tile: {choice: [4x1, 8x1, 16x1]}}
mode: random
trials: 200
"""


def lanewise(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    python_path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    environment = {"PYTHONPATH": python_path, "LANEWISE_REHEARSAL": "1", "OMP_NUM_THREADS": "1"} | environment
    return subprocess.run(
        [sys.executable, "-c", "from bench.cli.main import main; main()", *arguments],
        env=os.environ | environment, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


def check_whole(root: Path, database: str, trials: int) -> None:
    """Every trial is there once, its steps were computed once, nothing was left behind."""
    rows = open_store(load(root / "study.yaml"), StudyFolder(root), database).rows()
    assert [row.number for row in rows] == list(range(trials))
    assert {row.state for row in rows} == {"complete"}
    assert len({row.config_hash for row in rows}) == trials
    for row in rows:
        steps = (root / "trials" / f"{row.number:04d}" / "progress.log").read_text().splitlines()
        assert steps == [f"{row.number} {step}" for step in range(1, STEPS + 1)]


def test_eight_workers_finish_two_hundred_trials(study_file: Write, tmp_path: Path, database: str) -> None:
    path, root = study_file("", base=MANY), tmp_path / "run"
    done = lanewise(
        "sweep", "run", str(path), "--out", str(root), "--workers", "8", "--storage", database,
        "--tracking-uri", "none", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)) == 200
    assert "lock" not in done.stderr
    check_whole(root, database, 200)
    password = database.split(":")[2].partition("@")[0]
    assert password not in done.stderr + done.stdout
    leaks = [path for path in root.rglob("*") if path.is_file() and password.encode() in path.read_bytes()]
    assert not leaks, "no file holds the password"


def test_a_restart_of_the_server_is_waited_for(postgres: Postgres, database: str) -> None:
    me, store = Owner.me(), Store(database, "tiny", ["minimize"])
    store.enqueue([{"arm": "a"}, {"arm": "b"}])
    claim = store.claim(me)
    assert claim is not None
    postgres.stop()
    threading.Timer(1.0, postgres.start).start()
    assert store.finish(claim, me, "complete", (1.0,))
    assert [row.state for row in store.rows()] == ["complete", "waiting"]


def test_a_wrong_password_is_said_at_once_and_not_shown(database: str) -> None:
    wrong = database.replace(database.split(":")[2].partition("@")[0], "guessed-it")
    with pytest.raises(LanewiseError, match="password authentication failed") as error:
        Store(wrong, "tiny", ["minimize"])
    assert "guessed-it" not in str(error.value)
