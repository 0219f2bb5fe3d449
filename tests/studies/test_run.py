"""Whole studies with light trials: results, resumption after every kind of end, refusals."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.errors import LanewiseError, UsageError
from bench.trial.record import Record
from studies import rehearsal
from studies.folder import StudyFolder, find
from studies.run import Options, exit_code, open_store, run_study
from studies.study_file import load

Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def rehearse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANEWISE_REHEARSAL", "1")


QUIET = Options(recordings=False, tracking_uri="none")
ARMS = """\
arms:
  dense-continued: {}
  simd: {reg.kind: group_lasso, prune.kind: magnitude, prune.tile: 16x1, prune.sparsity: 0.7}
  lasso: {reg.kind: lasso, prune.kind: magnitude, prune.tile: 1x1, prune.sparsity: 0.7}
baselines: false
"""
TPE = """\
search: {prune.sparsity: {float: [0.5, 0.9]}, prune.tile: {choice: [4x1, 8x1, 16x1]}}
mode: %s
trials: 16
baselines: true
"""
PRUNED = "name: tiny\nbase: {model.init: dense, model.hidden: 64, prune.kind: magnitude}\n"


def table(folder: StudyFolder) -> list[dict[str, Any]]:
    """Return what a report would show of each trial: everything in its record but times."""
    rows = []
    for path in sorted((folder.root / "trials").glob("*/record.json")):
        record = Record.read(path)
        trial = {key: value for key, value in record.trial.items() if key not in ("started", "ended")}
        rows.append({"trial": trial, "state": record.state, "params": record.params, "metrics": record.metrics})
    return rows


def run(path: Path, root: Path, options: Options = QUIET) -> list[Any]:
    return run_study(load(path), StudyFolder(root), options, runner=rehearsal.light_trial)


def start(path: Path, root: Path, **environment: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", "from bench.cli.main import main; main()", "sweep", "run", str(path)]
    python_path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    environment |= {"PYTHONPATH": python_path, "LANEWISE_REHEARSAL": "1"}
    return subprocess.Popen(
        [*command, "--out", str(root), "--tracking-uri", "none"],
        env=os.environ | environment,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_step(root: Path, number: int, step: int) -> None:
    log = root / "trials" / f"{number:04d}" / "progress.log"
    deadline = time.monotonic() + 60
    while not (log.exists() and f"{number} {step}\n" in log.read_text()):
        assert time.monotonic() < deadline, "the study did not get there"
        time.sleep(0.02)


def test_a_study_runs_to_its_end(study_file: Write, tmp_path: Path) -> None:
    rows = run(study_file(ARMS), tmp_path / "run")
    assert [(row.number, row.arm, row.state) for row in rows] == [
        (0, "dense-continued", "complete"),
        (1, "simd", "complete"),
        (2, "lasso", "complete"),
    ]
    assert exit_code(rows) == 0
    for row in rows:
        record = Record.read(tmp_path / "run" / "trials" / f"{row.number:04d}")
        assert row.values == (record.metrics["valid.loss"], record.metrics["speed.rtf"])


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT])
def test_ended_in_the_middle_and_resumed_gives_the_same_table(
    study_file: Write, tmp_path: Path, ending: signal.Signals
) -> None:
    path = study_file(ARMS)
    run(path, tmp_path / "undisturbed")
    root = tmp_path / "run"
    process = start(path, root, LANEWISE_REHEARSAL_STEP_S="0.2")
    wait_for_step(root, 1, 2)
    process.send_signal(ending)
    process.wait(30)
    states = [row.state for row in open_store(load(path), StudyFolder(root)).rows()]
    assert states == ["complete", "running" if ending == signal.SIGKILL else "interrupted", "waiting"]
    rows = run(path, root)
    assert [row.state for row in rows] == ["complete"] * 3
    assert table(StudyFolder(root)) == table(StudyFolder(tmp_path / "undisturbed"))
    for number in range(3):
        steps = (root / "trials" / f"{number:04d}" / "progress.log").read_text().splitlines()
        assert steps == [f"{number} {step}" for step in range(1, rehearsal.STEPS + 1)], "no step twice, none lost"


def test_killed_after_its_record_but_before_saying_so(study_file: Write, tmp_path: Path) -> None:
    path = study_file(ARMS)
    folder = StudyFolder(tmp_path / "run")

    def unlucky(*args: Any, **settings: Any) -> Record:
        rehearsal.light_trial(*args, **settings)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(load(path), folder, QUIET, runner=unlucky)
    rows = run(path, folder.root)
    assert exit_code(rows) == 0
    assert (folder.trial(0) / "progress.log").read_text().count("\n") == rehearsal.STEPS


def test_failed_trials_do_not_stop_the_others(
    study_file: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANEWISE_REHEARSAL_FAIL", "simd")
    rows = run(study_file(ARMS), tmp_path / "run")
    assert [row.state for row in rows] == ["complete", "failed", "complete"]
    assert rows[1].reason == "asked to fail"
    assert exit_code(rows) == 3
    assert exit_code(run(study_file(ARMS), tmp_path / "run")) == 3, "a failed trial is an outcome, not run again"


def test_failed_trials_can_be_run_again(study_file: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, again = tmp_path / "run", Options(recordings=False, tracking_uri="none", retry_failed=True)
    monkeypatch.setenv("LANEWISE_REHEARSAL_FAIL", "simd")
    run(study_file(ARMS), root)
    monkeypatch.delenv("LANEWISE_REHEARSAL_FAIL")
    rows = run(study_file(ARMS), root, again)
    assert [(row.number, row.arm, row.state) for row in rows] == [
        (0, "dense-continued", "complete"),
        (1, "simd", "complete"),
        (2, "lasso", "complete"),
    ]
    for number in range(3):
        assert (root / "trials" / f"{number:04d}" / "progress.log").read_text().count("\n") == rehearsal.STEPS
    with pytest.raises(UsageError, match="its sampler has learnt"):
        run(study_file(TPE % "random", PRUNED), tmp_path / "sampled", again)


def test_a_missing_objective_is_a_failure_with_its_reason(study_file: Write, tmp_path: Path) -> None:
    def untimed(*args: Any, **settings: Any) -> Record:
        record = rehearsal.light_trial(*args, **settings)
        record.metrics["speed.rtf"] = None
        record.reasons["speed.rtf"] = "not measured"
        return record

    rows = run_study(load(study_file(ARMS)), StudyFolder(tmp_path / "run"), QUIET, runner=untimed)
    assert rows[0].state == "failed"
    assert rows[0].reason == "objective speed.rtf is missing: not measured"


def test_equal_settings_run_once(study_file: Write, tmp_path: Path) -> None:
    rows = run(study_file("arms: {a: {}, b: {}, c: {train.lr: 0.01}}\nbaselines: false\n"), tmp_path / "run")
    assert [row.duplicate_of for row in rows] == [None, 0, None]
    assert rows[1].values == rows[0].values
    assert not (tmp_path / "run" / "trials" / "0001").exists()


def test_a_changed_study_file_is_refused_with_the_difference(study_file: Write, tmp_path: Path) -> None:
    run(study_file(ARMS), tmp_path / "run")
    with pytest.raises(UsageError, match=r"(?s)differs.*-.*prune.sparsity: 0.7.*\+.*prune.sparsity: 0.8") as caught:
        run(study_file(ARMS.replace("16x1, prune.sparsity: 0.7", "16x1, prune.sparsity: 0.8")), tmp_path / "run")
    assert caught.value.exit_code == 2
    reworded = ARMS + "about: the same study in other words\n"
    assert exit_code(run(study_file(reworded), tmp_path / "run")) == 0


@pytest.mark.parametrize("mode", ["tpe", "nsga2", "random"])
def test_a_sampled_study_is_the_same_however_often_it_was_interrupted(
    study_file: Write, tmp_path: Path, mode: str
) -> None:
    path = study_file(TPE % mode, PRUNED)
    whole = run(path, tmp_path / "whole")
    assert [row.state for row in whole] == ["complete"] * 16
    drawn = {row.config_hash for row in whole[4:]}
    assert len(drawn) > 8, "a sampler that draws"
    calls = []

    def interrupted(*args: Any, **settings: Any) -> Record:
        calls.append(settings["number"])
        if len(calls) % 3 == 0:
            raise KeyboardInterrupt
        return rehearsal.light_trial(*args, **settings)

    for _ in range(20):
        try:
            rows = run_study(load(path), StudyFolder(tmp_path / "run"), QUIET, runner=interrupted)
            break
        except KeyboardInterrupt:
            continue
    assert [row.config_hash for row in rows] == [row.config_hash for row in whole]
    assert table(StudyFolder(tmp_path / "run")) == table(StudyFolder(tmp_path / "whole"))


def test_more_trials_can_be_asked_for_later(study_file: Write, tmp_path: Path) -> None:
    path = study_file(TPE % "random", PRUNED)
    assert len(run(path, tmp_path / "run", Options(trials=6, recordings=False, tracking_uri="none"))) == 6
    rows = run(path, tmp_path / "run", Options(trials=8, recordings=False, tracking_uri="none"))
    assert [row.state for row in rows] == ["complete"] * 8


def test_find(study_file: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="no study in runs"):
        find(None)
    path = study_file(ARMS)
    StudyFolder(tmp_path / "runs" / "tiny").adopt(load(path), None, None)
    for reference in (None, "tiny", "runs/tiny", str(path)):
        assert find(reference).root.resolve() == tmp_path / "runs" / "tiny"
    with pytest.raises(UsageError, match=re.escape("nor a name below runs/ (tiny)")):
        find("other")
    with pytest.raises(LanewiseError, match="holds no study"):
        StudyFolder(tmp_path / "empty").load()


def test_stores_are_remembered_but_no_password(study_file: Write, tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "run")
    folder.adopt(load(study_file(ARMS)), "postgresql://me:secret@host/db", "http://server:5000")
    kept = json.loads((folder.root / "stores.json").read_text())
    assert kept == {"tracking_uri": "http://server:5000"}
    assert folder.tracking_uri() == "http://server:5000"
    assert folder.storage_url() == f"sqlite:///{folder.root / 'optuna.db'}"


def test_a_changed_study_is_taken_on_when_that_is_meant(study_file: Write, tmp_path: Path) -> None:
    root = tmp_path / "run"
    run(study_file(ARMS), root)
    changed = study_file(ARMS.replace("0.7", "0.8", 1))
    with pytest.raises(UsageError, match="--accept-changes"):
        run(changed, root)
    rows = run(changed, root, Options(recordings=False, tracking_uri="none", accept_changes=True))
    assert [row.state for row in rows] == ["complete"] * 3
    logs = [(root / "trials" / f"{n:04d}" / "progress.log").read_text().count("\n") for n in range(3)]
    assert logs == [rehearsal.STEPS] * 3
    assert Record.read(root / "trials" / "0001").params["prune.sparsity"] == 0.8
    assert Record.read(root / "replaced" / "1" / "0001").params["prune.sparsity"] == 0.7
    assert not (root / "replaced" / "1" / "0000").exists(), "what is the same keeps its result"
    assert run(changed, root)[1].state == "complete"


def test_trained_here_and_timed_there(study_file: Write, tmp_path: Path) -> None:
    path, root = study_file(ARMS), tmp_path / "run"
    rows = run(path, root, Options(recordings=False, tracking_uri="none", timing="later"))
    assert [row.state for row in rows] == ["untimed"] * 3
    assert exit_code(rows) == 130
    assert rows[0].reason == "trained; its timing is left to a quiet host"
    assert Record.read(root / "trials" / "0000").metrics["speed.rtf"] is None
    rows = run(path, root, Options(recordings=False, tracking_uri="none", timing="only"))
    assert [row.state for row in rows] == ["complete"] * 3
    whole = run(path, tmp_path / "whole")
    assert [row.values for row in rows] == [row.values for row in whole]
    assert table(StudyFolder(root)) == table(StudyFolder(tmp_path / "whole"))
    assert (root / "trials" / "0000" / "progress.log").read_text().count("\n") == rehearsal.STEPS, "trained once"


def test_rehearsals_and_real_studies_do_not_mix(
    study_file: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = study_file(ARMS)
    run(path, tmp_path / "run")
    monkeypatch.delenv("LANEWISE_REHEARSAL")
    with pytest.raises(UsageError, match="this study is a rehearsal; set LANEWISE_REHEARSAL"):
        run(path, tmp_path / "run")


def test_a_full_disk_is_the_hosts_trouble_and_no_outcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.trial import files

    assert files.unwritable(tmp_path) is None
    monkeypatch.setattr(files.os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    assert files.unwritable(tmp_path) == f"{tmp_path} cannot be written (No space left on device)"
