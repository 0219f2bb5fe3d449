"""What makes MLflow pleasant: descriptions, views, names of models and pictures. Pure, but for one folder."""

import base64
import json
import re
import zlib
from pathlib import Path

import numpy as np
import pytest
from mlflow.models import Model

from bench.trial.described import describe
from bench.trial.image_grid import file_name, image_grid
from bench.trial.mirror import artifacts, datasets
from bench.trial.model_card import model_folder, model_name
from bench.trial.pictures import MAX_CELLS, STEPS, save_map, step_of, step_path
from bench.trial.record import Record, empty_metrics
from bench.trial.view import TAG, view_path, view_tags
from tests.trial.records import example


def test_a_description_has_the_figures_and_the_links() -> None:
    record = example()
    record.metrics |= {"quality.nll_bits.ci_low": 2.4, "quality.nll_bits.ci_high": 2.6, "size.bytes": 12_345.0}
    text = describe(record, "7", "run")
    assert "| NLL, bits a sample | 2.500 | 2.400 to 2.600 |" in text
    assert "| packed model, kB | 12 |  |" in text
    assert "[record](#/experiments/7/runs/run/artifacts/record.json)" in text
    assert "PESQ" not in text


def test_a_description_of_hostile_names_is_plain_text() -> None:
    text = describe(example(state="failed", arm="<img src=x onerror=alert(1)>|**[a](http://x)"), "7", "run")
    head = text.splitlines()[0]
    assert "<img" not in text
    assert re.search(r"\\\|\\\*\\\*\\\[a\\\]\\\(http", head)
    assert "RuntimeError: boom" in head


@pytest.mark.parametrize("task", ["vocoder", "enhancer"])
def test_a_view_fits_its_tag_and_names_metrics_that_exist(task: str) -> None:
    text = view_tags(task, 200)[TAG]
    assert len(text) < 5000
    view = json.loads(zlib.decompress(base64.b64decode(text.removeprefix("deflate;"))))
    known = set(empty_metrics(task)) | {f"curve.{key}" for key in ("train_loss", "valid_loss", "sparsity", "lambda")}
    columns = [key[9:-1] for key in view["selectedColumns"] if key.startswith("metrics.")]
    charts = [chart["metricKey"] for chart in view["compareRunCharts"] if "metricKey" in chart]
    assert [chart["step"] for chart in view["compareRunCharts"] if "step" in chart] == [200], "where masks are final"
    axes = [chart[axis]["key"] for chart in view["compareRunCharts"] for axis in ("xaxis", "yaxis") if axis in chart]
    assert {*columns, *charts, *axes} <= known
    sections = {section["uuid"] for section in view["compareRunSections"]}
    assert {chart["metricSectionId"] for chart in view["compareRunCharts"]} == sections
    assert view_path("3", charts=True).endswith("?viewStateShareKey=lanewise&compareRunsMode=CHART")


def test_pictures_by_step_are_logged_once_under_names_that_mlflow_knows(tmp_path: Path) -> None:
    record = example()
    record.artifacts[STEPS] = [step_path("gru.recurrent", step) for step in (0, 40)]
    rng = np.random.default_rng(0)
    for name in record.artifacts[STEPS]:
        save_map(rng.random((96, 32)) < 0.5, 3, tmp_path / name)
    assert step_of(Path(record.artifacts[STEPS][1])) == ("gru.recurrent", 40)
    assert not any("steps" in str(path) for path, _ in artifacts(record, tmp_path)), "the grid has them"
    names = []
    for _ in range(2):
        with image_grid(record, tmp_path, 1_700_000_000_000) as folder:
            assert folder is not None
            names.append(sorted(path.name for path in folder.iterdir()))
    assert names[0] == names[1]
    named = r"masks~gru\.recurrent\+step\+(0|40)\+timestamp\+1700000000000\+[\da-f-]{36}(\+compressed\.webp|\.png)"
    assert len(names[0]) == 4
    assert all(re.fullmatch(named, name) for name in names[0])
    assert file_name("masks/a", 1, 2) != file_name("masks/a", 2, 2)
    with image_grid(example(), tmp_path, 0) as none:
        assert none is None


def test_a_map_keeps_its_gates_apart(tmp_path: Path) -> None:
    from matplotlib.image import imread

    mask = np.zeros((60, 20), bool)
    mask[:20] = True
    save_map(mask, 3, tmp_path / "map.png")
    picture = imread(tmp_path / "map.png")
    times = MAX_CELLS // 20
    assert picture.shape[:2] == (60 * times + 2 * 4, 20 * times)
    assert picture[0, 0, 2] > picture[0, 0, 0] + 0.2, "kept: blue"
    assert picture[20 * times + 1, 0, 0] > 0.8, "a border: red"
    assert picture[-1, -1, :3].min() > 0.9, "pruned: white"


def test_recordings_and_noise_are_inputs() -> None:
    record = example(**{"data.corpus": "folder:/speech/mine", "data.noise": "folder:/noise/rain"})
    assert datasets(record) == []
    record.tags["lanewise.data_hash"] = "0123456789abcdef-mel1"
    (speech,) = datasets(record)
    assert speech.dataset.name == "mine", "no noise in a vocoder's"
    record.study["task"] = "enhancer"
    (used,) = datasets(record)
    assert (used.dataset.name, used.dataset.digest) == ("mine + rain", "0123456789abcdef")
    assert json.loads(used.dataset.source) == {
        "corpus": "folder:/speech/mine", "noise": "folder:/noise/rain", "data_hash": "0123456789abcdef-mel1",
    }  # fmt: skip


def test_a_models_card_names_its_loader(tmp_path: Path) -> None:
    record: Record = example(arm="odd/name: 100 %")
    (tmp_path / "model.lwm").write_bytes(b"packed")
    assert model_name(record) == "odd-name- 100 -"
    with model_folder(record, tmp_path, "m-1", "run") as folder:
        card = Model.load(str(folder))
        assert card.flavors["python_function"]["loader_module"] == "bench.engine.pyfunc"
        assert (folder / card.flavors["python_function"]["data"]).read_bytes() == b"packed"
        assert [spec.name for spec in card.signature.params] == ["seed", "utterance", "temperature"]
