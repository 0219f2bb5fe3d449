"""Speech levels, so that stimuli of one utterance are heard equally loud. Pure."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FRAME = 320
QUIET_DB = 40.0
"""Frames this far below the loudest are pauses and do not count."""
CEILING = 0.99


def active_level_db(samples: NDArray[np.float32]) -> float:
    """Level of the frames in which somebody speaks, in dB of full scale; -inf for silence.

    Root mean square over 20 ms frames (at 16 kHz) that are within 40 dB of the loudest.
    """
    whole = len(samples) // FRAME * FRAME
    frames = samples[:whole].astype(np.float64).reshape(-1, FRAME) if whole else samples[None].astype(np.float64)
    power = (frames**2).mean(axis=1) if frames.size else np.zeros(1)
    loudest = float(power.max())
    if loudest <= 0:
        return -math.inf
    return 10 * math.log10(float(power[power >= loudest * 10 ** (-QUIET_DB / 10)].mean()))


def matching_gains_db(signals: Sequence[NDArray[np.float32]]) -> list[float]:
    """Gains that bring all signals to the first one's level; all lower by the same amount where one would clip."""
    levels = [active_level_db(signal) for signal in signals]
    target = next((level for level in levels if math.isfinite(level)), 0.0)
    gains = [target - level if math.isfinite(level) else 0.0 for level in levels]
    peaks = [float(np.abs(s).max(initial=0.0)) * 10 ** (g / 20) for s, g in zip(signals, gains, strict=True)]
    loudest = max(peaks, default=0.0)
    common = min(0.0, 20 * math.log10(CEILING / loudest)) if loudest > 0 else 0.0
    return [gain + common for gain in gains]
