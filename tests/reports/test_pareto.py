"""Pareto fronts and ranks, each against a slow or published counterpart."""

import math
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import friedmanchisquare, rankdata
from synthetic import ARMS, ENHANCER_ARMS, Arm, StudyFiles, edit_record, folder_of

from bench.measure.statistics import seed_interval
from reports.analysis import Analysis, analyse
from reports.figures.fronts import MOST_NAMED, data_rtf, data_size, data_throughput, draw_rtf, size_key
from reports.figures.style import write
from reports.loader import load_study
from reports.pareto import AMBIGUOUS, DOMINATED, FRONTIER, UNTIMED, front, on_front, quality_draws
from reports.ranking import critical_difference, friedman, rank
from reports.svg import inline

few = st.integers(0, 3).map(float)


def slow_front(quality: NDArray[np.float64], cost: NDArray[np.float64]) -> list[bool]:
    """By the definition: nobody is as good and as cheap, and better in one."""
    arms = range(len(quality))
    return [
        not any(
            quality[j] >= quality[i] and cost[j] <= cost[i] and (quality[j] > quality[i] or cost[j] < cost[i])
            for j in arms
        )
        for i in arms
    ]


@given(st.lists(st.tuples(few, few), min_size=1, max_size=8))
def test_front_is_that_of_its_definition(points: list[tuple[float, float]]) -> None:
    quality, cost = (np.array(axis) for axis in zip(*points, strict=True))
    assert list(on_front(quality[None], cost[None])[0]) == slow_front(quality, cost)


def test_an_arm_without_a_score_is_on_no_front_and_bars_nobody() -> None:
    found = on_front(np.array([[math.nan, 1.0, 0.0]]), np.array([[0.1, 1.0, 2.0]]))
    assert found.tolist() == [[False, True, False]]


def test_draws_of_seed_means_have_the_spread_of_the_t_interval_and_stay_paired() -> None:
    seeds = {"1": 3.0, "2": 3.2, "3": 3.7}
    one = {seed: {"a": value, "b": value} for seed, value in seeds.items()}
    other = {seed: {"a": value + 0.1, "b": value + 0.1} for seed, value in seeds.items()}
    drawn = quality_draws([one, other], 20_000, np.random.default_rng(0))
    interval = seed_interval(list(seeds.values()))
    assert np.quantile(drawn[:, 0], (0.025, 0.975)) == pytest.approx((interval.low, interval.high), rel=0.05)
    assert drawn[:, 1] - drawn[:, 0] == pytest.approx(0.1)


def test_draws_over_utterances_are_paired_and_skip_missing_scores() -> None:
    one = {"1": {f"u{i}": float(i) for i in range(8)}}
    other = {"1": {f"u{i}": None if i == 3 else i - 1.0 for i in range(8)}}
    drawn = quality_draws([one, {"1": {name: value + 2 for name, value in one["1"].items()}}], 500,
                          np.random.default_rng(0))  # fmt: skip
    assert drawn[:, 1] - drawn[:, 0] == pytest.approx(2.0)
    assert np.isfinite(quality_draws([one, other], 500, np.random.default_rng(0))).all()


@pytest.fixture(scope="module")
def vocoder(tmp_path_factory: pytest.TempPathFactory) -> Analysis:
    arms = [*ARMS, Arm("unsteady", 0.0, 0.02, "16x1", 0.7, verdict="unstable")]
    return analyse(load_study(StudyFiles(tmp_path_factory.mktemp("vocoder"), audio=0).write(arms)))


def test_fronts_find_the_truth_behind_the_records(vocoder: Analysis) -> None:
    points = front(vocoder, "quality.nll_bits", "speed.rtf").set_index("arm")
    assert points["front"]["unsteady"] == UNTIMED
    for arm in ARMS:
        better = [a for a in ARMS if a.loss < arm.loss - 0.02 and a.rtf < arm.rtf - 0.001]
        if better:
            assert points["front"][arm.name] == DOMINATED, arm.name
    for name in ("dense-continued", "simd-8x1-s70", "simd-16x1-s90"):
        assert points["front"][name] == FRONTIER
        assert points["on_line"][name]
    assert points["probability"].dropna().between(0, 1).all()


def test_what_cannot_be_told_apart_is_ambiguous(tmp_path: Path) -> None:
    twins = [ARMS[0], Arm("a", 0.10, 0.05, "8x1", 0.7), Arm("b", 0.1002, 0.05, "16x1", 0.7)]
    points = front(analyse(load_study(StudyFiles(tmp_path, audio=0).write(twins))), "quality.nll_bits", "speed.rtf")
    assert set(points.loc[points["arm"].isin(("a", "b")), "front"]) == {AMBIGUOUS}
    assert points.loc[points["arm"].isin(("a", "b")), "probability"].sum() >= 0.99


