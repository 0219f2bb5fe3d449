"""Scaling laws of a report, each recomputed from the records themselves."""

import itertools
import json
from pathlib import Path
from statistics import fmean, median
from typing import Any

import pytest

from reports import scaling
from reports.analysis import Analysis, analyse
from reports.figures.scaling import draw
from reports.headline import headline
from reports.loader import load_study
from tests.reports.synthetic import StudyFiles, edit_record, folder_of


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return StudyFiles(tmp_path_factory.mktemp("scaling") / "study").write()


@pytest.fixture(scope="module")
def study(root: Path) -> Analysis:
    return analyse(load_study(root))


def record_of(root: Path, arm: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads((folder_of(root, arm) / "record.json").read_text())
    return found


def clips(root: Path, arm: str) -> dict[str, float]:
    record = json.loads((folder_of(root, arm) / "record.json").read_text())
    return {row["id"]: row["nll_bits"] for row in record["utterances"]}


def test_a_tenth_of_sparsity_costs_the_paired_difference_over_the_tenths(root: Path, study: Analysis) -> None:
    (row,) = scaling.steps(study).to_dict("records")
    less, more = clips(root, "simd-16x1-s70"), clips(root, "simd-16x1-s90")
    assert (row["from"], row["to"]) == (0.7, 0.9)
    assert row["cost"] == pytest.approx(fmean(more[name] - less[name] for name in less) / 2)
    assert row["low"] < row["cost"] < row["high"]


def test_predicted_rtf_is_the_time_to_read_plus_what_a_step_of_that_network_takes_besides(
    root: Path, study: Analysis
) -> None:
    records = {arm: record_of(root, arm) for arm in study.arms}
    step = {arm: sum(record["timing"]["parts_us"].values()) for arm, record in records.items()}
    kernel = {arm: record["metrics"]["speed.kernel_us"] for arm, record in records.items()}
    limit = {arm: kernel[arm] * record["metrics"]["speed.vs_limit"] for arm, record in records.items()}
    besides = {arm: step[arm] - kernel[arm] for arm in study.arms}
    slopes = [
        (besides[b] - besides[a]) / (limit[b] - limit[a])
        for a, b in itertools.combinations(study.arms, 2)
        if limit[a] != limit[b]
    ]
    slope = median(slopes)
    start = median(besides.values()) - slope * median(limit.values())
    found = scaling.predictions(study).set_index("arm")
    assert set(found.index) == set(study.arms)
    for arm, record in records.items():
        expected_us = start + slope * limit[arm] + limit[arm]
        assert found.loc[arm, "ratio"] == pytest.approx(expected_us / step[arm])
        assert found.loc[arm, "predicted"] == pytest.approx(found.loc[arm, "ratio"] * record["metrics"]["speed.rtf"])
    told = next(s.text for s in headline(study) if "read limit predicts" in s.text)
    assert f"{found['ratio'].between(0.85, 1.15).sum()} of {len(found)} arms" in told


def test_nothing_is_predicted_from_networks_of_other_sizes(tmp_path: Path) -> None:
    root = StudyFiles(tmp_path / "study").write()
    for index, arm in enumerate(analyse(load_study(root)).arms):
        size = 32 + 16 * (index // 2)  # two arms a size: fewer than a line needs
        edit_record(folder_of(root, arm), lambda record, size=size: record["params"].update({"model.hidden": size}))
    analysis = analyse(load_study(root))
    assert scaling.predictions(analysis).empty
    assert not any("read limit predicts" in sentence.text for sentence in headline(analysis))
    draw(analysis)


def test_families_hold_what_differs_in_sparsity_alone(study: Analysis) -> None:
    data = scaling.sizes(study)
    grouped = {name: set(group["arm"]) for name, group in data.groupby("family")}
    assert {"simd-16x1-s70", "simd-16x1-s90"} in grouped.values()
    assert {"dense-continued", "small-dense"} in grouped.values()
    assert len(data) == len(study.arms)
    assert data.groupby("family")["nonzeros"].is_monotonic_increasing.all()


def test_a_family_differs_in_nothing_but_sparsity(tmp_path: Path) -> None:
    """The pruned-offline arm at 90 % is no step from the gradual one at 70 %; an int8 study has families too."""
    root = StudyFiles(tmp_path / "study").write()
    edit_record(folder_of(root, "simd-16x1-s90"), lambda record: record["params"].update({"prune.schedule": "offline"}))
    for arm in ("simd-16x1-s70", "simd-16x1-s90"):
        edit_record(folder_of(root, arm), lambda record: record["params"].update({"pack.format": "int8"}))
    analysis = analyse(load_study(root))
    names = scaling.families(analysis)
    assert names["simd-16x1-s70"] != names["simd-16x1-s90"]
    assert scaling.steps(analysis).empty
    assert set(scaling.sizes(analysis)["arm"]) == set(analysis.arms)


def test_a_regularizer_pulled_harder_is_another_family(tmp_path: Path) -> None:
    root = StudyFiles(tmp_path / "study").write()
    for arm, target in (("simd-16x1-s70", 0.35), ("simd-16x1-s90", 0.45)):  # half of the sparsity: the default
        edit_record(folder_of(root, arm), lambda record, target=target: record["params"].update({"reg.target": target}))
    assert len(scaling.steps(analyse(load_study(root)))) == 1
    edit_record(folder_of(root, "simd-16x1-s70"), lambda record: record["params"].update({"reg.target": 0.05}))
    assert scaling.steps(analyse(load_study(root))).empty
