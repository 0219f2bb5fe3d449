"""Numbers on the page against a reader that knows nothing of the report's code; intervals against what they promise."""

import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from synthetic import ARMS, Arm, StudyFiles, edit_record, folder_of

from bench.measure.statistics import arm_difference
from reports.analysis import analyse
from reports.build import build_report
from reports.compare import estimate
from reports.figures.speedup import crossing
from reports.figures.speedup import data as break_even
from reports.loader import load_study
from reports.page_table import rows as table_rows_of_page
from reports.pareto import front
from reports.speed import speed_estimate

SEEDS = (1, 2, 3)
SHOWN = (
    Arm("dense-continued", 0.0, 0.120, seeds=SEEDS),
    Arm("simd-16x1-s50", 0.060, 0.130, "16x1", 0.5, "group", seeds=SEEDS),
    Arm("simd-16x1-s70", 0.120, 0.051, "16x1", 0.7, "group", seeds=SEEDS),
    Arm("alone", 0.310, 0.049, "column", 0.7, "group"),
)
T_975_AT_2 = 4.302652729911275


class Tables(HTMLParser):
    """Every table of a page: rows of (text, value to sort by, class)."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tables: list[list[list[tuple[str, str | None]]]] = []
        self._cell: tuple[list[str], str | None] | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.tables.append([])
        elif tag == "tr" and self.tables:
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self._cell = ([], dict(attrs).get("data-sort"))
        elif tag == "small" and self._cell:
            self._cell[0].append("|")

    def handle_data(self, data: str) -> None:
        if self._cell is not None:
            self._cell[0].append(data.strip())

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th") and self._cell is not None:
            self.tables[-1][-1].append(("".join(self._cell[0]), self._cell[1]))
            self._cell = None


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return StudyFiles(tmp_path_factory.mktemp("study"), audio=0, hidden=32).write(SHOWN)


@pytest.fixture(scope="module")
def main_table(study: Path) -> dict[str, dict[str, tuple[str, float]]]:
    rows = Tables(build_report(study).read_text(encoding="utf-8")).tables[0]
    headings = [text for text, _ in rows[0]]
    found: dict[str, dict[str, tuple[str, float]]] = {}
    for row in rows[1:]:
        cells = {heading: (text, float(value or "nan")) for heading, (text, value) in zip(headings, row, strict=True)}
        found[row[0][0].split("|")[0]] = cells
    return found


def records(study: Path, arm: str) -> list[dict[str, Any]]:
    found = [json.loads(path.read_text()) for path in sorted(study.glob("trials/*/record.json"))]
    return [record for record in found if record["params"]["arm"] == arm]


@pytest.mark.parametrize("arm", [arm.name for arm in SHOWN])
@pytest.mark.parametrize(
    ("heading", "metric", "decimals"), [("NLL, bit/sample ↓", "nll_bits", 3), ("PESQ-wb, MOS-LQO ↑", "pesq_wb", 2)]
)
def test_scores_on_the_page(
    study: Path, main_table: dict[str, dict[str, tuple[str, float]]], arm: str, heading: str, metric: str, decimals: int
) -> None:
    """Three seeds: mean of the seed means and Student's t over them; the lone seed: near t over the utterances."""
    text, value = main_table[arm][heading]
    by_seed = np.array([[row[metric] for row in record["utterances"]] for record in records(study, arm)])
    assert value == pytest.approx(by_seed.mean(), rel=1e-12)
    assert text.split("|")[0] == f"{by_seed.mean():.{decimals}f}"
    low, high = (float(bound) for bound in re.findall(r"-?\d+\.\d+", text.split("|")[1]))
    if len(by_seed) == 3:
        means = by_seed.mean(axis=1)
        half = T_975_AT_2 * means.std(ddof=1) / math.sqrt(3)
        assert (low, high) == pytest.approx((means.mean() - half, means.mean() + half), abs=0.51 * 10**-decimals)
    else:
        half = 2.201 * by_seed[0].std(ddof=1) / math.sqrt(by_seed.shape[1])
        assert (low, high) == pytest.approx((value - half, value + half), abs=0.3 * half)


