"""Which arms are Pareto-optimal, and how sure that is: a joint bootstrap of quality and cost. Pure.

Each draw gives every arm a quality and a cost at once, and asks who is on the front:

- with three or more seeds, seed means move together as in the t interval: mean + t * s / sqrt(n), where the same normal
  number per seed is used for every arm, so that arms which share seeds stay paired;
- with fewer, utterances are drawn with replacement, the same ones for every arm;
- of a timing, the median is drawn from its samples (the quantile at a Beta((n + 1) / 2, (n + 1) / 2) level);
- a size is counted, not measured, and does not move.

The share of draws in which an arm is on the front is the probability that it belongs there.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import chdtri

from bench.measure.statistics import FEWEST_SEEDS
from reports.analysis import Analysis
from reports.compare import MIN_PAIRS, BySeed
from reports.loader import BASELINE
from reports.speed import FROM_SAMPLES

DRAWS = 1000
SURE = 0.95
FRONTIER, AMBIGUOUS, DOMINATED, UNTIMED = "frontier", "ambiguous", "dominated", "no stable timing"
COLUMNS = (
    "arm", "metric", "key", "stable", "x", "x_low", "x_high", "value", "value_low", "value_high", "probability",
    "front", "on_line",
)  # fmt: skip

Draws = NDArray[np.float64]


@lru_cache(maxsize=32)
def front(analysis: Analysis, metric: str, key: str, draws: int = DRAWS) -> pd.DataFrame:
    """Quality `metric` against cost (or gain) `key`, one row per arm that has both.

    Columns: `arm`, `metric`, `key`, `stable` (timing); `x`, `x_low`, `x_high` of `key`; `value`, `value_low`,
    `value_high`: the paired difference to dense-continued (0 for itself), or the score itself in a study without it;
    `probability` of being Pareto-optimal (NaN where too few scores are there), `front` (the verdict at 95 %), `on_line`
    (Pareto-optimal by the point estimates).
    """
    rows = [row for arm in analysis.arms if (row := _point(analysis, arm, metric, key))]
    points = pd.DataFrame(rows, columns=list(COLUMNS))
    column, cost = analysis.column(metric), analysis.column(key)
    if points.empty or column is None or cost is None:
        return points
    points["on_line"] = points["on_line"].astype(bool)
    may = points["stable"].to_numpy(dtype=bool)
    arms = points["arm"][may].tolist()
    if arms:
        rng = np.random.default_rng(0)
        quality = column.sign * quality_draws([analysis.scores[arm, metric] for arm in arms], draws, rng)
        costs = -cost.sign * _cost_draws(analysis, arms, key, draws, rng)
        points.loc[may, "probability"] = on_front(quality, costs).mean(axis=0)
        means = column.sign * np.array([[analysis.value(arm, metric) for arm in arms]])
        centre = -cost.sign * points["x"][may].to_numpy(dtype=np.float64)[None]
        points.loc[may, "on_line"] = on_front(means, centre)[0]
    few = [_too_few(analysis.scores[arm, metric]) for arm in points["arm"]]
    points.loc[few, "probability"] = math.nan
    points["front"] = [_verdict(p, stable) for p, stable in zip(points["probability"], may, strict=True)]
    return points


def _verdict(probability: float, stable: bool) -> str:
    if not stable:
        return UNTIMED
    if math.isnan(probability) or 1 - SURE < probability < SURE:
        return AMBIGUOUS
    return FRONTIER if probability >= SURE else DOMINATED


def _point(analysis: Analysis, arm: str, metric: str, key: str) -> dict[str, object] | None:
    found = analysis.estimates.get((arm, key))
    value, low, high = _quality(analysis, arm, metric)
    if found is None or math.isnan(found.value) or math.isnan(value):
        return None
    stable = arm not in analysis.unstable or key not in FROM_SAMPLES
    return {
        "arm": arm, "metric": metric, "key": key, "stable": stable, "x": found.value, "x_low": found.ci_low,
        "x_high": found.ci_high, "value": value, "value_low": low, "value_high": high, "probability": math.nan,
        "front": AMBIGUOUS, "on_line": False,
    }  # fmt: skip


def _quality(analysis: Analysis, arm: str, metric: str) -> tuple[float, float, float]:
    if BASELINE not in analysis.arms:
        found = analysis.estimates.get((arm, metric))
        return (math.nan,) * 3 if found is None else (found.value, found.ci_low, found.ci_high)
    if arm == BASELINE:
        return (math.nan if math.isnan(analysis.value(arm, metric)) else 0.0, math.nan, math.nan)
    delta = analysis.differences.get((arm, metric))
    return (math.nan,) * 3 if delta is None else (delta.value, delta.ci_low, delta.ci_high)


def _too_few(by_seed: BySeed) -> bool:
    return len(by_seed) < FEWEST_SEEDS and len(_utterance_means(by_seed)) < MIN_PAIRS


def _utterance_means(by_seed: BySeed) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for scores in by_seed.values():
        for name, value in scores.items():
            if value is not None:
                found.setdefault(name, []).append(value)
    return {name: math.fsum(values) / len(values) for name, values in found.items()}


def quality_draws(tables: Sequence[BySeed], draws: int, rng: np.random.Generator) -> Draws:
    """Mean scores (draws, arms), moved jointly; NaN where an arm has no score among those drawn."""
    names = sorted({name for by_seed in tables for scores in by_seed.values() for name in scores})
    seeds = sorted({seed for by_seed in tables for seed in by_seed})
    counts = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), draws).astype(np.float64)
    normal, level = rng.standard_normal((draws, len(seeds))), rng.random(draws)
    spread = cache(lambda n: _spread(n, level))
    drawn = np.empty((draws, len(tables)))
    for i, by_seed in enumerate(tables):
        means = {seed: _mean(scores) for seed, scores in by_seed.items()}
        means = {seed: mean for seed, mean in means.items() if not math.isnan(mean)}
        if len(means) >= FEWEST_SEEDS:
            moved = normal[:, [seeds.index(seed) for seed in means]]
            drawn[:, i] = _student(np.array(list(means.values())), moved, spread(len(means)))
        else:
            of = _utterance_means(by_seed)
            there = np.array([name in of for name in names], dtype=np.float64)
            values = np.array([of.get(name, 0.0) for name in names])
            with np.errstate(invalid="ignore"):
                drawn[:, i] = counts @ values / (counts @ there)
    return drawn


def _mean(scores: Mapping[str, float | None]) -> float:
    found = [value for value in scores.values() if value is not None]
    return math.fsum(found) / len(found) if found else math.nan


def _spread(n: int, level: NDArray[np.float64]) -> NDArray[np.float64]:
    """By how much each draw's standard error of n values is wider than theirs."""
    chi: NDArray[np.float64] = np.sqrt((n - 1) / chdtri(n - 1, level))
    return chi


