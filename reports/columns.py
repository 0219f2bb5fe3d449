"""What a report's columns mean: label, direction, digits and an explanation for each metric."""

from dataclasses import dataclass

from bench.measure.sound.registry import METRICS


@dataclass(frozen=True)
class Column:
    """One metric of the main table.

    Attributes
    ----------
    key : metric key as in records and MLflow
    label : short heading, with unit
    better : "lower", "higher", or "" where neither is better
    decimals : digits after the point when printed
    help : one or two sentences for a reader who meets the metric for the first time
    scale : factor from the record's unit to the printed one
    """

    key: str
    label: str
    better: str
    decimals: int
    help: str
    scale: float = 1.0

    @property
    def arrow(self) -> str:
        """Direction of improvement as a sign."""
        return {"lower": "↓", "higher": "↑", "": ""}[self.better]

    @property
    def sign(self) -> int:
        """+1 where more is better, -1 where less is, 0 where neither."""
        return {"lower": -1, "higher": 1, "": 0}[self.better]

    def show(self, value: float) -> str:
        """`value` printed with this column's digits; a dash when missing."""
        return "–" if value != value else f"{value * self.scale:.{self.decimals}f}"


PRIMARY = "quality.nll_bits"

_PLAIN_WORDS = {
    "pesq_wb": "Perceptual quality, about 1 to 4.64. Built for telephone codecs, a poor judge of vocoders that sample.",
    "stoi": "Short-time objective intelligibility, 0 to 1.",
    "estoi": "Extended short-time objective intelligibility, 0 to 1; stricter with modulated distortion.",
    "mcd_db": "Mel-cepstral distortion: distance between the spectral envelopes.",
    "logf0_rmse": "Error of the logarithm of the pitch, where both signals are voiced.",
    "voicing_error": "Share of frames whose voicing decision differs from the recording's.",
    "mrstft": "Distance between magnitude spectrograms at several resolutions.",
    "visqol": "Similarity to the recording as an opinion score, 1 to 5.",
    "dnsmos_ovr": "Overall quality predicted without a reference, 1 to 5.",
    "dnsmos_sig": "Quality of the speech signal predicted without a reference, 1 to 5.",
    "dnsmos_bak": "Quality of the background predicted without a reference, 1 to 5.",
}
_DECIMALS = {"pesq_wb": 2, "mcd_db": 2, "visqol": 2, "dnsmos_ovr": 2, "dnsmos_sig": 2, "dnsmos_bak": 2}
_NLL = Column(
    PRIMARY, "NLL, bit/sample", "lower", 3,
    "Negative log2-likelihood of the test recordings, in bits per sample, teacher-forced. The primary outcome: it "
    "alone can decide with few seeds.",
)  # fmt: skip

SPEED = (
    Column(
        "speed.rtf",
        "RTF",
        "lower",
        4,
        "Real-time factor: processing seconds per second of audio on one core, "
        "whole path from mel frames to waveform; below 1 is faster than real time.",
    ),
    Column(
        "speed.vs_dense",
        "× dense",
        "higher",
        2,
        "Speed-up over the dense engine, timed interleaved with it in the same process.",
    ),
    Column("speed.kernel_us", "kernel, µs", "lower", 2, "Time of the recurrent matrix-vector product, one step."),
    Column(
        "speed.vs_limit",
        "× limit",
        "higher",
        2,
        "Share of the memory read limit that the kernel reaches: "
        "time to read the same bytes over its own time; 1 is the limit.",
    ),
    Column("speed.rtf_int8", "RTF, int8", "lower", 4, "Real-time factor of the same arm packed with int8 weights."),
    Column(
        "quality.nll_bits_int8",
        "NLL, int8",
        "lower",
        3,
        "NLL of the same arm packed with int8 weights; beside the f32 figure it says what int8 costs.",
    ),
)

SIZE = (
    Column("size.bytes", "size, kB", "lower", 0, "Size of the packed model.", scale=1e-3),
    Column("size.bytes_int8", "int8, kB", "lower", 0, "Size of the same arm packed with int8 weights.", scale=1e-3),
    Column("size.nonzeros", "non-zeros, k", "lower", 1, "Weights stored in the whole packed model.", scale=1e-3),
    Column("sparsity.achieved", "sparsity", "", 3, "Pruned share of the matrices listed in prune.matrices."),
)


def quality_columns() -> list[Column]:
    """NLL, then every score of the registry of sound metrics, with its direction and definition from there."""
    columns = [_NLL]
    for metric in METRICS:
        for score in metric.scores:
            label = f"{score.label}, {score.unit}" if score.unit else score.label
            words = f"{_PLAIN_WORDS.get(score.key, '')} {metric.definition}".strip()
            better = "higher" if score.higher_is_better else "lower"
            columns.append(Column(f"quality.{score.key}", label, better, _DECIMALS.get(score.key, 3), words))
    return columns
