"""Comparison is statistics: paired differences with intervals, and verdicts that the intervals allow. Pure.

Every difference is against one baseline arm, paired by seeds and utterance. With three or more common seeds the
interval is Student's t on the paired seed means; with fewer it is over utterances and speaks of
*this model only*. "On a par" means non-inferior within a margin fixed beforehand, not merely "not significant".
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from bench.measure.statistics import (
    FEWEST_RESAMPLED,
    FEWEST_SEEDS,
    Interval,
    arm_differences,
    mean_intervals,
    seed_interval,
    welch_interval,
)
from reports.columns import Column

# Below six pairs even a sign test cannot reach 5 % two-sided (2 * 2**-5 = 0.0625), so nothing may be called.
MIN_PAIRS = 6
ROUNDING = 1e-9
"""Differences below it are no more than rounding: the same model scored on another CPU differs by up to 1e-11 dB."""
OVER_SEEDS = "over seeds"
THIS_MODEL = "over utterances, this model only"

BySeed = Mapping[str, Mapping[str, float | None]]
Scores = Mapping[tuple[str, str], BySeed]
"""(arm, metric key) -> seed -> utterance -> score, None where missing."""


@dataclass(frozen=True)
class Estimate:
    """Mean of one metric of one arm.

    `n` counts scores, `n_failed` missing ones, over all seeds; `basis` says what varied in the interval.
    """

    value: float
    ci_low: float
    ci_high: float
    n: int
    n_failed: int
    basis: str


@dataclass(frozen=True)
class Difference:
    """Arm minus baseline in the metric's own unit.

    Attributes
    ----------
    verdict : "better", "non-inferior", "inferior" or "open" against the margin where there is one;
        "better", "worse" or "open" where there is none
    significant : the interval excludes zero
    n_pairs, n_dropped : pairs (seed, utterance) used, and dropped because either score is missing
    reason : why nothing could be called (empty otherwise)
    """

    arm: str
    baseline: str
    metric: str
    value: float
    ci_low: float
    ci_high: float
    n_pairs: int
    n_dropped: int
    n_seeds: int
    basis: str
    margin: float | None
    verdict: str
    significant: bool
    reason: str = ""


def score_tables(utterances: pd.DataFrame) -> Scores:
    """Scores by arm and metric, seed and utterance; an utterance that another seed has is missing, not absent."""
    tables: dict[tuple[str, str], dict[str, dict[str, float | None]]] = {}
    keys = (utterances[name].tolist() for name in ("arm", "metric", "seed", "utterance"))
    for arm, metric, seed, utterance, value in zip(*keys, utterances["value"].tolist(), strict=True):
        scores = tables.setdefault((arm, metric), {}).setdefault(seed, {})
        scores[utterance] = value if value == value else None
    for by_seed in tables.values():
        everything = sorted({name for scores in by_seed.values() for name in scores})
        for seed, scores in by_seed.items():
            by_seed[seed] = {name: scores.get(name) for name in everything}
    return tables


def estimate(by_seed: BySeed) -> Estimate:
    """Mean over utterances and seeds, with its interval; missing scores are counted, never zero."""
    return estimates_of([by_seed])[0]


def estimates_of(tables: Sequence[BySeed]) -> list[Estimate]:
    """`estimate` of every table."""
    few = [by_seed for by_seed in tables if len(by_seed) < FEWEST_SEEDS]
    over_utterances = iter(mean_intervals([_utterance_means(by_seed) for by_seed in few]))
    found = []
    for by_seed in tables:
        scores = [value for scores in by_seed.values() for value in scores.values()]
        n = sum(value is not None for value in scores)
        interval = next(over_utterances) if len(by_seed) < FEWEST_SEEDS else _over_seeds(by_seed)
        low, high = _bounds(interval)
        value = math.nan if interval.mean is None else interval.mean
        found.append(Estimate(value, low, high, n, len(scores) - n, "" if math.isnan(low) else _basis(interval)))
    return found


def difference(scores: Scores, arm: str, baseline: str, column: Column, margin: float | None = None) -> Difference:
    """Paired difference of `arm` to `baseline` in one metric, with a verdict.

    Parameters
    ----------
    margin : largest loss that still counts as "on a par", in the metric's unit; None for significance alone
    """
    return differences(scores, [arm], baseline, column, margin)[0]


def differences(
    scores: Scores, arms: Sequence[str], baseline: str, column: Column, margin: float | None = None
) -> list[Difference]:
    """`difference` of every arm to one baseline."""
    theirs = scores.get((baseline, column.key))
    paired: dict[str, tuple[BySeed, BySeed]] = {}
    for arm in arms:
        ours = scores.get((arm, column.key))
        seeds = sorted(ours.keys() & theirs.keys()) if ours is not None and theirs is not None else []
        if ours is not None and theirs is not None and seeds:
            paired[arm] = {s: ours[s] for s in seeds}, {s: theirs[s] for s in seeds}
    numbered = [tuple(dict(enumerate(side.values())) for side in pair) for pair in paired.values()]
    intervals = dict(zip(paired, arm_differences([(a, b) for a, b in numbered]), strict=True))
    found = []
    for arm in arms:
        if arm in paired:
            found.append(_called(arm, baseline, column, margin, paired[arm], intervals[arm]))
        elif theirs is None or (arm, column.key) not in scores:
            absent = baseline if theirs is None else arm
            found.append(_uncalled(arm, baseline, column.key, margin, f"{absent} has no {column.label} scores"))
        else:
            found.append(_uncalled(arm, baseline, column.key, margin, f"shares no seeds with {baseline}"))
    return found


def _called(
    arm: str, baseline: str, column: Column, margin: float | None, sides: tuple[BySeed, BySeed], interval: Interval
) -> Difference:
    of_one_seed = len(sides[0]) == 1
    pairs = [interval.n] if of_one_seed else [_pairs(sides[0][seed], sides[1][seed]) for seed in sides[0]]
    value = math.nan if interval.mean is None else interval.mean
    low, high = _bounds(interval)
    reason = f"only {min(pairs)} pairs of scores, at least {MIN_PAIRS} are needed" if min(pairs) < MIN_PAIRS else ""
    if reason or math.isnan(low):
        low = high = math.nan
    return Difference(
        arm=arm, baseline=baseline, metric=column.key, value=value, ci_low=low, ci_high=high, n_pairs=sum(pairs),
        n_dropped=interval.n_failed, n_seeds=len(pairs), basis="" if reason else _basis(interval), margin=margin,
        verdict="open" if reason else verdict(column.sign, low, high, margin),
        significant=low > ROUNDING or high < -ROUNDING, reason=reason,
    )  # fmt: skip


def unpaired(ours: BySeed, theirs: BySeed, arm: str, baseline: str, column: Column, margin: float | None) -> Difference:
    """Difference of two sides that share no seed: Welch's over seed means, of the utterances that every seed has."""
    every = [scores for side in (ours, theirs) for scores in side.values()]
    names = sorted(name for name in every[0] if all(scores.get(name) is not None for scores in every))
    dropped = sum(len(scores) - len(names) for scores in every)
    if len(names) < MIN_PAIRS:
        reason = f"only {len(names)} utterances that every seed has, at least {MIN_PAIRS} are needed"
        return replace(_uncalled(arm, baseline, column.key, margin, reason), n_dropped=dropped)
    ours, theirs = (
        {seed: {name: scores[name] for name in names} for seed, scores in s.items()} for s in (ours, theirs)
    )
    new, old = ([mean for mean in _seed_means(side) if mean is not None] for side in (ours, theirs))
    interval = welch_interval(new, old)
    low, high = _bounds(interval)
    return Difference(
        arm=arm, baseline=baseline, metric=column.key, value=float(interval.mean or 0.0), ci_low=low, ci_high=high,
        n_pairs=len(names), n_dropped=dropped, n_seeds=interval.n, basis=_basis(interval), margin=margin,
        verdict=verdict(column.sign, low, high, margin), significant=low > ROUNDING or high < -ROUNDING,
    )  # fmt: skip


