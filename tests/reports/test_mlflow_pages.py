"""MLflow's own pages on a finished study, in a real browser: what a team looks at. Screenshots in build/screenshots."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest
from browser import CHROMIUM, Page, mlflow_server
from synthetic import ARMS, StudyFiles

from bench.trial.pictures import STEPS, save_map, step_path
from bench.trial.record import aggregate
from bench.trial.tracking import Tracking
from bench.trial.view import view_path, view_tags

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (set LANEWISE_CHROMIUM to one)")
PATIENCE_S = 180.0
PLAYER = """(() => { const within = (root) => [...root.querySelectorAll('*')].flatMap((e) =>
  [...(e.tagName === 'AUDIO' && e.duration > 0 ? [e] : []), ...(e.shadowRoot ? within(e.shadowRoot) : [])]);
  return within(document)[0]; })()"""
"""The audio element, which MLflow hides in a shadow tree; it is there once it knows how long the clip is."""
SAYS = "document.body && document.body.innerText.includes({})"


def complete(folder: Path) -> None:
    """Add to a synthetic record what a trial has besides: averages, a packed model, pictures by step, its data."""
    record: dict[str, Any] = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    record["metrics"] |= aggregate(record["utterances"], 0)[0]
    (folder / "model.lwm").write_bytes(folder.name.encode())
    record["artifacts"]["model"] = "model.lwm"
    record["params"]["data.corpus"] = "embedded"
    record["tags"] |= {"lanewise.model_sha256": folder.name, "lanewise.data_hash": "0123456789abcdef-mel1"}
    facts, record["artifacts"][STEPS] = record["facts"]["snapshots"], []
    if record["artifacts"]["masks"]:
        with np.load(folder / "snapshots.npz") as stored:
            for step, bits in zip(facts["steps"], stored["gru.w_hh"], strict=True):
                path = step_path("gru.recurrent", step)
                save_map(np.unpackbits(bits, count=96 * 32).reshape(96, 32).astype(bool), 3, folder / path)
                record["artifacts"][STEPS].append(path)
    (folder / "record.json").write_text(json.dumps(record), encoding="utf-8")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Tracking]]:
    """A server on a study's store, and the bridge that filled it."""
    root = StudyFiles(tmp_path_factory.mktemp("study"), audio=1, hidden=32).write((ARMS[0], ARMS[4], ARMS[5]))
    for path in root.glob("trials/*/record.json"):
        complete(path.parent)
    tracking = Tracking(root, "synthetic", f"sqlite:///{root / 'mlflow.db'}")
    tracking.log_study(view=view_tags("vocoder"), about=lambda experiment, run: "**The fastest arm is** simd-8x1-s70")
    assert tracking.sync_all() == 3
    with mlflow_server(root) as url:
        yield url, tracking


@pytest.fixture
def page(tab: Callable[[], Page]) -> Page:
    opened = tab()
    opened.size(1600, 1000)
    return opened


def shown(page: Page, url: str, *words: str) -> None:
    page.open(url, "true")
    for word in words:
        page.wait(SAYS.format(json.dumps(word)), PATIENCE_S)


def run_of(tracking: Tracking, arm: str) -> Any:
    client = tracking._client()
    found = client.search_runs([tracking._experiment_id], f"params.arm = '{arm}'")
    return found[0].info.run_id


def test_the_table_has_useful_columns_and_says_what_was_found(page: Page, store: tuple[str, Tracking]) -> None:
    url, tracking = store
    page.size(3600, 1000)  # the table draws no columns that are out of sight
    shown(page, url + view_path(tracking._experiment_id), "3 matching runs", "The fastest arm is", "prune.tile", "16x1",
          "quality.nll_bits", "speed.rtf")  # fmt: skip
    page.browser.drain(2)
    page.screenshot("mlflow-table", whole=False)


def test_the_charts_compare_the_arms_and_show_masks_over_training(page: Page, store: tuple[str, Tracking]) -> None:
    url, tracking = store
    page.size(1600, 3200)
    shown(page, url + view_path(tracking._experiment_id, charts=True), "Trade-offs", "Arms", "Training", "Masks",
          "masks/gru.recurrent")  # fmt: skip
    loaded = "[...document.images].filter(i => i.src.includes('masks') && i.naturalWidth > 0).length >= 2"
    page.wait(loaded, PATIENCE_S)
    page.browser.drain(3)
    page.screenshot("mlflow-charts", whole=False)


def test_two_runs_side_by_side(page: Page, store: tuple[str, Tracking]) -> None:
    url, tracking = store
    runs = [run_of(tracking, arm) for arm in ("simd-8x1-s70", "simd-16x1-s70")]
    asked = {"runs": runs, "experiments": [tracking._experiment_id]}
    query = urlencode({key: json.dumps(value, separators=(",", ":")) for key, value in asked.items()})
    shown(page, f"{url}/#/compare-runs?{query}", "8x1", "16x1", "curve.valid_loss")
    page.screenshot("mlflow-compare", whole=False)


def test_a_run_describes_itself_and_its_audio_can_be_heard(page: Page, store: tuple[str, Tracking]) -> None:
    url, tracking = store
    run = f"{url}/#/experiments/{tracking._experiment_id}/runs/{run_of(tracking, 'simd-8x1-s70')}"
    shown(page, run, "bits a sample", "simd-8x1-s70", "embedded")
    page.screenshot("mlflow-run", whole=False)
    shown(page, f"{run}/artifacts/audio/conf-00.wav", "conf-00.wav")
    page.wait(f"{PLAYER} !== undefined", PATIENCE_S)
    assert page.run(f"(async () => {{ const a = {PLAYER}; await a.play(); return !a.paused; }})()")
    page.browser.drain(1)
    page.screenshot("mlflow-audio", whole=False)
