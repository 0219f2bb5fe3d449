"""Verdicts, intervals and data behind plots, each against a slow or obvious counterpart."""

import math
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t as student

from bench.measure.statistics import seed_interval
from reports.columns import Column
from reports.compare import (
    OVER_SEEDS,
    ROUNDING,
    Estimate,
    Scores,
    difference,
    estimate,
    not_worse_than_best,
    score_tables,
    verdict,
)
from reports.figures.speedup import crossing
from reports.needed import more_seeds
from reports.speed import is_stable, median_interval, ratio_interval, ratio_of, speed_estimate

NLL = Column("quality.nll_bits", "NLL", "lower", 3, "")
PESQ = Column("quality.pesq_wb", "PESQ", "higher", 2, "")
finite = st.floats(-1, 1, allow_nan=False)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-0.05, -0.01, "better"),
        (-0.01, 0.01, "non-inferior"),
        (0.005, 0.015, "non-inferior"),  # significantly worse, yet by less than the margin
        (-0.01, 0.03, "open"),
        (0.01, 0.03, "open"),
        (0.03, 0.05, "inferior"),
    ],
)
def test_verdict_of_a_loss_against_a_margin(low: float, high: float, expected: str) -> None:
    assert verdict(-1, low, high, 0.02) == expected
    assert verdict(+1, -high, -low, 0.02) == expected  # the same where more is better


@given(low=finite, width=st.floats(0, 1), margin=st.floats(0.001, 0.5))
def test_verdict_by_cases(low: float, width: float, margin: float) -> None:
    """The gain g lies anywhere in [low, high]: ask of the whole interval what each word claims."""
    high = low + width
    claims = {
        "better": low > ROUNDING,
        "non-inferior": -margin < low <= ROUNDING,
        "inferior": high < -margin,
    }
    expected = next((word for word, holds in claims.items() if holds), "open")
    assert verdict(+1, low, high, margin) == expected
    assert verdict(+1, low, high, None) == ("better" if low > ROUNDING else "worse" if high < -ROUNDING else "open")


def test_the_same_model_scored_on_another_cpu_is_not_better() -> None:
    assert verdict(+1, 2e-15, 4e-12, 0.1) == "non-inferior"
    assert verdict(+1, 2e-15, 4e-12, None) == verdict(-1, 2e-15, 4e-12, None) == "open"


def tables(arms: dict[str, list[list[float | None]]], metric: str = NLL.key) -> Scores:
    """Scores of arms as seeds of utterances."""
    rows = [
        {"arm": arm, "seed": str(seed), "utterance": f"u{i:02d}", "metric": metric,
         "value": math.nan if value is None else value}
        for arm, seeds in arms.items()
        for seed, values in enumerate(seeds)
        for i, value in enumerate(values)
    ]  # fmt: skip
    return score_tables(pd.DataFrame(rows))


@given(st.lists(st.one_of(st.none(), finite), min_size=2, max_size=12), st.integers(1, 3))
def test_estimate_counts_and_averages_what_is_there(values: Sequence[float | None], seeds: int) -> None:
    found = estimate(tables({"a": [list(values)] * seeds})["a", NLL.key])
    present = [value for value in values if value is not None]
    assert (found.n, found.n_failed) == (seeds * len(present), seeds * (len(values) - len(present)))
    if present:
        assert found.value == pytest.approx(sum(present) / len(present), abs=1e-12)
    else:
        assert math.isnan(found.value)


def test_pairing_finds_what_spread_hides() -> None:
    rng = np.random.default_rng(3)
    clips = 3 + rng.normal(0, 1, 12)
    scores = tables({"base": [list(clips)], "arm": [list(clips + 0.05 + rng.normal(0, 0.01, 12))]})
    found = difference(scores, "arm", "base", NLL, 0.02)
    assert (found.verdict, found.significant) == ("inferior", True)
    own = estimate(scores["arm", NLL.key])
    assert own.ci_high - own.ci_low > 10 * (found.ci_high - found.ci_low)


def test_missing_scores_drop_their_pairs_only() -> None:
    scores = tables({"base": [[1.0, 2, 3, 4, 5, 6, None, 8]], "arm": [[2.0, None, 4, 5, 6, 7, 8, 9]]})
    found = difference(scores, "arm", "base", NLL)
    assert (found.value, found.n_pairs, found.n_dropped) == (pytest.approx(1), 6, 2)
    assert found.verdict == "worse"


def test_two_seeds_speak_of_these_models_and_three_of_seeds() -> None:
    rng = np.random.default_rng(5)
    seeds = [list(3 + rng.normal(0, 0.1, 8)) for _ in range(3)]
    worse = [[value + 0.1 for value in scores] for scores in seeds]
    two = difference(tables({"base": seeds[:2], "arm": worse[:2]}), "arm", "base", NLL)
    three = difference(tables({"base": seeds, "arm": worse}), "arm", "base", NLL)
    assert (two.basis, three.basis) == ("over utterances, this model only", "over seeds")


def test_marks_follow_the_direction() -> None:
    values = {"low": [list(np.arange(8.0))], "high": [list(np.arange(8.0) + 1)]}
    assert not_worse_than_best(tables(values), ["low", "high"], NLL) == {"low"}
    assert not_worse_than_best(tables(values, PESQ.key), ["low", "high"], PESQ) == {"high"}


def test_every_clip_worse_is_not_shown_worse_where_one_clip_says_nearly_all() -> None:
    """Eight clips: their interval knows of skewness, and reaches zero; of twelve no resample's mean would be better."""
    for clips, shown in ((8, False), (12, True)):
        rival = [0.01] * (clips - 1) + [1.0]
        scores = tables({"best": [[0.0] * clips], "rival": [rival]})
        assert (not_worse_than_best(scores, ["best", "rival"], NLL) == {"best"}) == shown
        assert (difference(scores, "rival", "best", NLL).verdict == "worse") == shown


def test_an_arm_that_cannot_be_compared_with_the_best_is_not_marked() -> None:
    scores = tables({"best": [[1.0] * 8], "few": [[1.1, *[None] * 7]]})
    assert not_worse_than_best(scores, ["best", "few"], NLL) == {"best"}


SAMPLES: dict[str, Callable[[np.random.Generator, int], Any]] = {
    "exponential": lambda rng, n: 10 + rng.exponential(size=n),
    "normal": lambda rng, n: 10 + math.log(2) + rng.normal(0, 0.1, n),
    "lognormal": lambda rng, n: 9 + math.log(2) + rng.lognormal(0, 1, n),
    "uniform": lambda rng, n: 9.5 + math.log(2) + rng.random(n),
}
"""Timings of one median, 10 + ln 2."""


@pytest.mark.parametrize("shape", SAMPLES)
@pytest.mark.parametrize("n", [6, 15, 21, 40])
def test_median_and_ratio_intervals_cover_what_they_promise(n: int, shape: str) -> None:
    rng = np.random.default_rng(n)
    covered = covered_ratio = 0
    for _ in range(2000):
        sides = []
        for _ in range(2):
            samples = SAMPLES[shape](rng, n)
            low, high = median_interval(samples)
            sides.append((low, float(np.median(samples)), high))
        covered += sides[0][0] <= 10 + math.log(2) <= sides[0][2]
        low, _, high = ratio_interval(*sides)
        covered_ratio += low <= 1 <= high
    assert 0.93 <= covered / 2000 <= 0.97
    assert n < 15 or 0.91 <= covered_ratio / 2000 <= 0.97, "fifteen samples and more are in use"


@pytest.mark.parametrize(("n", "spread", "other"), [(3, 0.02, 0.02), (3, 0.02, 0.005), (5, 0.1, 0.1), (5, 0.02, 0.005)])
def test_ratio_of_two_figures_over_seeds_covers_what_it_promises(n: int, spread: float, other: float) -> None:
    rng = np.random.default_rng(n)
    covered = 0
    for _ in range(4000):
        sides = []
        for share in (spread, other):
            found = seed_interval(1 + rng.normal(0, share, n))
            assert found.mean is not None
            assert found.low is not None
            assert found.high is not None
            sides.append(Estimate(found.mean, found.low, found.high, n, 0, OVER_SEEDS))
        low, _, high = ratio_of(*sides)
        covered += low <= 1 <= high
    assert 0.93 <= covered / 4000 <= 0.97


def test_ratio_of_figures_that_never_vary_is_known() -> None:
    exact = Estimate(2.0, 2.0, 2.0, 3, 0, OVER_SEEDS)
    assert ratio_of(exact, exact) == (1, 1, 1)


def test_a_ratio_of_figures_that_may_be_zero_has_no_lower_bound_but_that() -> None:
    assert ratio_interval((-0.1, 1.0, 2.0), (1.0, 1.0, 1.0))[0] == 0
    assert all(math.isnan(bound) for bound in ratio_interval((math.nan, 1.0, math.nan), (1.0, 1.0, 1.0))[::2])


