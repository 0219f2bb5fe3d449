"""Scores of one pair of clips: every metric either has a value or a reason why not."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from bench.errors import LanewiseError
from bench.measure.sound.metric import FloatArray, Metric, NotComputable
from bench.measure.sound.registry import choose, chosen_keys

SAMPLE_RATE_HZ = 16_000
Audio = npt.NDArray[np.floating]
Scores = dict[str, float | None]
Reasons = dict[str, str]

_SILENT_PEAK = 1 / 32768
"""Below one step of 16-bit PCM nothing can be heard or judged."""


def score_pair(
    reference: Audio, degraded: Audio, metrics: Sequence[str] | None = None, sample_rate_hz: int = SAMPLE_RATE_HZ
) -> tuple[Scores, Reasons]:
    """Score degraded audio against its reference.

    Parameters
    ----------
    reference, degraded
        Mono audio (n,) in [-1, 1], aligned sample by sample.
    metrics
        Metric names or score keys; None for all.
    sample_rate_hz
        Rate of both; every metric refuses another rate than its own.

    Returns
    -------
    scores
        Finite number or None by score key, in registry order.
    reasons
        Why a score is None, by score key.

    Raises
    ------
    UsageError
        A metric is unknown.
    LanewiseError
        The pair is no valid input: rates, shapes or lengths that do not fit, no samples, NaN or infinite samples.
    """
    keys = chosen_keys(metrics)
    chosen = choose(metrics)
    for metric in chosen:
        if metric.sample_rate_hz != sample_rate_hz:
            raise LanewiseError(
                f"{metric.name} is defined at {metric.sample_rate_hz} Hz, got {sample_rate_hz} Hz; "
                "nothing is resampled here: resample both clips first"
            )
    ref, deg = _checked(reference, "reference"), _checked(degraded, "degraded")
    if len(ref) != len(deg):
        raise LanewiseError(
            f"the reference has {len(ref)} samples and the degraded audio {len(deg)}; "
            "cut both to the same, aligned stretch first"
        )
    scores: Scores = {}
    reasons: Reasons = {}
    for metric in chosen:
        values, reason = _run(metric, ref, deg)
        for key in metric.keys:
            if key in keys:
                scores[key], why = _finite(values.get(key), reason)
                if why:
                    reasons[key] = why
    return scores, reasons


def _checked(audio: Audio, name: str) -> FloatArray:
    if audio.ndim != 1 or len(audio) == 0:
        raise LanewiseError(f"the {name} audio has shape {audio.shape}; expected mono samples (n,), not empty")
    if not np.isfinite(audio).all():
        raise LanewiseError(f"the {name} audio has NaN or infinite samples; repair it before scoring")
    return np.ascontiguousarray(audio, dtype=np.float64)


def _run(metric: Metric, ref: FloatArray, deg: FloatArray) -> tuple[dict[str, float], str]:
    """Return values by key (empty where there are none) and the reason for what is missing."""
    for audio, name in ((ref, "reference"), (deg, "degraded")):
        if (name == "degraded" or metric.needs_reference) and np.abs(audio).max() < _SILENT_PEAK:
            return {}, f"the {name} audio is silent"
    try:
        return metric.compute(ref, deg), "not a finite number"
    except NotComputable as missing:
        return {}, str(missing)
    except Exception as error:
        # Any failure of a metric's library on one clip is that clip's reason, never the end of a study.
        return {}, f"{metric.package or metric.name} failed: {type(error).__name__}: {error}"


def _finite(value: float | None, reason: str) -> tuple[float | None, str]:
    return (value, "") if value is not None and math.isfinite(value) else (None, reason)
