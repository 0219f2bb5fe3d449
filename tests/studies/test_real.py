"""A tiny study of real trials: corpus, training, packing, synthesis, scores; killed and resumed, by the command."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.data.corpus import EMBEDDED_ROOT
from bench.trial.record import Record

ROOT = Path(__file__).parents[2]
CLIPS = ("digits.17", "digits.19", "digits.h-90", "extension", "sorry")
STUDY = """\
name: real
base:
  data.corpus: folder:{clips}
  model: {{init: dense, hidden: 32, head: 16, mixtures: 2}}
  train: {{steps: 60, dense_steps: 4, batch: 4, validate_every: 30, checkpoint_every: 5}}
  measure: {{metrics: "stoi", audio_clips: 1, speed: false}}
arms:
  dense-continued: {{}}
  simd: {{reg.kind: group_lasso, prune.kind: magnitude, prune.tile: 16x1, prune.sparsity: 0.7}}
baselines: false
objectives: [valid.loss, size.bytes]
"""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("real")
    clips = folder / "clips"
    clips.mkdir()
    for name in CLIPS:
        shutil.copy(EMBEDDED_ROOT / "audio" / f"{name}.flac", clips)
    (folder / "real.yaml").write_text(STUDY.format(clips=clips))
    return folder


def lanewise(workplace: Path, *arguments: str) -> "subprocess.Popen[str]":
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    return subprocess.Popen(
        [sys.executable, "-c", "from bench.cli.main import main; main()", *arguments],
        cwd=workplace,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def table(root: Path) -> list[Any]:
    """Return everything of the records that does not depend on when and how long."""
    rows = []
    for path in sorted((root / "trials").glob("*/record.json")):
        record = Record.read(path)
        audio = [(path.parent / name).read_bytes() for name in record.artifacts["audio"]]
        model = record.tags["lanewise.model_sha256"]
        rows.append([record.state, record.params, record.metrics, record.curves, record.utterances, audio, model])
    return rows


@pytest.fixture(scope="module")
def undisturbed(workplace: Path) -> Path:
    process = lanewise(workplace, "sweep", "run", "real.yaml", "--out", "undisturbed", "--json")
    out, err = process.communicate(timeout=170)
    assert process.returncode == 0, err
    assert [row["state"] for row in json.loads(out)] == ["complete", "complete"]
    return workplace / "undisturbed"


def test_a_study_of_real_trials(undisturbed: Path) -> None:
    rows = table(undisturbed)
    assert len(rows) == 2
    (dense, simd) = (row[2] for row in rows)
    assert simd["size.nonzeros"] < dense["size.nonzeros"]
    assert dense["sparsity.achieved"] is None or dense["sparsity.achieved"] == 0
    references = json.loads((undisturbed / "references.json").read_text())["systems"]
    assert set(references) == {"recording", "copy-synthesis", "griffin-lim"}
    ids = [row["id"] for row in rows[0][4]]
    for system in references.values():
        assert [row["id"] for row in system] == ids
        assert all(row["stoi"] is not None and row["nll_bits"] is None for row in system)
    assert references["recording"][0]["stoi"] > references["copy-synthesis"][0]["stoi"] > 0.8


def test_killed_then_interrupted_then_resumed_gives_the_same_table(workplace: Path, undisturbed: Path) -> None:
    root = workplace / "disturbed"
    process = lanewise(workplace, "sweep", "run", "real.yaml", "--out", root.name)
    _wait_for(process, lambda: any((root / "cache" / "arm").glob(".*.work/*")))
    process.kill()
    process.communicate(timeout=60)
    process = lanewise(workplace, "sweep", "resume", root.name)
    first = root / "trials" / "0000" / "record.json"
    _wait_for(process, lambda: first.exists() and any((root / "cache" / "arm").glob(".*.work/*")))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert f"lanewise sweep resume {root.name}" in err
    process = lanewise(workplace, "sweep", "resume", root.name, "--json")
    out, err = process.communicate(timeout=170)
    assert process.returncode == 0, err
    assert [(row["number"], row["state"]) for row in json.loads(out)] == [(0, "complete"), (1, "complete")]
    assert table(root) == table(undisturbed)


def test_stacked_then_interrupted_then_stacked_again_gives_the_same_table(workplace: Path, undisturbed: Path) -> None:
    root = workplace / "stacked"
    process = lanewise(workplace, "sweep", "run", "real.yaml", "--out", root.name, "--stack", "4")
    _wait_for(process, lambda: len(list((root / "cache" / "arm").glob(".*.work/arm.resume"))) == 2)
    assert not any((root / "cache" / "arm").glob("[!.]*"))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "stack 1: 2 arms" in err
    process = lanewise(workplace, "sweep", "resume", root.name, "--stack", "4", "--json")
    out, err = process.communicate(timeout=170)
    assert process.returncode == 0, err
    assert "arm-steps/s" in err
    assert [(row["number"], row["state"]) for row in json.loads(out)] == [(0, "complete"), (1, "complete")]
    assert table(root) == table(undisturbed)


def _wait_for(process: "subprocess.Popen[str]", happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 150
    while not happened():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.01)
