"""Mel-cepstral distortion."""

import numpy as np

from bench.measure.sound.metric import FloatArray, Metric, Score
from bench.measure.sound.world import analyse

_FLOOR_DB = 40.0
"""Frames this far below the reference's loudest are left out (STOI's rule): the shape of silence is not speech."""


def compute(reference: FloatArray, degraded: FloatArray) -> dict[str, float]:
    """Mean distance of mel-cepstra 1 to 24 in dB, without time warping: vocoder output is aligned."""
    ref, deg = analyse(reference), analyse(degraded)
    speech = ref.power_db > ref.power_db.max() - _FLOOR_DB
    difference = (ref.mel_cepstrum - deg.mel_cepstrum)[speech, 1:]
    distance_db = 10 / np.log(10) * np.sqrt(2 * np.square(difference).sum(axis=1))
    return {"mcd_db": float(distance_db.mean())}


METRIC = Metric(
    name="mcd_db",
    scores=(Score("mcd_db", "MCD", "dB", 0.0, float("inf"), higher_is_better=False),),
    needs_reference=True,
    sample_rate_hz=16_000,
    package="pyworld",
    definition=(
        "Kubichek, IEEE PACRIM 1993; mel-cepstra of WORLD envelopes, order 24, alpha 0.41, c0 excluded, 5 ms frames "
        "within 40 dB of the reference's loudest, no time warping"
    ),
    compute=compute,
    needs=("setuptools",),  # pyworld imports its pkg_resources
)