def _student(values: NDArray[np.float64], normal: Draws, chi: NDArray[np.float64]) -> NDArray[np.float64]:
    """Draws of a mean whose spread is that of its t interval: the same `normal` and `chi` keep means paired."""
    n = len(values)
    moved: NDArray[np.float64] = values.mean() + chi * (normal @ (values - values.mean())) / math.sqrt(n * (n - 1))
    return moved


def _cost_draws(analysis: Analysis, arms: Sequence[str], key: str, draws: int, rng: np.random.Generator) -> Draws:
    drawn = np.empty((draws, len(arms)))
    engine = FROM_SAMPLES.get(key, (None,))[0]
    for i, arm in enumerate(arms):
        if engine is None:
            drawn[:, i] = analysis.value(arm, key)
            continue
        known = [(seed, value) for seed, value in analysis.study.values(arm, key) if not math.isnan(value)]
        values = np.array([value for _, value in known])
        samples = [analysis.study.samples.get((arm, seed, engine)) for seed, _ in known]
        if all(found is None for found in samples):
            drawn[:, i] = values.mean()
        elif len(values) >= FEWEST_SEEDS:
            drawn[:, i] = _student(
                values, rng.standard_normal((draws, len(values))), _spread(len(values), rng.random(draws))
            )
        else:
            drawn[:, i] = np.mean(
                [v * _median_draws(found, draws, rng) for v, found in zip(values, samples, strict=True)], axis=0
            )
    return drawn


def _median_draws(samples: NDArray[np.float64] | None, draws: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draws of a median over the median itself; 1 without samples."""
    if samples is None:
        return np.ones(draws)
    half = (len(samples) + 1) / 2
    level = (np.arange(len(samples)) + 0.5) / len(samples)
    medians: NDArray[np.float64] = np.interp(rng.beta(half, half, draws), level, samples)
    return medians / float(np.median(samples))


def on_front(quality: Draws, cost: Draws) -> NDArray[np.bool_]:
    """Who is Pareto-optimal in each draw: no other arm has at least the quality at no more cost, and more of one.

    Parameters
    ----------
    quality : (draws, arms), more is better; NaN is never on the front
    cost : (draws, arms), less is better
    """
    known = ~np.isnan(quality)
    quality = np.where(known, quality, -np.inf)
    found = np.zeros(quality.shape, dtype=np.bool_)
    may = ~_always_beaten(quality, cost)
    found[:, may] = _on_front(quality[:, may], cost[:, may])
    return found & known


def _always_beaten(quality: Draws, cost: Draws) -> NDArray[np.bool_]:
    """Arms that in every draw some other arm beats in both: of thousands nearly all, and they need not be sorted."""
    with np.errstate(invalid="ignore"):  # NaN where no arm has a score: beats nothing
        moved = quality - quality.max(axis=1, keepdims=True)  # what moves all arms alike parts none of them
    by_cost = np.argsort(cost.max(axis=0))
    reached = np.maximum.accumulate(moved.min(axis=0)[by_cost])
    cheaper = np.searchsorted(cost.max(axis=0)[by_cost], cost.min(axis=0))
    beaten: NDArray[np.bool_] = np.append(-np.inf, reached)[cheaper] > moved.max(axis=0)
    return beaten


def _on_front(quality: Draws, cost: Draws) -> NDArray[np.bool_]:
    order = np.lexsort((-quality, cost), axis=-1)
    q, c = np.take_along_axis(quality, order, -1), np.take_along_axis(cost, order, -1)
    before = np.maximum.accumulate(q, axis=-1)
    beaten = np.zeros(q.shape, dtype=np.bool_)
    beaten[:, 1:] = before[:, :-1] >= q[:, 1:]
    same = np.zeros(q.shape, dtype=np.bool_)  # an exact twin shares the fate of the first of its kind
    same[:, 1:] = (q[:, 1:] == q[:, :-1]) & (c[:, 1:] == c[:, :-1])
    first = np.maximum.accumulate(np.where(same, 0, np.arange(q.shape[1])), axis=-1)
    beaten = np.take_along_axis(beaten, first, -1)
    found = np.empty(q.shape, dtype=np.bool_)
    np.put_along_axis(found, order, ~beaten, -1)
    return found
