"""Voicing decision error."""

from bench.measure.sound.metric import FloatArray, Metric, NotComputable, Score
from bench.measure.sound.world import analyse


def compute(reference: FloatArray, degraded: FloatArray) -> dict[str, float]:
    """Share of frames whose voiced/unvoiced decision differs; missing where the reference has no voiced frame."""
    ref, deg = analyse(reference), analyse(degraded)
    if not ref.voiced.any():
        raise NotComputable("voicing error: no frame is voiced in the reference")
    return {"voicing_error": float((ref.voiced != deg.voiced).mean())}


METRIC = Metric(
    name="voicing_error",
    scores=(Score("voicing_error", "voicing error", "share", 0.0, 1.0, higher_is_better=False),),
    needs_reference=True,
    sample_rate_hz=16_000,
    package="pyworld",
    definition=(
        "voicing decision error, Nakatani, Amano, Irino, Ishizuka, Kondo, Speech Communication 50(3), 2008: "
        "share of all 5 ms frames; decisions by WORLD's DIO and StoneMask"
    ),
    compute=compute,
    needs=("setuptools",),  # pyworld imports its pkg_resources
)
