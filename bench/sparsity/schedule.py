"""How sparsity rises with the training step."""

import math
from dataclasses import dataclass
from typing import Literal

from bench.errors import UsageError

Kind = Literal["one-shot", "offline", "cubic", "progress5", "staged", "linear"]
KINDS: tuple[Kind, ...] = ("one-shot", "offline", "cubic", "progress5", "staged", "linear")

AT_ONCE = ("one-shot", "offline")


@dataclass(frozen=True)
class Schedule:
    """Sparsity as a function of the step: never falls, `initial` up to step `start`, exactly `final` from `end` on.

    With p = (step - start) / (end - start):

    - `one-shot`: `final` from `start` on (`end` is not used);
    - `offline`: the same, where `start` is the end of the training;
    - `cubic`: final + (initial - final) * (1 - p)^3, fast first (Zhu & Gupta 2017, arXiv 1710.01878, eq. 1);
    - `progress5`: initial + (final - initial) * p^5, slow first (the MWDLP vocoder's ramp);
    - `staged`: `stages` equal jumps, the k-th at p = k / stages;
    - `linear`: initial + (final - initial) * p.

    Attributes
    ----------
    kind, final, start, end, initial, stages
        As above; sparsities within 0..1, steps >= 0.
    frequency
        Steps between changes of the ramps; between them the sparsity holds. `final` is reached at `end` whatever the
        frequency.
    """

    kind: Kind
    final: float
    start: int = 0
    end: int = 0
    frequency: int = 1
    initial: float = 0.0
    stages: int = 4

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"prune.schedule: got {self.kind!r}, allowed: {', '.join(KINDS)}")
        if not 0 <= self.initial <= self.final <= 1:
            raise UsageError(
                f"prune.schedule: sparsities must satisfy 0 <= initial <= final <= 1, "
                f"got initial {self.initial}, final {self.final}"
            )
        if self.start < 0 or (self.kind not in AT_ONCE and self.end < self.start):
            raise UsageError(f"prune.schedule: steps must satisfy 0 <= start <= end, got {self.start}, {self.end}")
        if self.frequency < 1 or self.stages < 1:
            raise UsageError(
                f"prune.schedule: frequency and stages must be at least 1, got {self.frequency}, {self.stages}"
            )

    def sparsity_at(self, step: int) -> float:
        """Sparsity that the masks have at a step."""
        if step >= (self.start if self.kind in AT_ONCE else self.end):
            return self.final
        if step <= self.start:
            return self.initial
        since = step - self.start
        if self.kind == "staged":
            share = math.floor(since * self.stages / (self.end - self.start)) / self.stages
        else:
            p = since // self.frequency * self.frequency / (self.end - self.start)
            share = {"cubic": 1 - (1 - p) ** 3, "progress5": p**5, "linear": p}[self.kind]
        return min(self.final, self.initial + share * (self.final - self.initial))

    def changes_at(self, step: int) -> bool:
        """Whether the masks must be made anew at a step: the sparsity differs from the step before (or from none)."""
        before = self.sparsity_at(step - 1) if step > 0 else 0.0
        return self.sparsity_at(step) != before
