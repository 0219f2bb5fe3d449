"""Intervals of means: bootstrap over utterances, paired differences, t intervals over seeds. Deterministic.

Every interval says what varied (`over`) and how many values were missing (`n_failed`); it never drops them unsaid.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from bench.errors import LanewiseError
from bench.measure.skewed import skewed_bounds

CONFIDENCE = 0.95
RESAMPLES = 5_000
FEWEST_SEEDS = 3
"""With fewer, an interval speaks of these models only."""
FEWEST_SKEWED = 4
"""Of fewer values the skewness says little."""
FEWEST_RESAMPLED = 12
"""With fewer values a bootstrap is too narrow where they are skewed: of eight exponential ones it covers 89 %."""

_BLOCK = 1 << 20
"""Resampled values held at once."""
_ROWS = 32
"""Rows resampled at once: so few that their means stay in the cache."""
_FAR_OUT = 1.8
"""Standard errors from the mean beyond which an end of an interval is looked for first."""

FloatArray = npt.NDArray[np.float64]
ByUtterance = Mapping[str, float | None]


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval.

    Attributes
    ----------
    mean
        None when no value is there.
    low, high
        Bounds; None when fewer than two values are there.
    n, n_failed
        Values used, and values missing.
    over
        What varied: "utterances", or "seeds".
    this_model_only
        True where the interval says nothing about another training run.
    """

    mean: float | None
    low: float | None
    high: float | None
    n: int
    n_failed: int
    over: str
    this_model_only: bool

    def excludes(self, value: float) -> bool:
        """Whether the interval exists and does not contain `value`."""
        return self.low is not None and self.high is not None and not self.low <= value <= self.high


