"""What a sound metric declares, and how it says that it cannot be computed."""

import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from bench import __version__

FloatArray = npt.NDArray[np.float64]
Compute = Callable[[FloatArray, FloatArray], dict[str, float]]


class NotComputable(Exception):  # noqa: N818 (a value that is missing, not an error of the program)
    """The metric has no value for this pair; the message is the reason that stands in the record."""


@dataclass(frozen=True)
class Score:
    """One number that a metric gives.

    Attributes
    ----------
    key
        Name in records (`quality.<key>`), in JSON and on the command line.
    label
        Name in tables, for people.
    unit
        Unit, or "" for a plain number.
    low, high
        Nominal range; may be infinite.
    higher_is_better
        Direction.
    """

    key: str
    label: str
    unit: str
    low: float
    high: float
    higher_is_better: bool


@dataclass(frozen=True)
class Metric:
    """A sound metric: what it needs, what it gives, where it is defined.

    Attributes
    ----------
    name
        Name in the registry; for a metric of one score also the score's key.
    scores
        The numbers that one run of `compute` gives.
    needs_reference
        Whether the reference influences the value.
    sample_rate_hz
        The only rate accepted; nothing is resampled to it.
    package
        Distribution that computes it, or None where the formula is Lanewise's own code.
    needs
        Further distributions without which it has no value.
    definition
        Standard or paper, and the recipe where that leaves choices.
    compute
        (reference (n,), degraded (n,)) float64 in [-1, 1] -> value by score key. Imports its library when called.
        Raises `NotComputable` with a reason.
    """

    name: str
    scores: tuple[Score, ...]
    needs_reference: bool
    sample_rate_hz: int
    package: str | None
    definition: str
    compute: Compute
    needs: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of the scores, in order."""
        return tuple(score.key for score in self.scores)

    @property
    def version(self) -> str:
        """Package and version that computes the metric, or "<package> (not installed)"."""
        return f"lanewise {__version__}" if self.package is None else installed(self.package)

    @property
    def packages(self) -> str:
        """Everything installed that its value rests on, with versions, absences included; "" for own code alone."""
        return ", ".join(installed(name) for name in (self.package, *self.needs) if name is not None)


ABSENT = "(not installed)"


@cache
def installed(package: str) -> str:
    """Return "<package> <version>", or "<package> (not installed)"."""
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return f"{package} {ABSENT}"
