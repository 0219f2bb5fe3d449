"""What a report has to know of a task: what it is judged by, in which words and units."""

from collections.abc import Mapping
from dataclasses import dataclass

from bench.errors import LanewiseError


@dataclass(frozen=True)
class Task:
    """A task as reports see it.

    Attributes
    ----------
    name : as in records
    primary : metric key that decides
    second : metric key drawn beside it
    word, unit : what the primary metric and its differences are called
    higher : whether more of the primary metric is better
    loss : label of the validation curve
    margins : metric key -> largest loss that still counts as "on a par" where the study fixes none
    judge : what to bear in mind when reading the scores
    references : what the reference rows are
    paper : metric keys of the LaTeX table
    """

    name: str
    primary: str
    second: str
    word: str
    unit: str
    higher: bool
    loss: str
    margins: Mapping[str, float]
    judge: str
    references: str
    paper: tuple[str, ...]

    @property
    def sign(self) -> int:
        """+1 where more of the primary metric is better, -1 where less is."""
        return 1 if self.higher else -1

    @property
    def best(self) -> str:
        """Superlative of the good end: of two arms it is the better one's."""
        return "highest" if self.higher else "lowest"

    @property
    def delta(self) -> str:
        """Heading of the difference in the primary metric."""
        return f"Δ {self.word} to dense-continued"


VOCODER = Task(
    name="vocoder",
    primary="quality.nll_bits",
    second="quality.pesq_wb",
    word="NLL",
    unit="bit",
    higher=False,
    loss="validation NLL, bit/sample",
    margins={"quality.nll_bits": 0.02, "quality.pesq_wb": 0.10, "quality.dnsmos_ovr": 0.05},
    judge=(
        "PESQ, STOI, ESTOI, MCD and DNSMOS flatter Griffin-Lim, which keeps the true magnitudes, and punish a model "
        "that samples. Judge a WaveRNN by its NLL first, by its distance to dense-continued second, and then by your "
        "ears."
    ),
    references=(
        "recording: the test clip itself. copy-synthesis: filter bank and quantiser alone, the ceiling of any such "
        "vocoder. griffin-lim: iterative phase reconstruction from the same mel frames."
    ),
    paper=(
        "quality.nll_bits", "quality.pesq_wb", "quality.estoi", "quality.dnsmos_ovr",
        "speed.rtf", "speed.vs_dense", "size.bytes",
    ),
)  # fmt: skip

ENHANCER = Task(
    name="enhancer",
    primary="quality.si_sdr",
    second="quality.pesq_wb",
    word="SI-SDR",
    unit="dB",
    higher=True,
    loss="validation loss, dB\n(minus the mean SI-SDR gain)",
    margins={
        "quality.si_sdr": 0.1, "quality.sdr": 0.1, "quality.pesq_wb": 0.10, "quality.dnsmos_ovr": 0.05,
        "quality.gain.si_sdr": 0.1, "quality.gain.sdr": 0.1,
    },
    judge=(
        "SI-SDR and SDR measure how much of the noise is gone, not how pleasant the rest sounds: read them beside "
        "PESQ and DNSMOS, compare with the noisy input, and listen. Means over noises and ratios hide much that the "
        "table by condition shows."
    ),
    references="noisy input: what the enhancer was given. Every gain is enhanced minus noisy, clip by clip.",
    paper=(
        "quality.si_sdr", "quality.gain.si_sdr", "quality.sdr", "quality.pesq_wb", "quality.estoi",
        "speed.rtf", "speed.vs_dense", "size.smallest", "size.compression",
    ),
)  # fmt: skip

TASKS = {task.name: task for task in (VOCODER, ENHANCER)}


def task_of(name: str) -> Task:
    """The task of a study.

    Raises
    ------
    LanewiseError
        Reports know no such task.
    """
    if name not in TASKS:
        raise LanewiseError(f"the study's records are of task {name!r}; reports know {' and '.join(TASKS)}")
    return TASKS[name]
