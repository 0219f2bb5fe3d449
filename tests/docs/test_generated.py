"""Generated pages and pictures are those of the code, byte for byte, and what a trial writes is on them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.trial.record import Record
from bench.trial.run import run_trial
from bench.trial.tracking import Tracking
from docs.generate.__main__ import DOCS
from docs.generate.commands import ENVIRONMENT, EXIT_CODES
from docs.generate.records import CURVES, FILES, MLFLOW_TAGS, TAGS
from tests.trial.conftest import tiny_config, tiny_corpus

__all__ = ["tiny_corpus"]


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the documented command writes, in a process of its own: file below docs/ -> text."""
    out = tmp_path_factory.mktemp("generated")
    environment = os.environ | {"PYTHONHASHSEED": "7", "COLUMNS": "60"}  # neither may show
    command = [sys.executable, "-m", "docs.generate", str(out)]
    done = subprocess.run(command, cwd=DOCS.parent, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {path.relative_to(out).as_posix(): path.read_text(encoding="utf-8") for path in out.rglob("*.*")}


def test_what_is_generated_is_up_to_date(generated: dict[str, str]) -> None:
    stale = [name for name, text in generated.items() if (DOCS / name).read_text(encoding="utf-8") != text]
    assert not stale, f"`python -m docs.generate` makes them again: {stale}"


def test_every_reference_page_and_picture_is_generated(generated: dict[str, str]) -> None:
    there = {path.relative_to(DOCS).as_posix() for path in DOCS.glob("reference/*")}
    assert there == {name for name in generated if name.startswith("reference/")}


def test_exit_codes_are_those_that_main_names() -> None:
    from bench.cli.main import main

    words = str(main.__doc__)
    assert all(f"{code} " in words for code in EXIT_CODES)


def test_environment_is_read_somewhere() -> None:
    sources = [
        *DOCS.parent.glob("bench/**/*.py"),
        *DOCS.parent.glob("bench/**/*.cpp"),
        *DOCS.parent.glob("studies/**/*.py"),
    ]
    text = "".join(path.read_text(encoding="utf-8") for path in sources)
    assert not [name for name in ENVIRONMENT if f'"{name}"' not in text]


def test_all_that_a_trial_writes_is_documented(tmp_path: Path, tiny_corpus: Path, generated: dict[str, str]) -> None:
    folder = tmp_path / "study" / "trials" / "0000"
    tracking = Tracking(tmp_path / "study", "study", f"sqlite:///{tmp_path}/mlflow.db")
    config = tiny_config(tiny_corpus, "tune.size=2", "train.steps=6")
    record = run_trial(config, folder, study="study", tracking=tracking)
    assert record.state == "complete", record.reason
    page, keys = generated["reference/results.md"], generated["reference/configuration.md"]
    bare = [key for key in record.metrics if not key.endswith((".ci_low", ".ci_high", ".n", ".n_failed"))]
    assert not [key for key in bare if f"| `{key}` |" not in page]
    assert not [key for key in record.params if f"| `{key}` |" not in keys]
    assert not [tag for tag in record.tags if _family(tag) not in TAGS]
    assert set(record.curves) == set(CURVES)
    written = {path.name for path in folder.iterdir()}
    named = {name.strip(" /") for names in FILES for name in names.split(",")}
    ours = {
        name
        for name in written
        if not name.startswith(".") and name not in ("cache", "trial.json", "masks.safetensors")
    }
    assert ours <= named, ours - named
    assert Record.read(folder).params == record.params

    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=tracking.uri)
    experiment = client.get_experiment_by_name("study")
    assert experiment is not None
    known = {*TAGS, *MLFLOW_TAGS}
    for run in client.search_runs([experiment.experiment_id]):
        assert not [tag for tag in run.data.tags if tag.startswith("lanewise.") and _family(tag) not in known]
        assert not [key for key in run.data.params if f"| `{key}` |" not in keys]


def _family(tag: str) -> str:
    """The tag as the page names it."""
    return "lanewise.metric.NAME" if tag.startswith("lanewise.metric.") else tag
