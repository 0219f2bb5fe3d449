"""Scale-invariant signal-to-distortion ratio: what is left of the clean speech, up to a gain, over all the rest."""

import numpy as np

from bench.measure.sound.metric import FloatArray, Metric, NotComputable, Score

MOST_DB = 100.0
"""Beyond this the rest is rounding, as of a clip against itself: the ratio has no value."""


def ratio_db(target: float, rest: float, name: str) -> float:
    """Return 10 log10(target / rest) of two energies; missing where either is nothing but rounding."""
    most = 10 ** (MOST_DB / 10)
    if rest * most <= target:
        raise NotComputable(f"{name}: not defined, the degraded audio is the reference up to rounding")
    if target * most <= rest:
        raise NotComputable(f"{name}: not defined, the degraded audio has nothing of the reference in it")
    return float(10 * np.log10(target / rest))


def compute(reference: FloatArray, degraded: FloatArray) -> dict[str, float]:
    """Energy of the projection of the degraded audio on the reference, over that of the remainder."""
    target = reference * (reference @ degraded) / (reference @ reference)
    rest = degraded - target
    return {"si_sdr": ratio_db(float(target @ target), float(rest @ rest), "SI-SDR")}


METRIC = Metric(
    name="si_sdr",
    scores=(Score("si_sdr", "SI-SDR", "dB", float("-inf"), float("inf"), higher_is_better=True),),
    needs_reference=True,
    sample_rate_hz=16_000,
    package=None,
    definition="Le Roux, Wisdom, Erdogan, Hershey, ICASSP 2019; means are not removed",
    compute=compute,
)
