"""How much better speech is after an enhancer: every score of the noisy and of the enhanced clip, and their difference.

A clip whose score does not exist on either side (silence, a perfect output) counts as missing, never as 0 or infinite.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.data.audio import FloatArray
from bench.data.mixtures import Pair
from bench.measure.sound import pool
from bench.measure.sound.registry import chosen_keys
from bench.measure.sound.scoring import Reasons, Scores
from bench.measure.statistics import Interval, mean_interval
from bench.progress import Progress

METRICS = ("si_sdr", "sdr", "pesq_wb", "stoi", "estoi", "dnsmos")
"""What speech enhancement is judged by."""
_CHUNK = 32
"""Pairs held in memory at once."""


@dataclass(frozen=True)
class EnhancedScores:
    """Scores of one utterance before and after."""

    pair: Pair
    noisy: Scores
    enhanced: Scores
    reasons: Reasons
    """Why a score is missing, by `noisy.<key>` or `enhanced.<key>`."""

    def gain(self, key: str) -> float | None:
        """Score after less score before; None where either is missing."""
        before, after = self.noisy[key], self.enhanced[key]
        return None if before is None or after is None else after - before


@dataclass(frozen=True)
class Condition:
    """Mean scores over the utterances of one condition, kind of noise and ratio."""

    condition: str
    kind: str
    snr_db: float | None
    noisy: dict[str, Interval]
    enhanced: dict[str, Interval]
    gain: dict[str, Interval]


def score_enhancer(
    enhance: Callable[[FloatArray], FloatArray],
    pairs: Sequence[Pair],
    metrics: Sequence[str] = METRICS,
    workers: int | None = None,
) -> list[EnhancedScores]:
    """Enhance every pair and score it, in the order of `pairs`.

    Parameters
    ----------
    enhance
        Noisy samples (n,) to enhanced samples (n,).
    pairs
        Noisy and clean speech.
    metrics
        Names of sound metrics.
    workers
        Scoring processes.

    Raises
    ------
    LanewiseError
        A pair cannot be made or read; `UsageError` where a metric is unknown.
    """
    chosen_keys(metrics)
    results: list[EnhancedScores] = []
    with pool.SoundPool(workers) as processes, Progress("enhanced and scored", len(pairs)) as progress:
        for first in range(0, len(pairs), _CHUNK):
            chunk = pairs[first : first + _CHUNK]
            jobs: list[pool.Pair] = []
            for pair in chunk:
                noisy, clean = pair.load()
                jobs += [pool.Pair(pair.id, clean, noisy), pool.Pair(pair.id, clean, enhance(noisy))]
            scored = processes.score_many(jobs, metrics)
            for pair, before, after in zip(chunk, scored[::2], scored[1::2], strict=True):
                reasons = {f"noisy.{key}": why for key, why in before.reasons.items()}
                reasons |= {f"enhanced.{key}": why for key, why in after.reasons.items()}
                results.append(EnhancedScores(pair, before.scores, after.scores, reasons))
            progress.advance(len(chunk))
    return results


def by_condition(scores: Sequence[EnhancedScores]) -> list[Condition]:
    """Means with intervals over utterances, by condition, kind of noise and ratio, in order of occurrence."""
    groups: dict[tuple[str, str, float | None], list[EnhancedScores]] = {}
    for score in scores:
        groups.setdefault((score.pair.condition, score.pair.kind, score.pair.snr_db), []).append(score)
    found = []
    for (condition, kind, snr_db), group in groups.items():
        keys = list(group[0].noisy)
        found.append(
            Condition(
                condition,
                kind,
                snr_db,
                {key: mean_interval([score.noisy[key] for score in group]) for key in keys},
                {key: mean_interval([score.enhanced[key] for score in group]) for key in keys},
                {key: mean_interval([score.gain(key) for score in group]) for key in keys},
            )
        )
    return found
