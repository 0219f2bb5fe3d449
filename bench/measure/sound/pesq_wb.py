"""PESQ, wide band."""

from bench.measure.sound.metric import FloatArray, Metric, NotComputable, Score


def compute(reference: FloatArray, degraded: FloatArray) -> dict[str, float]:
    """MOS-LQO of P.862.2; missing where PESQ finds no utterance."""
    import pesq

    try:
        return {"pesq_wb": float(pesq.pesq(16_000, reference, degraded, "wb"))}
    except pesq.PesqError as error:
        text = error.args[0] if error.args else error
        detail = text.decode() if isinstance(text, bytes) else str(text)
        raise NotComputable(f"PESQ: {detail.strip().rstrip('!.')}") from error


METRIC = Metric(
    name="pesq_wb",
    scores=(Score("pesq_wb", "PESQ-wb", "MOS-LQO", 1.0, 4.65, higher_is_better=True),),
    needs_reference=True,
    sample_rate_hz=16_000,
    package="pesq",
    definition="ITU-T P.862.2 (2007), wide band, 16 kHz",
    compute=compute,
)
