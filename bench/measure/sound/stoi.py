"""STOI, and what it shares with ESTOI."""

import warnings

from bench.measure.sound.metric import FloatArray, Metric, NotComputable, Score


def intelligibility(reference: FloatArray, degraded: FloatArray, extended: bool) -> float:
    """STOI or ESTOI of 16 kHz audio; missing where less than 30 frames (0.4 s) of speech remain.

    pystoi returns 1e-5 with a warning for a short clip; here the warning makes the value missing. It also adds
    1e-16 of numpy's global random numbers, so those are seeded meanwhile: equal audio gives equal digits.
    """
    import numpy as np
    import pystoi

    state = np.random.get_state()
    np.random.seed(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            return float(pystoi.stoi(reference, degraded, 16_000, extended=extended))
    except RuntimeWarning as warning:
        raise NotComputable("STOI: less than 0.4 s of speech within 40 dB of the loudest frame") from warning
    finally:
        np.random.set_state(state)


def compute(reference: FloatArray, degraded: FloatArray) -> dict[str, float]:
    """Short-time objective intelligibility."""
    return {"stoi": intelligibility(reference, degraded, extended=False)}


METRIC = Metric(
    name="stoi",
    scores=(Score("stoi", "STOI", "", 0.0, 1.0, higher_is_better=True),),
    needs_reference=True,
    sample_rate_hz=16_000,
    package="pystoi",
    definition="Taal, Hendriks, Heusdens, Jensen, IEEE TASLP 19(7), 2011; resampled to 10 kHz inside, as defined",
    compute=compute,
)
