"""`docs/add-a-method.md` as written: its files are extracted, kept short, and really run."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench.trial.record import Record

ROOT = Path(__file__).parents[2]
TINY = (
    *("model={init: dense, hidden: 16, head: 16, mixtures: 2}", "train.steps=12", "train.batch=2", "train.segment=80"),
    *("train.dense_steps=6", "train.validate_every=4", "measure.metrics=stoi", "measure.audio_clips=1"),
    *("measure.test_clips=1", "measure.speed=false"),
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write every fenced block to the file that its first line names."""
    folder = tmp_path_factory.mktemp("tutorial")
    for name, content in blocks().items():
        (folder / name).write_text(content)
    return folder


def blocks() -> dict[str, str]:
    text = (ROOT / "docs" / "add-a-method.md").read_text()
    found = re.findall(r"```(?:python|yaml)\n(# (\S+)\n.*?)```", text, re.DOTALL)
    return {name: content for content, name in found}


def lanewise(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-c", "from bench.cli.main import main; main()", *arguments]
    done = subprocess.run(
        command, cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_each_file_has_under_40_lines() -> None:
    assert set(blocks()) == {"my_method.py", "trial.yaml", "my_pruner.py", "study.yaml"}
    assert all(len(content.splitlines()) < 40 for content in blocks().values())


def test_the_trial_runs(files: Path, tiny_corpus: Path) -> None:
    overrides = [f"--set={item}" for item in (*TINY, f"data.corpus=folder:{tiny_corpus}")]
    lanewise(files, "trial", "trial.yaml", "--out", "run", *overrides)
    record = Record.read(files / "run")
    assert record.state == "complete"
    assert record.params["reg.kind"] == "log_sum"
    assert record.params["reg.options"] == "edge=0.01"
    assert str(record.params["plugins"]).startswith("my_method.py@")
    tiles = 16 // 8 * 16
    assert record.metrics["sparsity.achieved"] == pytest.approx(round(0.8 * tiles) / tiles)
    assert record.curves["lambda"][1] == 0.1
    assert record.curves["lambda"][-1] == 0.0
    assert (files / "run" / "my_method.py").read_text() == blocks()["my_method.py"]
    json.loads(lanewise(files, "trial", "run/config.yaml", "--dry-run", "--json"))


def test_the_pruner_runs(files: Path, tiny_corpus: Path) -> None:
    overrides = [f"--set={item}" for item in (*TINY, f"data.corpus=folder:{tiny_corpus}")]
    own = ["--set=plugins=[my_pruner.py]", "--set=prune={kind: taylor, tile: 8x1, sparsity: 0.8}"]
    lanewise(files, "trial", "--out", "pruned", *own, *overrides)
    assert Record.read(files / "pruned").metrics["sparsity.achieved"] == pytest.approx(round(0.8 * 96) / 96)


def test_the_study_is_planned(files: Path) -> None:
    arms = {row["arm"] for row in json.loads(lanewise(files, "sweep", "run", "study.yaml", "--dry-run", "--json"))}
    assert {"magnitude", "taylor", "group-lasso", "log-sum", "log-sum-all-gates", "dense-continued"} <= arms
