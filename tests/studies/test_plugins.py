"""Plug-ins of a study: for every arm, kept in its folder, and the same bytes in every process that works on it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.config import plugins
from bench.config.yaml_lines import ConfigError
from bench.errors import UsageError
from bench.sparsity import catalogue
from studies.folder import StudyFolder
from studies.plan import plan
from studies.study_file import load

Write = Callable[..., Path]
CODE = """\
from bench.sparsity.catalogue import MethodInfo, register
from bench.sparsity.method import Method


@register(MethodInfo("ridge", "regularizer", "", "l2 decay", "this test", "none"))
class Ridge(Method):
    pass
"""
LINES = """\
plugins: [mine/ridge.py]
arms:
  ridge: {reg.kind: ridge, reg.lambda: 0.1}
  plain: {}
baselines: false
"""


@pytest.fixture(autouse=True)
def fresh_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test tables of its own, as a new process has."""
    for module, name in ((catalogue, "METHODS"), (catalogue, "_LOADED"), (plugins, "_SOURCES")):
        monkeypatch.setattr(module, name, dict(getattr(module, name)))


@pytest.fixture
def path(study_file: Write, tmp_path: Path) -> Path:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "ridge.py").write_text(CODE)
    return study_file(LINES)


def sweep(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from bench.cli.main import main; main()", "sweep", *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "LANEWISE_REHEARSAL": "1"}
    return subprocess.run(
        [*command, "--tracking-uri", "none"], env=environment, capture_output=True, text=True, check=False
    )


def test_every_arm_rests_on_them(path: Path) -> None:
    configs = [planned.config for planned in plan(load(path))]
    assert [config.plugins for config in configs if config] == [load(path).plugins] * 2


def test_the_folder_keeps_a_copy_that_other_processes_load(path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    first = sweep("run", path, "--out", folder, "--workers", 2)
    assert first.returncode == 0, first.stderr
    assert (folder / "mine" / "ridge.py").read_text() == CODE
    (tmp_path / "mine" / "ridge.py").unlink()
    again = sweep("resume", "--out", folder)
    assert again.returncode == 0, again.stderr
    assert StudyFolder(folder).load().plugins == load(folder / "study.yaml").plugins


def test_a_changed_one_is_another_study(path: Path, tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "run")
    folder.adopt(load(path), None, None)
    (tmp_path / "mine" / "ridge.py").write_text(CODE + "# changed\n")
    result = sweep("run", path, "--out", folder.root)
    assert "holds results of a study that differs" in result.stderr
    assert "+- mine/ridge.py@" in result.stderr
    assert (folder.root / "mine" / "ridge.py").read_text() == CODE


def test_a_damaged_copy_is_refused(path: Path, tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "run")
    folder.adopt(load(path), None, None)
    (folder.root / "mine" / "ridge.py").write_text(CODE + "# changed\n")
    with pytest.raises(UsageError, match="is not the one that is asked for"):
        folder.load()


def test_they_are_named_at_the_top_alone(study_file: Write) -> None:
    for lines in ("arms: {a: {plugins: [a.py]}}\n", "search: {plugins: {choice: [a.py]}}\n"):
        with pytest.raises(ConfigError, match="plug-ins are of the whole study"):
            load(study_file(lines))


def test_a_broken_one_is_the_only_complaint(path: Path, tmp_path: Path) -> None:
    (tmp_path / "mine" / "ridge.py").write_text("x = (\n")
    with pytest.raises(ConfigError) as caught:
        load(path)
    (problem,) = caught.value.problems
    assert str(problem).startswith(f"{path}:5: plugins[0]: {tmp_path}/mine/ridge.py:1: SyntaxError")