@pytest.mark.parametrize("arm", [arm.name for arm in SHOWN[1:]])
def test_differences_on_the_page(study: Path, main_table: dict[str, dict[str, tuple[str, float]]], arm: str) -> None:
    text, value = main_table[arm]["Δ NLL to dense-continued"]
    dense = {record["params"]["seed.recover"]: record for record in records(study, "dense-continued")}
    means = []
    for record in records(study, arm):
        base = {row["id"]: row["nll_bits"] for row in dense[record["params"]["seed.recover"]]["utterances"]}
        means.append(np.mean([row["nll_bits"] - base[row["id"]] for row in record["utterances"]]))
    assert value == pytest.approx(np.mean(means), abs=1e-12)
    shown, interval, verdict = re.match(r"([+-]\d\.\d+)\|\[(.*)\]\|(.*)", text).groups()  # type: ignore[union-attr]
    assert shown == f"{np.mean(means):+.3f}"
    low, high = map(float, interval.split(", "))
    if len(means) == 3:
        half = T_975_AT_2 * np.std(means, ddof=1) / math.sqrt(3)
        assert (low, high) == pytest.approx((value - half, value + half), abs=0.00051)
    assert verdict == ("inferior" if low > 0.02 else "open" if high > 0.02 else "non-inferior")


def test_speeds_and_sizes_on_the_page(study: Path, main_table: dict[str, dict[str, tuple[str, float]]]) -> None:
    for arm in (arm.name for arm in SHOWN):
        for heading, key in (("RTF ↓", "speed.rtf"), ("× dense ↑", "speed.vs_dense"), ("size, kB ↓", "size.bytes"),
                             ("sparsity", "sparsity.achieved"), ("RTF, int8 ↓", "speed.rtf_int8")):  # fmt: skip
            expected = np.mean([record["metrics"][key] for record in records(study, arm)])
            assert main_table[arm][heading][1] == pytest.approx(expected, rel=1e-12), (arm, heading)
    parts = records(study, "dense-continued")[0]["timing"]["parts_us"]
    share = parts["gru"] / sum(parts.values())
    sparsity = np.mean([record["metrics"]["sparsity.achieved"] for record in records(study, "simd-16x1-s70")])
    shown = main_table["simd-16x1-s70"]["× dense, theory"][1]
    assert shown == pytest.approx(1 / (1 - share * sparsity), rel=1e-9)


def test_front_probability_against_plain_resampling(tmp_path: Path) -> None:
    """One seed: utterances drawn with replacement, the naive way; RTFs lie far apart."""
    arms = [ARMS[0], Arm("a", 0.100, 0.06, "8x1", 0.7), Arm("b", 0.1035, 0.05, "16x1", 0.7),
            Arm("c", 0.1015, 0.04, "4x1", 0.7)]  # fmt: skip
    root = StudyFiles(tmp_path, audio=0).write(arms)
    points = front(analyse(load_study(root)), "quality.nll_bits", "speed.rtf").set_index("arm")
    scores = {arm.name: np.array([row["nll_bits"] for row in records(root, arm.name)[0]["utterances"]]) for arm in arms}
    rng = np.random.default_rng(1)
    counts = dict.fromkeys(scores, 0)
    for _ in range(2000):
        drawn = rng.integers(0, 12, 12)
        means = {name: values[drawn].mean() for name, values in scores.items()}
        for arm in arms:
            counts[arm.name] += not any(
                means[other.name] <= means[arm.name] and other.rtf < arm.rtf for other in arms if other is not arm
            )
    for name, count in counts.items():
        assert points["probability"][name] == pytest.approx(count / 2000, abs=0.05), name


def test_break_even_recomputed_by_hand(study: Path) -> None:
    points = break_even(analyse(load_study(study)))
    f32 = points[(points["structure"] == "16x1") & (points["format"] == "f32")]
    low, high = records(study, "simd-16x1-s50"), records(study, "simd-16x1-s70")
    s = [np.mean([r["metrics"]["sparsity.achieved"] for r in rs]) for rs in (low, high)]
    v = [np.mean([r["metrics"]["speed.vs_dense"] for r in rs]) for rs in (low, high)]
    assert v[0] < 1 < v[1]
    assert crossing(f32) == pytest.approx(s[0] + (1 - v[0]) / (v[1] - v[0]) * (s[1] - s[0]), rel=1e-9)
    int8 = points[(points["arm"] == "simd-16x1-s70") & (points["format"] == "int8")]["speedup"].iloc[0]
    assert int8 == pytest.approx(0.120 / 0.051, rel=1e-9)


