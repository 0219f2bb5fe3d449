"""Scores by condition, kind of noise and ratio: what a mean over all of them hides. Pure."""

import math

import pandas as pd

from reports.analysis import Analysis
from reports.compare import BySeed, estimate
from reports.loader import BASELINE, NOISY

MOST_ARMS = 10
COLUMNS = (
    "condition", "kind", "snr_db", "system", "metric", "value", "ci_low", "ci_high", "gain", "gain_ci_low",
    "gain_ci_high", "n", "n_failed",
)  # fmt: skip
ALL = "all"


def chosen(analysis: Analysis) -> list[str]:
    """The arms that are shown by condition: dense-continued, then the best by the primary metric."""
    return list(analysis.arms[:MOST_ARMS])


def by_condition(analysis: Analysis, metrics: tuple[str, ...] | None = None) -> pd.DataFrame:
    """One row per group of clips, system and metric; the last groups are each condition as a whole.

    Columns: `condition`, `kind`, `snr_db` (NaN for all), `system` (noisy input, then arms), `metric`, `value` with its
    95 % interval, `gain` over the noisy input with its interval, `n`, `n_failed`.
    """
    clips = analysis.study.clips
    keys = metrics or (analysis.primary, "quality.sdr", analysis.task.second)
    keys = tuple(key for key in keys if analysis.column(key) is not None)
    rows = []
    for (condition, kind, snr), names in _groups(clips).items():
        for system in (NOISY, *chosen(analysis)):
            for key in keys:
                found = estimate(_only(_scores(analysis, system, key), names))
                gain = estimate(_only(analysis.scores.get((system, _gain(key)), {}), names))
                if found.n + found.n_failed:
                    rows.append(
                        (condition, kind, snr, system, key, found.value, found.ci_low, found.ci_high, gain.value,
                         gain.ci_low, gain.ci_high, found.n, found.n_failed)
                    )  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _gain(key: str) -> str:
    return f"quality.gain.{key.removeprefix('quality.')}"


def _scores(analysis: Analysis, system: str, key: str) -> BySeed:
    if system != NOISY:
        return analysis.scores.get((system, key), {})
    rows = analysis.study.references
    rows = rows[(rows["arm"] == NOISY) & (rows["metric"] == key)]
    values = zip(rows["utterance"], rows["value"], strict=True)
    return {"": {str(name): None if math.isnan(value) else float(value) for name, value in values}}


def _only(by_seed: BySeed, names: frozenset[str]) -> BySeed:
    found = {seed: {name: scores[name] for name in names if name in scores} for seed, scores in by_seed.items()}
    return {seed: dict(sorted(scores.items())) for seed, scores in found.items()} or {"": {}}


def _groups(clips: pd.DataFrame) -> dict[tuple[str, str, float], frozenset[str]]:
    """Names of the clips of each condition, kind and ratio, then of each condition, then of each kind."""
    found: dict[tuple[str, str, float], list[str]] = {}
    ordered = clips.sort_values(["condition", "kind", "snr_db", "utterance"])
    for clip in ordered.to_dict("records"):
        condition, kind = str(clip["condition"]), str(clip["kind"])
        snr = math.inf if clip["snr_db"] is None else float(clip["snr_db"])
        for group in ((condition, kind, snr), (condition, ALL, snr), (condition, kind, math.inf)):
            found.setdefault(group, []).append(str(clip["utterance"]))
        found.setdefault((condition, ALL, math.inf), []).append(str(clip["utterance"]))
    kept = {group for group, names in found.items() if not _repeats(group, names, found)}
    ordered_groups = sorted(kept, key=lambda group: (group[0], group[1] == ALL, group[1], group[2]))
    return {(c, k, math.nan if math.isinf(s) else s): frozenset(found[c, k, s]) for c, k, s in ordered_groups}


def _repeats(group: tuple[str, str, float], names: list[str], found: dict[tuple[str, str, float], list[str]]) -> bool:
    """Whether a group that sums up others has the clips of one of them and no more."""
    condition, kind, snr = group
    whole = kind == ALL and math.isinf(snr)
    sums_up = kind == ALL or math.isinf(snr)
    return not whole and sums_up and any(
        other != group and other[0] == condition and other[1] != ALL and not math.isinf(other[2])
        and set(clips) == set(names)
        for other, clips in found.items()
    )  # fmt: skip


def baseline_first(systems: list[str]) -> list[str]:
    """Noisy input, the baseline, then the others as they came."""
    return sorted(systems, key=lambda name: (name != NOISY, name != BASELINE))