def verdict(sign: int, low: float, high: float, margin: float | None) -> str:
    """What an interval of (arm - baseline) allows to be said; `sign` is +1 where more is better, -1 where less is.

    No difference is better or worse that is within `ROUNDING`.
    """
    worst, best = (low, high) if sign > 0 else (-high, -low)
    if worst > ROUNDING:
        return "better"
    if margin is None:
        return "worse" if best < -ROUNDING else "open"
    if worst > -margin:
        return "non-inferior"
    return "inferior" if best < -margin else "open"


def not_worse_than_best(scores: Scores, arms: list[str], column: Column) -> set[str]:
    """The best arm by its mean, and every arm whose paired difference to it is not significantly worse."""
    means = {arm: mean_of(scores[arm, column.key]) for arm in arms if (arm, column.key) in scores}
    means = {arm: value for arm, value in means.items() if not math.isnan(value)}
    if not means or not column.sign:
        return set()
    best = max(means, key=lambda arm: column.sign * means[arm])
    return {best} | {delta.arm for delta in not_shown_worse(scores, means, best, column) if not delta.reason}


def not_shown_worse(scores: Scores, arms: Iterable[str], best: str, column: Column) -> list[Difference]:
    """Differences to `best` of the other arms, less those that are shown to be worse."""
    rivals = [arm for arm in arms if arm != best and not _plainly_worse(scores, arm, best, column)]
    return [delta for delta in differences(scores, rivals, best, column) if delta.verdict != "worse"]