def test_each_network_is_held_against_its_own_dense_form(tmp_path: Path) -> None:
    """Two sizes: int8, theory and the break-even line of the smaller one know nothing of the larger one."""
    large = StudyFiles(tmp_path, audio=0)
    large.write([Arm("dense-continued", 0.0, 0.12), Arm("large-s70", 0.1, 0.06, "16x1", 0.7)])
    small = StudyFiles(tmp_path, audio=0, hidden=32, number=large.number)
    small.write([Arm("small-dense", 0.05, 0.06), Arm("small-s50", 0.2, 0.05, "16x1", 0.5)])
    analysis = analyse(load_study(tmp_path))
    assert analysis.dense == {
        "dense-continued": "dense-continued", "large-s70": "dense-continued",
        "small-dense": "small-dense", "small-s50": "small-dense",
    }  # fmt: skip
    points = break_even(analysis).set_index(["arm", "format"])
    assert points.loc[("small-s50", "int8"), "speedup"] == pytest.approx(0.06 / 0.05)
    assert points.loc[("large-s70", "int8"), "speedup"] == pytest.approx(2.0)
    assert set(points["structure"]) == {"16x1, 64 units", "16x1, 32 units"}
    parts = records(tmp_path, "small-dense")[0]["timing"]["parts_us"]
    left = 1 - parts["gru"] / sum(parts.values()) * records(tmp_path, "small-s50")[0]["metrics"]["sparsity.achieved"]
    assert analysis.value("small-s50", "speed.theory") == pytest.approx(1 / left)


def test_an_unstable_int8_timing_is_said_of_that_figure_alone(tmp_path: Path) -> None:
    root = StudyFiles(tmp_path, audio=0).write([ARMS[0], ARMS[4]])
    edit_record(folder_of(root, ARMS[4].name), lambda r: r["tags"].update({"lanewise.timing_verdict_int8": "unstable"}))
    analysis = analyse(load_study(root))
    columns = [column.key for column in analysis.columns]
    row = next(row for row in table_rows_of_page(analysis) if row["arm"] == ARMS[4].name)
    shift = columns.index(analysis.primary) < columns.index("speed.rtf")  # the difference has a cell of its own
    notes = {key: row["cells"][place + shift].note for place, key in enumerate(columns) if key.startswith("speed.")}
    assert {key for key, note in notes.items() if "not stable" in note} == {"speed.rtf_int8"}
    stable = break_even(analysis).set_index("format")["stable"]
    assert (stable["f32"], stable["int8"]) == (True, False)


@pytest.mark.parametrize("trials", [1, 2])
def test_speed_intervals_of_few_trials_cover_what_they_promise(trials: int) -> None:
    rng = np.random.default_rng(trials)
    covered = 0
    for _ in range(1500):
        samples = {("a", str(i), "model"): 10 + rng.normal(0, 0.2, 21) for i in range(trials)}
        values = {str(i): float(np.median(samples["a", str(i), "model"])) for i in range(trials)}
        timed: Any = SimpleNamespace(values=lambda arm, key, v=values: list(v.items()), samples=samples)
        found = speed_estimate(timed, "a", "speed.rtf")
        covered += found.ci_low <= 10 <= found.ci_high
    assert 0.93 <= covered / 1500 <= 0.97


@pytest.mark.parametrize(("seeds", "utterances"), [(1, 5), (1, 8), (1, 12), (2, 8), (2, 31), (3, 12), (3, 31), (5, 12)])
def test_intervals_of_arms_and_differences_cover_what_they_promise(seeds: int, utterances: int) -> None:
    """Synthetic studies of the sizes in use. With three seeds and more the truth is that of all training runs; with
    fewer it is that of these models over all utterances."""
    rng = np.random.default_rng([seeds, utterances])
    trials, covered, covered_mean = 1500, 0, 0
    names = [f"u{i}" for i in range(utterances)]
    for _ in range(trials):
        clips = rng.normal(0, 0.3, utterances)
        run = rng.normal(0, 0.02, (2, seeds)) if seeds >= 3 else np.zeros((2, seeds))
        shape = (seeds, utterances)
        base = 3 + clips + run[0][:, None] + rng.gamma(2.0, 0.01, shape)
        arm = 3.1 + clips + run[1][:, None] + rng.gamma(2.0, 0.01, shape)
        tables = [
            {seed: dict(zip(names, map(float, scores), strict=True)) for seed, scores in enumerate(side)}
            for side in (arm, base)
        ]
        found = arm_difference(*tables)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0.1 <= found.high
        own = estimate({str(seed): scores for seed, scores in tables[0].items()})
        truth = 3.1 + 0.02 + (clips.mean() if seeds >= 3 else 0.0)
        covered_mean += own.ci_low <= truth <= own.ci_high
    assert 0.90 <= covered / trials <= 0.97
    assert 0.90 <= covered_mean / trials <= 0.97
