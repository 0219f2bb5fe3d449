"""Intervals of timings, from the raw samples that records keep, and what sparsity promises. Pure.

A median's interval is read off the order statistics (distribution-free; Conover, Practical Nonparametric
Statistics, 3rd ed., section 3.2), interpolated between the two pairs of them that cover too much and too little
(Hettmansperger and Sheather, Statistics and Probability Letters 4, 1986).

A ratio's interval follows from the widths of those of its sides on the log scale (as in Price and Bonett, Journal of
Statistical Computation and Simulation 72, 2002): it covers 92.5 to 97 % from fifteen samples on, up to 98 at six. The
corners of both would cover 99 %, the sum of squares of each side's own arms (MOVER) 97 to 98 at fifteen.

All this covers sampling within one process on one host, nothing else; with three or more seeds, Student's t over the
trials takes its place, and Welch's interval of two such figures on the log scale.
"""

import math
import re
from collections.abc import Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr

from bench.measure.statistics import FEWEST_SEEDS, seed_interval, t_quantile, welch_half
from reports.compare import OVER_SEEDS, Estimate
from reports.loader import BASELINE, Study

RTF_INT8 = "speed.rtf_int8"
WITHIN_RUN = "over timing samples of one run"
FROM_SAMPLES: Mapping[str, tuple[str, ...]] = {
    "speed.rtf": ("model",),
    "speed.frame_us": ("model",),
    "speed.kernel_us": ("kernel",),
    "speed.vs_dense": ("dense", "model"),
    "speed.vs_limit": ("limit", "kernel"),
}
"""Whose samples each figure is made of; of two, those above and below the line."""


def median_interval(samples: NDArray[np.float64], confidence: float = 0.95) -> tuple[float, float]:
    """Order-statistic interval of a median; NaN with fewer than six samples, where 95 % cannot be reached."""
    ordered = np.sort(samples)
    n = len(ordered)
    k, inward = _order(n, confidence)
    if k < 1:
        return math.nan, math.nan
    low = (1 - inward) * ordered[k - 1] + inward * ordered[k]
    high = (1 - inward) * ordered[n - k] + inward * ordered[n - k - 1]
    return float(low), float(high)