def test_few_utterances_call_no_front(tmp_path: Path) -> None:
    analysis = analyse(load_study(StudyFiles(tmp_path, utterances=4, audio=0).write(ARMS[:4])))
    points = front(analysis, "quality.nll_bits", "speed.rtf")
    assert set(points["front"]) == {AMBIGUOUS}
    assert points["probability"].isna().all()


def test_enhancer_fronts_use_memory_and_throughput(tmp_path: Path) -> None:
    root = StudyFiles(tmp_path, utterances=16, audio=0, task="enhancer").write(ENHANCER_ARMS)
    analysis = analyse(load_study(root))
    assert size_key(analysis) == "size.smallest"
    size = data_size(analysis)
    best = size[(size["metric"] == "quality.si_sdr") & (size["front"] == FRONTIER)]
    assert set(best["arm"]) == {"dense-continued", "weight-1x1-s90"}
    assert set(data_throughput(analysis)["key"]) == {"accel.dsp.speedup", "accel.edge_npu.speedup"}
    assert set(data_rtf(analysis)["metric"]) == {"quality.si_sdr", "quality.pesq_wb"}
    assert analysis.value("unit-s50", "size.smallest") == analysis.value("unit-s50", "size.entropy")
    edit_record(folder_of(root, "unit-s50"), lambda record: record["metrics"].update({"size.entropy": None}))
    without = analyse(load_study(root))
    assert without.value("unit-s50", "size.smallest") == without.value("unit-s50", "size.blocks")


@given(st.integers(2, 6), st.integers(3, 9), st.integers(0, 2**32 - 1))
def test_friedman_is_scipys(arms: int, blocks: int, seed: int) -> None:
    scores = np.random.default_rng(seed).integers(0, 4, (blocks, max(arms, 3))).astype(float)
    ranks = rankdata(scores, axis=1)
    if (scores == scores[:, :1]).all():
        assert friedman(ranks) == 1.0
    else:
        assert friedman(ranks) == pytest.approx(friedmanchisquare(*scores.T).pvalue, abs=1e-9)


@pytest.mark.parametrize(("arms", "q"), [(2, 1.960), (3, 2.343), (5, 2.728), (10, 3.164)])
def test_critical_difference_uses_the_published_quantiles(arms: int, q: float) -> None:
    assert critical_difference(arms, 20) == pytest.approx(q * math.sqrt(arms * (arms + 1) / 120), rel=5e-4)


def test_ranks_follow_the_truth(vocoder: Analysis) -> None:
    found = rank(vocoder, "quality.nll_bits")
    assert found is not None
    assert found.arms[0] in ("dense-continued", "unsteady")
    assert found.arms[-1] == "random-16x1-s70"
    assert sum(found.ranks) == pytest.approx(len(found.arms) * (len(found.arms) + 1) / 2)
    assert "random-16x1-s70" not in found.level_with_best()
    assert found.p < 1e-6


def test_of_many_arms_the_dominated_are_one_cloud(tmp_path: Path) -> None:
    many = [Arm(f"arm-{i:03d}", 0.002 * (i % 90), 0.03 + 0.0007 * (i % 70), "16x1", 0.7) for i in range(150)]
    analysis = analyse(load_study(StudyFiles(tmp_path, utterances=8, audio=0, hidden=16).write([ARMS[0], *many])))
    drawn = draw_rtf(analysis)
    for axes in drawn.axes:
        named = [line for line in axes.lines if str(line.get_gid() or "").startswith("point-")]
        (cloud,) = [line for line in axes.lines if str(line.get_gid() or "").startswith("cloud-")]
        assert 1 < len(named) <= MOST_NAMED
        assert len(named) + len(cloud.get_xdata()) == 151
    sure = {arm for arm, verdict in zip(*(data_rtf(analysis)[key] for key in ("arm", "front")), strict=True)
            if verdict == FRONTIER}  # fmt: skip
    assert sure <= set(analysis.arms)
    markup = inline(write(drawn, tmp_path, "front").read_text(encoding="utf-8"), "front", "a front")
    per_arm = Counter(int(number) for number in re.findall(r'class="point" data-arm="(\d+)"', markup))
    assert per_arm == dict.fromkeys(range(151), len(drawn.axes)), "each arm can be pointed at in every panel"
