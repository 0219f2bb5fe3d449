"""Ranks of arms over utterances, and how far two mean ranks must lie apart to differ. Pure.

Friedman's test with utterances as blocks, then Nemenyi's critical difference (Demsar, JMLR 7, 2006). Seeds are averaged
first, so with few of them a rank speaks of these models.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import chdtrc, ndtr
from scipy.stats import rankdata

from reports.analysis import Analysis
from reports.compare import MIN_PAIRS

MOST_ARMS = 24
"""More arms make every critical difference wide; the best are ranked."""


@dataclass(frozen=True)
class Ranking:
    """Mean ranks, 1 is best.

    Attributes
    ----------
    arms : best first
    ranks : mean rank of each over the blocks
    blocks : utterances that every ranked arm has a score of
    p : of Friedman's test that all arms are alike
    critical : two mean ranks further apart than this differ at 5 %, all pairs considered
    left_out : arms that are not ranked (too few scores, or beyond the best `MOST_ARMS`)
    """

    metric: str
    arms: tuple[str, ...]
    ranks: tuple[float, ...]
    blocks: int
    p: float
    critical: float
    left_out: int

    def level_with_best(self) -> tuple[str, ...]:
        """Arms whose mean rank is not told apart from the best."""
        return tuple(
            arm for arm, rank in zip(self.arms, self.ranks, strict=True) if rank - self.ranks[0] <= self.critical
        )


def rank(analysis: Analysis, metric: str) -> Ranking | None:
    """Rank the arms by one metric; None with fewer than two arms or six common utterances."""
    column = analysis.column(metric)
    if column is None or not column.sign:
        return None
    ordered = sorted(
        (arm for arm in analysis.arms if not math.isnan(analysis.value(arm, metric))),
        key=lambda arm: -column.sign * analysis.value(arm, metric),
    )
    by_arm = {arm: _by_utterance(analysis, arm, metric) for arm in ordered}
    ordered = [arm for arm in ordered if len(by_arm[arm]) >= MIN_PAIRS][:MOST_ARMS]
    if len(ordered) < 2:
        return None
    common = sorted(set.intersection(*(set(by_arm[arm]) for arm in ordered)))
    if len(common) < MIN_PAIRS:
        return None
    scores = np.array([[by_arm[arm][name] for arm in ordered] for name in common])
    ranks = rankdata(-column.sign * scores, axis=1)
    mean = ranks.mean(axis=0)
    best_first = np.argsort(mean, kind="stable")
    return Ranking(
        metric=metric, arms=tuple(ordered[i] for i in best_first), ranks=tuple(float(mean[i]) for i in best_first),
        blocks=len(common), p=friedman(ranks), critical=critical_difference(len(ordered), len(common)),
        left_out=len(analysis.arms) - len(ordered),
    )  # fmt: skip


def _by_utterance(analysis: Analysis, arm: str, metric: str) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for scores in analysis.scores.get((arm, metric), {}).values():
        for name, value in scores.items():
            if value is not None:
                found.setdefault(name, []).append(value)
    return {name: math.fsum(values) / len(values) for name, values in found.items()}


def friedman(ranks: NDArray[np.float64]) -> float:
    """P value of Friedman's test, corrected for ties, from ranks (blocks, arms)."""
    blocks, arms = ranks.shape
    spread = float(((ranks - (arms + 1) / 2) ** 2).sum())
    if spread == 0:
        return 1.0
    between = float(((ranks.sum(axis=0) - blocks * (arms + 1) / 2) ** 2).sum())
    return float(chdtrc(arms - 1, (arms - 1) * between / spread))


def critical_difference(arms: int, blocks: int, level: float = 0.05) -> float:
    """Nemenyi's critical difference of mean ranks."""
    return _range_quantile(arms, 1 - level) / math.sqrt(2) * math.sqrt(arms * (arms + 1) / (6 * blocks))


def _range_quantile(n: int, probability: float) -> float:
    """Quantile of the range of n standard normal numbers (the studentised range with infinite degrees)."""
    z = np.linspace(-8.0, 8.0, 4001)
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)

    def below(width: float) -> float:
        return float(n * np.trapezoid(density * (ndtr(z + width) - ndtr(z)) ** (n - 1), z)) - probability

    return float(brentq(below, 0.0, 12.0))