@cache
def _order(n: int, confidence: float) -> tuple[int, float]:
    """The widest k-th order statistics from both ends that cover enough, and how far to go on towards the next ones."""

    def coverage(k: int) -> float:
        return float(1 - 2 * bdtr(k - 1, n, 0.5)) if k else 1.0

    k = sum(coverage(other) >= confidence for other in range(1, n // 2 + 1))
    if not 1 <= k < n - k:
        return k, 0.0
    spare = (coverage(k) - confidence) / (coverage(k) - coverage(k + 1))
    return k, (n - k) * spare / (k + (n - 2 * k) * spare)


Bounded = tuple[float, float, float]
"""Low, middle, high."""


def ratio_interval(above: Bounded, below: Bounded) -> Bounded:
    """The ratio of two independent positive figures with their intervals."""
    ratio = above[1] / below[1]
    half = math.hypot(_log_width(above), _log_width(below)) / 2
    return ratio * math.exp(-half), ratio, ratio * math.exp(half)


def _log_width(side: Bounded) -> float:
    low, _, high = side
    return math.inf if low <= 0 else math.log(high / low)  # a t interval may reach below zero


def ratio_of(above: Estimate, below: Estimate) -> Bounded:
    """The ratio of two arms' figures, from different runs or studies."""
    sides = (above, below)
    if any(side.basis != OVER_SEEDS for side in sides):
        return ratio_interval(*((side.ci_low, side.value, side.ci_high) for side in sides))
    ratio = above.value / below.value
    errors = [(side.ci_high - side.ci_low) / 2 / t_quantile(side.n - 1, 0.975) / side.value for side in sides]
    half = welch_half([error**2 for error in errors], [side.n for side in sides])
    return ratio * math.exp(-half), ratio, ratio * math.exp(half)


def told_apart(one: Estimate, other: Estimate) -> bool:
    """Whether the interval of their ratio excludes 1; without both intervals nothing is told apart."""
    if math.isnan(one.ci_low) or math.isnan(other.ci_low):
        return False
    low, _, high = ratio_of(one, other)
    return not low <= 1 <= high


def is_stable(verdict: object) -> bool:
    """Whether a timing verdict in words says that the clock gate accepted the samples."""
    return isinstance(verdict, str) and verdict.strip().lower().startswith("stable")


def speed_estimate(study: Study, arm: str, key: str) -> Estimate:
    """Mean over one arm's trials of `speed.rtf`, `speed.vs_dense` or another figure of a trial, with its interval."""
    values = study.values(arm, key)
    known = [value for _, value in values if not math.isnan(value)]
    n_failed = len(values) - len(known)
    value = math.fsum(known) / len(known) if known else math.nan
    if len(known) >= FEWEST_SEEDS:
        interval = seed_interval(known)
        if interval.low is not None and interval.high is not None:
            return Estimate(value, interval.low, interval.high, len(known), n_failed, OVER_SEEDS)
    bounds = [_bounds(study, arm, seed, found, key) for seed, found in values if not math.isnan(found)]
    if not bounds:
        return Estimate(value, math.nan, math.nan, 0, n_failed, "")
    half = math.hypot(*((high - low) / 2 for low, high in bounds)) / len(bounds)
    low, high = bounds[0] if len(bounds) == 1 else (value - half, value + half)
    return Estimate(value, low, high, len(known), n_failed, "" if math.isnan(low) else WITHIN_RUN)


def _bounds(study: Study, arm: str, seed: str, value: float, key: str) -> tuple[float, float]:
    """Interval of one trial's figure: that of its sample medians, carried over to the figure's unit."""
    sides: list[Bounded] = []
    for engine in FROM_SAMPLES.get(key, ()):
        samples = study.samples.get((arm, seed, engine))
        if samples is None:
            return math.nan, math.nan
        low, high = median_interval(samples)
        sides.append((low, float(np.median(samples)), high))
    if not sides:
        return math.nan, math.nan
    low, middle, high = sides[0] if len(sides) == 1 else ratio_interval(*sides)
    return value * low / middle, value * high / middle


def dense_arms(study: Study) -> dict[str, str]:
    """By arm, the dense arm of its network, of its number format if there is one, dense-continued before others."""

    def of(name: str, *keys: str) -> tuple[str, ...]:
        return tuple(str(next(iter(study.cells(name, key)), None)) for key in keys)

    def is_dense(name: str) -> bool:
        return not any(sparsity is not None and sparsity > 0 for sparsity in study.cells(name, "prune.sparsity"))

    network, form = ("model.hidden", "model.head", "model.cell"), ("pack.format",)
    found: dict[tuple[str, ...], str] = {}
    for name in sorted(filter(is_dense, study.arms), key=lambda name: name != BASELINE):
        found.setdefault(of(name, *network), name)
        found.setdefault(of(name, *network, *form), name)
    alike = {name: found.get(of(name, *network, *form), found.get(of(name, *network))) for name in study.arms}
    return {name: dense for name, dense in alike.items() if dense is not None}


def theoretical(study: Study, arm: str, dense: str | None) -> Estimate:
    """Speed-up that an arm's sparsity promises by Amdahl's law; NaN for arms that are not pruned.

    The pruned products' share of the time is that of the measured parts of `dense`, the same network's dense arm, named
    by `prune.matrices`, 1 where no such part was timed.
    """
    nothing = Estimate(math.nan, math.nan, math.nan, 0, 0, "")
    known = [value for _, value in study.values(arm, "sparsity.achieved") if not math.isnan(value)]
    sparsity = math.fsum(known) / len(known) if known else 0.0
    if sparsity <= 0:
        return nothing
    matrices = str(study.cells(arm, "prune.matrices")[0])
    parts = study.parts_of.get(dense or "", {})
    pruned = sum(us for part, us in parts.items() if re.search(rf"\b{re.escape(part)}\b", matrices))
    share = pruned / sum(parts.values()) if pruned else 1.0
    left = 1 - share * sparsity
    return nothing if left <= 0 else Estimate(1 / left, math.nan, math.nan, len(known), 0, "")