def mean_interval(
    values: Sequence[float | None], confidence: float = CONFIDENCE, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Interval of the mean over utterances; None counts as failed.

    Percentile bootstrap, its tails widened so that few values do not make it narrow: at n = 30 the plain percentile
    interval covers 93.5 % where it says 95 (Hesterberg, The American Statistician 69(4), 2015, "expanded percentile").
    Below twelve values Student's t corrected for skewness (`bench.measure.skewed`), below four Student's t itself.

    Raises
    ------
    LanewiseError
        A value is NaN or infinite (a missing value is None), or `confidence` is not inside 0..1.
    """
    return mean_intervals([values], confidence, resamples, seed)[0]


def mean_intervals(
    rows: Sequence[Sequence[float | None]],
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[Interval]:
    """`mean_interval` of every row; thousands of rows of one length take a tenth of the time of as many calls.

    Raises
    ------
    LanewiseError
        As `mean_interval`.
    """
    if not 0 < confidence < 1:
        raise LanewiseError(f"a confidence is a number between 0 and 1, got {confidence}")
    found = [_finite([value for value in row if value is not None]) for row in rows]
    bounds: list[tuple[float | None, float | None]] = [(None, None)] * len(rows)
    for place, values in enumerate(found):
        if FEWEST_SKEWED <= len(values) < FEWEST_RESAMPLED:
            bounds[place] = skewed_bounds(values, confidence)
        elif 2 <= len(values) < FEWEST_SKEWED:
            half = _t_half(values, confidence)
            bounds[place] = float(values.mean()) - half, float(values.mean()) + half
    for n in sorted({len(values) for values in found if len(values) >= FEWEST_RESAMPLED}):
        places = [place for place, values in enumerate(found) if len(values) == n]
        tail = _expanded_tail(n, confidence)
        for start in range(0, len(places), _ROWS):
            some = places[start : start + _ROWS]
            values = np.stack([found[place] for place in some])
            means = bootstrap_means(values, resamples, seed)
            edges = _FAR_OUT * values.std(axis=1) / math.sqrt(n)
            for place, row, middle, edge in zip(some, means, values.mean(axis=1), edges, strict=True):
                below, above = row[row < middle - edge], row[row > middle + edge]
                high = _quantile(row, 1 - tail, above, len(row) - len(above))
                bounds[place] = _quantile(row, tail, below, 0), high
    return [
        Interval(
            float(values.mean()) if len(values) else None, low, high, len(values), len(row) - len(values), "utterances",
            this_model_only=True,
        )
        for row, values, (low, high) in zip(rows, found, bounds, strict=True)
    ]  # fmt: skip


def _quantile(values: FloatArray, share: float, some: FloatArray, before: int) -> float:
    """`np.quantile(values, share)`, looked for in `some` of them, which `before` others come before in order.

    Sorting a tail takes a third of the time of finding the same place among all values.
    """
    whole, part = divmod(share * (len(values) - 1), 1)
    place = int(whole) - before
    if not 0 <= place < len(some) - 1:
        return float(np.quantile(values, share))
    some.sort()
    low, high = some[place : place + 2]
    return float(low + (high - low) * part if part < 0.5 else high - (high - low) * (1 - part))  # rounded as NumPy does


def paired_difference(
    a: ByUtterance, b: ByUtterance, confidence: float = CONFIDENCE, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Interval of the mean of a - b over utterances; one missing on either side counts as failed."""
    return mean_interval(_differences(a, b), confidence, resamples, seed)


def seed_interval(seed_means: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Student's t interval of a mean over seeds (a percentile bootstrap over 3 seeds covers 75 %, not 95).

    Parameters
    ----------
    seed_means
        One mean, or one mean paired difference, per seed.
    """
    found = _finite(seed_means)
    n = len(found)
    few = n < FEWEST_SEEDS
    mean = float(found.mean()) if n else None
    if mean is None or n < 2:
        return Interval(mean, None, None, n, 0, "seeds", few)
    half = _t_half(found, confidence)
    return Interval(mean, mean - half, mean + half, n, 0, "seeds", few)


def welch_interval(a: Sequence[float], b: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Interval of mean(a) - mean(b) of independent seeds, two on each side at least (Welch, Biometrika 34, 1947)."""
    sides = [_finite(a), _finite(b)]
    mean = float(sides[0].mean() - sides[1].mean())
    few = min(map(len, sides)) < FEWEST_SEEDS
    half = welch_half(
        [float(side.var(ddof=1)) / len(side) for side in sides], [len(side) for side in sides], confidence
    )
    return Interval(mean, mean - half, mean + half, sum(map(len, sides)), 0, "seeds", few)


def welch_half(variances: Sequence[float], counts: Sequence[int], confidence: float = CONFIDENCE) -> float:
    """Half the width of the interval of a difference of independent means, from their squared standard errors."""
    total = sum(variances)
    if not total:
        return 0.0
    degrees = total**2 / sum(variance**2 / (n - 1) for variance, n in zip(variances, counts, strict=True))
    return t_quantile(degrees, 0.5 + confidence / 2) * math.sqrt(total)


def arm_difference(
    arm: Mapping[int, ByUtterance], baseline: Mapping[int, ByUtterance], confidence: float = CONFIDENCE
) -> Interval:
    """Interval of arm - baseline, paired by seed and by utterance.

    From three seeds in common: t interval over the paired seed means. With fewer: interval over utterances of the
    difference averaged over those seeds, marked `this_model_only`.

    Parameters
    ----------
    arm, baseline
        Scores by utterance, by seed.

    Raises
    ------
    LanewiseError
        There is no seed in common.
    """
    return arm_differences([(arm, baseline)], confidence)[0]


def arm_differences(
    pairs: Sequence[tuple[Mapping[int, ByUtterance], Mapping[int, ByUtterance]]], confidence: float = CONFIDENCE
) -> list[Interval]:
    """`arm_difference` of every pair (arm, baseline).

    Raises
    ------
    LanewiseError
        As `arm_difference`.
    """
    intervals: list[Interval | None] = []
    rows: list[list[float | None]] = []
    failed: list[int] = []
    for arm, baseline in pairs:
        common = sorted(arm.keys() & baseline.keys())
        if not common:
            raise LanewiseError(f"nothing to pair: the arm has seeds {sorted(arm)}, the baseline {sorted(baseline)}")
        differences = [_differences_by_id(arm[seed], baseline[seed]) for seed in common]
        failed.append(sum(list(by_id.values()).count(None) for by_id in differences))
        if len(common) >= FEWEST_SEEDS:
            means = [_mean_found(list(by_id.values())) for by_id in differences]
            intervals.append(seed_interval([mean for mean in means if mean is not None], confidence))
        elif len(common) == 1:
            intervals.append(None)
            rows.append(list(differences[0].values()))
        else:
            ids = sorted({name for by_id in differences for name in by_id})
            intervals.append(None)
            rows.append([_mean_found([by_id.get(name) for by_id in differences]) for name in ids])
    over_utterances = iter(mean_intervals(rows, confidence))
    return [
        replace(next(over_utterances) if interval is None else interval, n_failed=count)
        for interval, count in zip(intervals, failed, strict=True)
    ]


def bootstrap_means(values: FloatArray, resamples: int = RESAMPLES, seed: int = 0) -> FloatArray:
    """Means (..., resamples) of samples of `values` (..., n) drawn with replacement, the same ones for every row."""
    n = values.shape[-1]
    if resamples * n <= _BLOCK:
        return values @ _shares(n, resamples, seed)
    rng = np.random.default_rng(seed)
    block = max(1, _BLOCK // n)
    means = [values @ _drawn(n, min(block, resamples - start), rng).T for start in range(0, resamples, block)]
    return np.concatenate(means, axis=-1)


@lru_cache(maxsize=16)
def _shares(n: int, resamples: int, seed: int) -> FloatArray:
    """Each value's part of each resample, (n, resamples); reports ask for the same ones thousands of times."""
    return np.ascontiguousarray(_drawn(n, resamples, np.random.default_rng(seed)).T)


def _drawn(n: int, resamples: int, rng: np.random.Generator) -> FloatArray:
    counts = rng.multinomial(n, np.full(n, 1 / n), resamples)
    return counts.astype(np.float64) / n


def _expanded_tail(n: int, confidence: float) -> float:
    """Tail share of the percentile interval that gives it the width of a t interval at n values."""
    from scipy.special import ndtr

    return float(ndtr(-math.sqrt(n / (n - 1)) * t_quantile(n - 1, 0.5 + confidence / 2)))


def _t_half(values: FloatArray, confidence: float) -> float:
    n = len(values)
    return t_quantile(n - 1, 0.5 + confidence / 2) * float(values.std(ddof=1)) / math.sqrt(n)


def t_quantile(degrees: float, probability: float) -> float:
    """Quantile of Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, probability))


def _differences_by_id(a: ByUtterance, b: ByUtterance) -> dict[str, float | None]:
    names = sorted(a if a.keys() == b.keys() else a.keys() | b.keys())  # mostly alike, and in order already
    return {
        name: None if (left := a.get(name)) is None or (right := b.get(name)) is None else left - right
        for name in names
    }


def _differences(a: ByUtterance, b: ByUtterance) -> list[float | None]:
    return list(_differences_by_id(a, b).values())


def _mean_found(values: Sequence[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return math.fsum(found) / len(found) if found else None


def _finite(values: Sequence[float]) -> FloatArray:
    found = np.asarray(values, dtype=np.float64)
    if not np.isfinite(found).all():
        raise LanewiseError("statistics got NaN or infinite values; a value that is missing is None, with a reason")
    return found
