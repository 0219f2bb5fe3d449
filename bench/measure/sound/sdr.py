"""Signal-to-distortion ratio of BSS Eval: the clean speech may have passed a filter of 512 taps."""

import numpy as np

from bench.measure.sound.metric import FloatArray, Metric, NotComputable, Score
from bench.measure.sound.si_sdr import ratio_db

TAPS = 512


def compute(reference: FloatArray, degraded: FloatArray) -> dict[str, float]:
    """Energy of the degraded audio's projection on 512 delays of the reference, over that of the remainder.

    The share of energy in the projection comes from the normal equations, whose matrix is Toeplitz (as in Scheibler's
    fast-bss-eval, arXiv 2110.06440, whose package would load torch into every scoring process).
    """
    from scipy.fft import irfft, next_fast_len, rfft
    from scipy.linalg import solve, toeplitz

    if len(reference) < TAPS:
        raise NotComputable(f"SDR: {len(reference)} samples are too short, at least {TAPS} are needed")
    ref, deg = reference / np.linalg.norm(reference), degraded / np.linalg.norm(degraded)
    size = next_fast_len(len(ref) + TAPS, real=True)
    spectrum = rfft(ref, size)
    auto = irfft(np.square(np.abs(spectrum)), size)[:TAPS]
    cross = irfft(spectrum.conj() * rfft(deg, size), size)[:TAPS]
    share = float(cross @ solve(toeplitz(auto), cross, assume_a="sym"))
    return {"sdr": ratio_db(share, max(1.0 - share, 0.0), "SDR")}


METRIC = Metric(
    name="sdr",
    scores=(Score("sdr", "SDR", "dB", float("-inf"), float("inf"), higher_is_better=True),),
    needs_reference=True,
    sample_rate_hz=16_000,
    package="scipy",
    definition="Vincent, Gribonval, Fevotte, IEEE TASLP 14(4), 2006 (BSS Eval v3), one source, filter of 512 taps",
    compute=compute,
)
