"""A small study run to its end by the commands, on a server of MLflow's: real speech, training, kernels and scores."""

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
from browser import mlflow_server

from bench.data.corpus import EMBEDDED_ROOT

ROOT = Path(__file__).parents[2]
CLIPS = {"train": 12, "valid": 2, "test": 6}
ARMS = ("dense-continued", "simd-16x1-s70", "simd-8x1-s90")
STEPS = 60
STUDY = f"""\
name: small-demo
about: Which structure is fastest, and what does it cost in sound?
base:
  data.corpus: folder:clips
  model: {{init: dense, hidden: 64, head: 16, mixtures: 2}}
  train: {{steps: {STEPS}, dense_steps: 60, batch: 4, validate_every: 20, checkpoint_every: 60}}
  measure: {{metrics: [pesq_wb, estoi], audio_clips: 1, patience_s: 1}}
arms:
  dense-continued: {{}}
  simd-16x1-s70: {{reg.kind: group_lasso, prune.kind: magnitude, prune.tile: 16x1, prune.sparsity: 0.7}}
  simd-8x1-s90: {{reg.kind: group_lasso, prune.kind: magnitude, prune.tile: 8x1, prune.sparsity: 0.9}}
baselines: false
"""


@dataclass(frozen=True)
class Finished:
    """The study in MLflow, and its records."""

    url: str
    experiment: str
    parent: str
    runs: dict[str, str]
    """Arm -> run."""
    records: dict[str, dict[str, Any]]
    """By arm."""
    headline: str
    """What the study found, as the experiment's description begins."""

    def page(self, run: str, place: str = "") -> str:
        """Address of a run's page, or of a place below it."""
        return f"{self.url}/#/experiments/{self.experiment}/runs/{run}{place}"


@contextmanager
def finished(folder: Path) -> Iterator[Finished]:
    """Run the study, its report, and `tracking resync`, which puts the report into MLflow; the server goes on."""
    _copy_clips(folder / "clips")
    (folder / "small.yaml").write_text(STUDY, encoding="utf-8")
    (folder / "server").mkdir()
    with mlflow_server(folder / "server") as url:
        rows = json.loads(_lanewise(folder, "sweep", "run", "small.yaml", "--tracking-uri", url, "--json"))
        assert [(row["arm"], row["state"]) for row in rows] == [(arm, "complete") for arm in ARMS]
        _lanewise(folder, "report", "small-demo")
        _lanewise(folder, "tracking", "resync", "small-demo")
        client = mlflow.MlflowClient(url)
        found = client.get_experiment_by_name("small-demo")
        headline = found.tags["mlflow.note.content"].splitlines()[0].strip("*").replace("\\", "")
        runs = client.search_runs([found.experiment_id])
        arms = {run.data.params["arm"]: run.info.run_id for run in runs if "arm" in run.data.params}
        (parent,) = {run.info.run_id for run in runs} - set(arms.values())
        paths = sorted((folder / "runs" / "small-demo" / "trials").glob("*/record.json"))
        records = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
        by_arm = {record["params"]["arm"]: record for record in records}
        yield Finished(url, found.experiment_id, parent, arms, by_arm, headline)


def _copy_clips(folder: Path) -> None:
    """Copy the shortest clips of each split that say more than a word."""
    folder.mkdir()
    with (EMBEDDED_ROOT / "split.csv").open(encoding="utf-8") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: float(row["seconds"]))
    lines = ["id,split"]
    for split, count in CLIPS.items():
        for row in [row for row in rows if row["split"] == split and float(row["seconds"]) > 1.2][:count]:
            shutil.copy(EMBEDDED_ROOT / "audio" / f"{row['id']}.flac", folder)
            lines.append(f"{row['id']},{split}")
    (folder / "split.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _lanewise(folder: Path, *arguments: str) -> str:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    environment.pop("MLFLOW_TRACKING_URI", None)
    command = [sys.executable, "-c", "from bench.cli.main import main; main()", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout
