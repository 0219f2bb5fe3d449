"""Intervals: coverage, pairing, what is counted as failed."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import LanewiseError
from bench.measure.skewed import skewed_bounds
from bench.measure.statistics import (
    FloatArray,
    arm_difference,
    bootstrap_means,
    mean_interval,
    mean_intervals,
    paired_difference,
    seed_interval,
    welch_interval,
)

DRAWN: dict[str, Callable[[np.random.Generator, int], FloatArray]] = {
    "normal": lambda rng, n: rng.normal(1, 2, n),
    "exponential": lambda rng, n: rng.exponential(1, n),
    "uniform": lambda rng, n: 2 * rng.random(n),
}
"""Values of mean 1."""


@pytest.mark.parametrize("shape", DRAWN)
@pytest.mark.parametrize("n", [*range(4, 17), 24, 31, 144])
def test_mean_interval_covers_what_it_says(n: int, shape: str) -> None:
    """Clips of fast forms (8, 24) and of kept studies (31, 144), and every size up to where a bootstrap does well."""
    rng = np.random.default_rng(n)
    trials = 10_000 if n < 12 else 4000 if n < 32 else 1000
    intervals = mean_intervals([DRAWN[shape](rng, n).tolist() for _ in range(trials)], resamples=1000)
    assert 0.9 <= 1 - sum(interval.excludes(1) for interval in intervals) / trials <= 0.97


def test_interval_of_a_few_values_without_skewness_is_students() -> None:
    """And of skewed ones it reaches further to the side of the long tail; it turns with the sign."""
    values = np.array([-3.0, -2, -1, -0.5, 0.5, 1, 2, 3])
    low, high = skewed_bounds(values, 0.95)
    half = 2.364624 * values.std(ddof=1) / np.sqrt(8)
    assert (low, high) == pytest.approx((-half, half), rel=1e-6)
    skewed = np.exp(values)
    low, high = skewed_bounds(skewed, 0.95)
    assert high - skewed.mean() > 1.2 * (skewed.mean() - low)
    assert skewed_bounds(-skewed, 0.95) == pytest.approx((-high, -low), rel=1e-12)


@pytest.mark.parametrize("n", [2, 3])
def test_few_values_have_an_interval_that_covers(n: int) -> None:
    rng = np.random.default_rng(n)
    hits = sum(not mean_interval(rng.normal(1.0, 2.0, n).tolist()).excludes(1.0) for _ in range(2000))
    assert 0.935 < hits / 2000 < 0.965


@pytest.mark.parametrize(("sizes", "spreads"), [((3, 3), (1, 1)), ((3, 5), (1, 3)), ((5, 5), (1, 0.2))])
def test_welch_covers_what_it_says(sizes: tuple[int, int], spreads: tuple[float, float]) -> None:
    rng = np.random.default_rng(2)
    sides = [(rng.normal(1, spread, (2000, n))) for n, spread in zip(sizes, spreads, strict=True)]
    hits = sum(not welch_interval(a.tolist(), b.tolist()).excludes(0) for a, b in zip(*sides, strict=True))
    assert 0.93 < hits / 2000 < 0.975


def test_t_interval_over_three_seeds_covers_95_percent() -> None:
    rng = np.random.default_rng(1)
    hits = sum(not seed_interval(rng.normal(0.0, 1.0, 3).tolist()).excludes(0.0) for _ in range(1000))
    assert 0.93 < hits / 1000 < 0.97


def test_seed_interval_against_a_table() -> None:
    interval = seed_interval([1.0, 2.0, 3.0])
    assert interval.mean == 2.0
    assert interval.high == pytest.approx(2 + 4.302653 / np.sqrt(3), abs=1e-5)
    assert not interval.this_model_only
    assert seed_interval([1.0, 2.0]).this_model_only
    assert seed_interval([1.0]).low is None
    assert seed_interval([]).mean is None


@given(st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), max_size=40))
def test_mean_interval_holds_the_mean_and_counts(values: list[float | None]) -> None:
    interval = mean_interval(values, resamples=200)
    found = [value for value in values if value is not None]
    assert (interval.n, interval.n_failed) == (len(found), len(values) - len(found))
    if not found:
        assert interval.mean is None
    elif len(found) == 1:
        assert (interval.mean, interval.low) == (found[0], None)
    else:
        assert interval.low is not None
        assert interval.high is not None
        assert interval.low <= interval.high
        assert len(found) < 12 or min(found) - 1e-6 <= interval.low <= interval.high <= max(found) + 1e-6
    assert mean_interval(values, resamples=200) == interval


def test_bootstrap_in_blocks_has_the_right_shape_and_spread() -> None:
    values = np.random.default_rng(0).normal(0, 1, 3000)
    means = bootstrap_means(values, 1000)
    assert means.shape == (1000,)
    assert means.std() == pytest.approx(1 / np.sqrt(3000), rel=0.1)


def test_pairing_sees_what_unpaired_scatter_hides() -> None:
    rng = np.random.default_rng(0)
    base = {f"u{i}": float(v) for i, v in enumerate(rng.normal(3, 1, 30))}
    better = {name: value + 0.05 + rng.normal(0, 0.05) for name, value in base.items()}
    assert paired_difference(better, base).excludes(0)
    assert mean_interval(list(better.values())).low < mean_interval(list(base.values())).high  # type: ignore[operator]


def test_missing_on_either_side_counts_as_failed() -> None:
    a = {"u1": 1.0, "u2": None, "u3": 3.0, "u4": 5.0}
    b = {"u1": 0.5, "u2": 2.0, "u3": None, "u5": 1.0}
    difference = paired_difference(a, b)
    assert (difference.mean, difference.n, difference.n_failed) == (0.5, 1, 4)


def test_arm_difference_chooses_what_varied() -> None:
    rng = np.random.default_rng(0)
    base = {seed: {f"u{i}": float(i) for i in range(20)} for seed in range(4)}
    arm = {seed: {k: v + 1 + 0.1 * seed + rng.normal(0, 0.01) for k, v in u.items()} for seed, u in base.items()}
    over_seeds = arm_difference(arm, base)
    assert (over_seeds.over, over_seeds.n, over_seeds.this_model_only) == ("seeds", 4, False)
    assert over_seeds.mean == pytest.approx(1.15, abs=0.01)
    two = arm_difference({0: arm[0], 1: arm[1], 9: arm[2]}, base)
    assert (two.over, two.n, two.this_model_only) == ("utterances", 20, True)
    assert two.mean == pytest.approx(1.05, abs=0.01)
    with pytest.raises(LanewiseError, match="nothing to pair"):
        arm_difference({7: arm[0]}, base)


def test_not_a_number_is_refused() -> None:
    with pytest.raises(LanewiseError, match="NaN"):
        mean_interval([1.0, float("nan")])
    with pytest.raises(LanewiseError, match="confidence"):
        mean_interval([1.0, 2.0], confidence=95)
