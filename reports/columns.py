"""What a report's columns mean: label, direction, digits and an explanation for each metric."""

from collections.abc import Collection
from dataclasses import dataclass, replace

from bench.measure.sound.registry import METRICS
from reports.tasks import Task


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
    minor : whether the page's table shows it on demand only
    """

    key: str
    label: str
    better: str
    decimals: int
    help: str
    scale: float = 1.0
    minor: bool = False

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


_MINOR = {
    "quality.stoi", "quality.logf0_rmse", "quality.mrstft", "quality.dnsmos_sig", "quality.dnsmos_bak",
    "quality.gain.stoi", "quality.gain.dnsmos_sig", "quality.gain.dnsmos_bak", "quality.gain.estoi",
    "size.nonzeros", "size.entropy_bound", "size.relative", "size.bitmap", "size.blocks", "speed.kernel_us",
}  # fmt: skip
_PLAIN_WORDS = {
    "pesq_wb": "Perceptual quality, about 1 to 4.64. Built for telephone codecs, a poor judge of vocoders that sample.",
    "stoi": "Short-time objective intelligibility, 0 to 1.",
    "estoi": "Extended short-time objective intelligibility, 0 to 1; stricter with modulated distortion.",
    "mcd_db": "Mel-cepstral distortion: distance between the spectral envelopes.",
    "logf0_rmse": "Error of the logarithm of the pitch, where both signals are voiced.",
    "voicing_error": "Share of frames whose voicing decision differs from the recording's.",
    "mrstft": "Distance between magnitude spectrograms at several resolutions.",
    "visqol": "Similarity to the recording as an opinion score, 1 to 5.",
    "si_sdr": "Energy of the clean speech over the energy of all that differs from it; scale does not count.",
    "sdr": "As SI-SDR, but what a short filter could have done to the clean speech does not count as a difference.",
    "dnsmos_ovr": "Overall quality predicted without a reference, 1 to 5.",
    "dnsmos_sig": "Quality of the speech signal predicted without a reference, 1 to 5.",
    "dnsmos_bak": "Quality of the background predicted without a reference, 1 to 5.",
}
_DECIMALS = {
    "si_sdr": 2,
    "sdr": 2,
    "pesq_wb": 2,
    "mcd_db": 2,
    "visqol": 2,
    "dnsmos_ovr": 2,
    "dnsmos_sig": 2,
    "dnsmos_bak": 2,
}
_NLL = Column(
    "quality.nll_bits", "NLL, bit/sample", "lower", 3,
    "Negative log2-likelihood of the test recordings, in bits per sample, teacher-forced. The primary outcome: it "
    "alone can decide with few seeds.",
)  # fmt: skip

_SPEED = (
    Column("speed.rtf", "RTF", "lower", 4, "Real-time factor: processing seconds per second of audio on one core, "
           "whole path from input to waveform; below 1 is faster than real time."),
    Column("speed.frame_us", "frame, µs", "lower", 1, "Time of one frame of the enhancer on one core, whole path."),
    Column("speed.vs_dense", "× dense", "higher", 2,
           "Measured speed-up over the dense engine, timed interleaved with it in the same process."),
    Column("speed.theory", "× dense, theory", "", 2,
           "Speed-up that the sparsity promises (Amdahl): the share of the dense model's time that the pruned products "
           "take shrinks by the sparsity, all else stays; 1 / (1 - sparsity) where parts were not timed."),
    Column("speed.kernel_us", "kernel, µs", "lower", 2, "Time of the recurrent matrix-vector product, one step."),
    Column("speed.vs_limit", "× limit", "higher", 2, "Share of the memory read limit that the kernel reaches: "
           "time to read the same bytes over its own time; 1 is the limit."),
    Column("speed.rtf_int8", "RTF, int8", "lower", 4, "Real-time factor of the same arm packed with int8 weights."),
    Column("quality.nll_bits_int8", "NLL, int8", "lower", 3,
           "NLL of the same arm packed with int8 weights; beside the f32 figure it says what int8 costs."),
)  # fmt: skip

SMALLEST = "size.smallest"
_SIZE = (
    Column("size.bytes", "size, kB", "lower", 0, "Size of the packed model.", scale=1e-3),
    Column("size.bytes_int8", "int8, kB", "lower", 0, "Size of the same arm packed with int8 weights.", scale=1e-3),
    Column("size.nonzeros", "non-zeros, k", "lower", 1, "Weights stored in the whole packed model.", scale=1e-3),
    Column("sparsity.achieved", "sparsity", "", 3, "Pruned share of the matrices listed in prune.matrices."),
    Column(SMALLEST, "smallest file, kB", "lower", 1, "The smallest of the encodings, to be shipped.", scale=1e-3),
    Column("size.f32_bytes", "dense f32, kB", "", 0, "The dense model in float32: what compression is measured by.",
           scale=1e-3),
    Column("size.compression", "times smaller", "higher", 1, "Bytes of the dense float32 network over those of the "
           "smallest encoding."),
    Column("size.activation_bytes", "activations, kB", "lower", 1, "Most memory for numbers that are not weights.",
           scale=1e-3),
    Column("size.entropy_bound", "entropy bound, kB", "", 1, "Below this no coder of the same contexts can go; not a "
           "file.", scale=1e-3),
)  # fmt: skip

_ENCODINGS = {
    "dense": "Weights in int8, one byte each.",
    "bitmap": "Int8 weights that are kept, after one bit a weight.",
    "relative": "Int8 weights that are kept, each after the number of zeros before it.",
    "blocks": "Int8 weights of kept tiles, after one bit a tile.",
    "entropy": "Int8 weights and their positions, entropy-coded.",
}
_ENCODING_LABELS = {"dense": "int8 dense", "relative": "relative indices", "entropy": "entropy-coded"}
NOT_DEPLOYABLE = (
    SMALLEST,
    "size.compression",
    "size.f32_bytes",
    "size.entropy_bound",
    "size.nonzeros",
    "size.activation_bytes",
    "size.compression",
)
"""Sizes that are not those of a file one could ship."""


ALWAYS = ("speed.rtf", "speed.vs_dense", "speed.theory")
"""Estimated even where no record has them: then missing."""


def trial_columns(names: Collection[str]) -> tuple[list[Column], list[Column]]:
    """Columns of speed and of size for the metric names that a study's trials have, and for `ALWAYS`.

    `accel.<name>.us`, `accel.<name>.speedup`, `vela.*` and `size.<encoding>` are known by their form.
    """
    there = sorted({*names, *ALWAYS} | ({SMALLEST} if "size.entropy" in names else set()))
    known = {column.key for column in (*_SPEED, *_SIZE)}
    speed = [column for column in _SPEED if column.key in there]
    size = [column for column in _SIZE if column.key in there]
    for key in there:
        group, _, rest = key.partition(".")
        if key in known or rest.startswith(("ci_", "n_")):
            continue
        if group == "size":
            label = _ENCODING_LABELS.get(rest) or rest.removesuffix("_bytes").replace("_", " ")
            words = _ENCODINGS.get(rest, "Size of the whole model in this encoding.")
            size.append(Column(key, f"{label}, kB", "lower", 1, words, scale=1e-3))
        elif group == "accel" and rest.endswith((".us", ".speedup")):
            name, unit = rest.rsplit(".", 1)
            fast = unit == "speedup"
            words = "by the stated model of this accelerator, not measured"
            label, about = ("×", "Speed-up over dense") if fast else ("µs", "Time of a frame")
            speed.append(Column(key, f"{name}, {label}", "higher" if fast else "lower", 2, f"{about} {words}."))
        elif group == "vela":
            kilo = "bytes" in rest
            label = rest.removesuffix("_us").removesuffix("_bytes").replace("_", " ")
            words = (
                "Size after Arm's Vela compiler." if kilo else "Time of a frame as Arm's Vela compiler estimates it."
            )
            unit, scale = ("kB", 1e-3) if kilo else ("µs", 1.0)
            column = Column(key, f"Vela {label}, {unit}", "lower", 1, words, scale)
            (size if kilo else speed).append(column)
    return _with_minor(speed), _with_minor(size)


def quality_columns(task: Task) -> list[Column]:
    """The task's primary metric, then every score of the registry of sound metrics, then the gains over the input."""
    columns = [_NLL]
    for metric in METRICS:
        for score in metric.scores:
            label = f"{score.label}, {score.unit}" if score.unit else score.label
            words = f"{_PLAIN_WORDS.get(score.key, '')} {metric.definition}".strip()
            better = "higher" if score.higher_is_better else "lower"
            columns.append(Column(f"quality.{score.key}", label, better, _DECIMALS.get(score.key, 3), words))
    if task.name == "enhancer":
        columns += [
            Column(f"quality.gain.{column.key.removeprefix('quality.')}", _gain(column.label), column.better,
                   column.decimals, f"Enhanced minus noisy input. {column.help}")
            for column in columns
        ]  # fmt: skip
    first = (task.primary, f"quality.gain.{task.primary.removeprefix('quality.')}")
    columns.sort(key=lambda column: first.index(column.key) if column.key in first else len(first))  # stable
    return _with_minor(columns)


def _gain(label: str) -> str:
    name, comma, unit = label.partition(", ")
    return f"{name} gain{comma}{unit}"


def _with_minor(columns: list[Column]) -> list[Column]:
    return [
        replace(column, minor=column.key in _MINOR or (column.key.startswith("accel.") and column.key.endswith(".us")))
        for column in columns
    ]