def test_median_interval_needs_six_samples() -> None:
    assert all(math.isnan(bound) for bound in median_interval(np.arange(5.0)))
    low, high = median_interval(np.arange(6.0))
    assert 0 < low < 1
    assert low + high == pytest.approx(5)


def timed(values: dict[str, float], samples: dict[tuple[str, str, str], np.ndarray[Any, Any]]) -> Any:
    """As much of a study as speeds need: figures by seeds, samples by arm, seeds and engine."""
    return SimpleNamespace(values=lambda arm, key: list(values.items()), samples=samples)


def test_speed_interval_is_the_samples_interval_in_the_figures_unit() -> None:
    samples = np.linspace(9, 11, 21)
    of_engine = {("a", "s", "model"): samples, ("a", "s", "dense"): 2 * samples}
    low, high = median_interval(samples)
    rtf = speed_estimate(timed({"s": 0.05}, of_engine), "a", "speed.rtf")
    assert (rtf.value, rtf.ci_low, rtf.ci_high) == pytest.approx((0.05, 0.05 * low / 10, 0.05 * high / 10))
    ratio = speed_estimate(timed({"s": 2.0}, of_engine), "a", "speed.vs_dense")
    step = math.log(high / low) / math.sqrt(2)
    assert (ratio.ci_low, ratio.ci_high) == pytest.approx((2 * math.exp(-step), 2 * math.exp(step)))
    missing = speed_estimate(timed({"s": math.nan}, of_engine), "a", "speed.kernel_us")
    assert math.isnan(missing.ci_low)
    assert (missing.n, missing.n_failed) == (0, 1)


def test_three_trials_give_a_t_interval_of_speed() -> None:
    found = speed_estimate(timed({"a": 0.05, "b": 0.06, "c": 0.07}, {}), "arm", "speed.rtf")
    assert found.ci_high - found.value == pytest.approx(4.302652730 * 0.01 / math.sqrt(3), rel=1e-6)


@pytest.mark.parametrize(
    ("words", "expected"), [("stable", True), ("unstable", False), (None, False), (math.nan, False), ("", False)]
)
def test_stability_is_read_from_the_verdict(words: object, expected: bool) -> None:
    assert is_stable(words) is expected


def test_crossing_is_interpolated_between_measured_points() -> None:
    points = pd.DataFrame({"sparsity": [0.5, 0.7, 0.9], "speedup": [0.6, 0.9, 1.4]})
    assert crossing(points) == pytest.approx(0.74)
    assert crossing(points[points["sparsity"] > 0.8]) is None


def seeds_of(differences: Sequence[float]) -> Scores:
    """An arm that differs from its baseline by one number at each seed."""
    base = [[3.0 + 0.1 * u for u in range(8)] for _ in differences]
    arm = [[x + d for x in clips] for clips, d in zip(base, differences, strict=True)]
    return tables({"base": base, "arm": arm})


def test_more_seeds_is_the_smallest_number_whose_interval_leaves_the_margin() -> None:
    differences = (0.010, 0.016, 0.013, 0.021)
    found = difference(seeds_of(differences), "arm", "base", NLL, 0.02)
    assert found.verdict == "open"
    more = more_seeds(found, NLL.sign)
    assert more is not None
    mean, spread = np.mean(differences), np.std(differences, ddof=1)

    def verdict_of(n: int) -> str:
        """What n seeds of this very mean and spread would say (scipy's own interval)."""
        low, high = student.interval(0.95, n - 1, loc=mean, scale=spread / math.sqrt(n))
        return verdict(-1, low, high, 0.02)

    assert verdict_of(4 + more) == "non-inferior"
    assert all(verdict_of(n) == "open" for n in range(4, 4 + more))


def test_more_seeds_of_what_is_decided_unknown_or_hopeless() -> None:
    decided = difference(seeds_of((0.1, 0.11, 0.12)), "arm", "base", NLL, 0.02)
    assert (decided.verdict, more_seeds(decided, -1)) == ("inferior", 0)
    one_model = difference(tables({"base": [[1.0] * 8], "arm": [[1.0, 1.04] * 4]}), "arm", "base", NLL, 0.02)
    assert (one_model.verdict, more_seeds(one_model, -1)) == ("open", 2)
    on_the_margin = difference(seeds_of((0.019, 0.020, 0.021)), "arm", "base", NLL, 0.02)
    assert more_seeds(on_the_margin, -1) is None
