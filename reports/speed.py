"""Intervals of timings, from the raw samples that records keep, and what sparsity promises. Pure.

A median's interval is read off the order statistics (distribution-free; Conover, Practical Nonparametric
Statistics, 3rd ed., section 3.2). It covers sampling within one process on one host, nothing else; with three or more
seeds, Student's t over the trials takes its place.
"""

import math
import re
from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import bdtr

from bench.measure.statistics import FEWEST_SEEDS, seed_interval
from reports.compare import OVER_SEEDS, Estimate
from reports.loader import Study

WITHIN_RUN = "over timing samples of one run"
FROM_SAMPLES: Mapping[str, tuple[str | None, str | None]] = {
    "speed.rtf": ("model", None),
    "speed.frame_us": ("model", None),
    "speed.kernel_us": ("kernel", None),
    "speed.vs_dense": ("dense", "model"),
    "speed.vs_limit": ("limit", "kernel"),
}
"""Whose samples stand above and below the line of each figure; a ratio's interval is that of its corners."""


def median_interval(samples: NDArray[np.float64], confidence: float = 0.95) -> tuple[float, float]:
    """Order-statistic interval of a median; NaN with fewer than six samples, where 95 % cannot be reached."""
    ordered = np.sort(samples)
    n = len(ordered)
    tail = (1 - confidence) / 2
    k = sum(bdtr(below, n, 0.5) <= tail for below in range(n))  # largest k with P(Binomial(n, 1/2) < k) <= tail
    if k < 1:
        return math.nan, math.nan
    return float(ordered[k - 1]), float(ordered[n - k])


def is_stable(verdict: object) -> bool:
    """Whether a timing verdict in words says that the clock gate accepted the samples."""
    return isinstance(verdict, str) and verdict.strip().lower().startswith("stable")


def speed_estimate(trials: pd.DataFrame, timing: pd.DataFrame, key: str) -> Estimate:
    """Mean over one arm's trials of `speed.rtf`, `speed.vs_dense` or another timing, with its interval.

    Parameters
    ----------
    trials : finished trials of one arm
    timing : all timing samples of that arm (`seed`, `engine`, `sample_us`)
    key : metric key
    """
    values = trials[key].to_numpy(dtype=np.float64) if key in trials else np.full(len(trials), math.nan)
    known = values[~np.isnan(values)]
    n_failed = len(values) - len(known)
    value = float(known.mean()) if len(known) else math.nan
    interval = seed_interval(known.tolist())
    if len(known) >= FEWEST_SEEDS and interval.low is not None and interval.high is not None:
        return Estimate(value, interval.low, interval.high, len(known), n_failed, OVER_SEEDS)
    bounds = [
        _bounds(found, timing[timing["seed"] == seed], key)
        for seed, found in zip(trials["seed"].tolist(), values.tolist(), strict=True)
        if not math.isnan(found) and key in FROM_SAMPLES
    ]
    low, high = min((b[0] for b in bounds), default=math.nan), max((b[1] for b in bounds), default=math.nan)
    return Estimate(value, low, high, len(known), n_failed, "" if math.isnan(low) else WITHIN_RUN)


def _bounds(value: float, timing: pd.DataFrame, key: str) -> tuple[float, float]:
    """Interval of one trial's figure: that of its sample medians, carried over to the figure's unit."""
    above, below = FROM_SAMPLES[key]
    samples = {str(engine): group["sample_us"].to_numpy(dtype=np.float64) for engine, group in timing.groupby("engine")}
    if any(name is not None and not len(samples.get(name, ())) for name in (above, below)):
        return math.nan, math.nan
    top, bottom = (median_interval(samples[name]) if name else (1.0, 1.0) for name in (above, below))
    middle = (np.median(samples[above]) if above else 1.0) / (np.median(samples[below]) if below else 1.0)
    return value * top[0] / bottom[1] / float(middle), value * top[1] / bottom[0] / float(middle)


def theoretical(study: Study, arm: str, baseline: str) -> Estimate:
    """Speed-up that an arm's sparsity promises by Amdahl's law; NaN for arms that are not pruned.

    The pruned products' share of the time is that of the baseline's measured parts named by `prune.matrices`, 1 where
    no such part was timed.
    """
    nothing = Estimate(math.nan, math.nan, math.nan, 0, 0, "")
    trials = study.of_arm(arm)
    if "sparsity.achieved" not in trials or "prune.sparsity" not in trials:
        return nothing
    sparsity = float(trials["sparsity.achieved"].mean())
    if math.isnan(sparsity) or sparsity <= 0:
        return nothing
    matrices = str(trials["prune.matrices"].iloc[0]) if "prune.matrices" in trials else ""
    parts = study.parts_of.get(baseline, {})
    pruned = sum(us for part, us in parts.items() if re.search(rf"\b{re.escape(part)}\b", matrices))
    share = pruned / sum(parts.values()) if pruned else 1.0
    left = 1 - share * sparsity
    return nothing if left <= 0 else Estimate(1 / left, math.nan, math.nan, len(trials), 0, "")
