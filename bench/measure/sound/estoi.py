"""Extended STOI: correlates whole spectral patterns, so it also sees what temporal modulation hides."""

from bench.measure.sound.metric import FloatArray, Metric, Score
from bench.measure.sound.stoi import intelligibility


def compute(reference: FloatArray, degraded: FloatArray) -> dict[str, float]:
    """Extended short-time objective intelligibility."""
    return {"estoi": intelligibility(reference, degraded, extended=True)}


METRIC = Metric(
    name="estoi",
    scores=(Score("estoi", "ESTOI", "", 0.0, 1.0, higher_is_better=True),),
    needs_reference=True,
    sample_rate_hz=16_000,
    package="pystoi",
    definition="Jensen, Taal, IEEE/ACM TASLP 24(11), 2016; resampled to 10 kHz inside, as defined",
    compute=compute,
)