def _plainly_worse(scores: Scores, arm: str, best: str, column: Column) -> bool:
    """Whether every clip of the one seed got worse, so that every resample's mean is worse: no need to draw any."""
    ours, theirs = (scores.get((name, column.key), {}) for name in (arm, best))
    if not len(ours) == len(theirs) == 1 or ours.keys() != theirs.keys():
        return False
    sign, other = column.sign, next(iter(theirs.values()))
    losses = [
        sign * (rival - value)
        for name, value in next(iter(ours.values())).items()
        if value is not None and (rival := other.get(name)) is not None
    ]
    return len(losses) >= FEWEST_RESAMPLED and min(losses) > 0


def mean_of(by_seed: BySeed) -> float:
    """The mean that `estimate` gives, without its interval."""
    units = _seed_means(by_seed) if len(by_seed) >= FEWEST_SEEDS else _utterance_means(by_seed)
    found = [value for value in units if value is not None]
    return math.fsum(found) / len(found) if found else math.nan


def _over_seeds(by_seed: BySeed) -> Interval:
    return seed_interval([mean for mean in _seed_means(by_seed) if mean is not None])


def _seed_means(by_seed: BySeed) -> list[float | None]:
    return [_mean(scores.values()) for scores in by_seed.values()]


def _utterance_means(by_seed: BySeed) -> list[float | None]:
    names = next(iter(by_seed.values()))
    if len(by_seed) == 1:
        return list(names.values())
    return [_mean(scores[name] for scores in by_seed.values()) for name in names]


def _mean(values: Iterable[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return math.fsum(found) / len(found) if found else None


def _pairs(ours: Mapping[str, float | None], theirs: Mapping[str, float | None]) -> int:
    return len([name for name, value in ours.items() if value is not None and theirs.get(name) is not None])


def _bounds(interval: Interval) -> tuple[float, float]:
    if interval.low is None or interval.high is None:
        return math.nan, math.nan
    return interval.low, interval.high


def _basis(interval: Interval) -> str:
    return THIS_MODEL if interval.this_model_only else OVER_SEEDS


def _uncalled(arm: str, baseline: str, metric: str, margin: float | None, reason: str) -> Difference:
    nan = math.nan
    return Difference(arm, baseline, metric, nan, nan, nan, 0, 0, 0, "", margin, "open", False, reason)
