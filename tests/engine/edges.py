"""Where rounding may decide a sampled level: near an edge of the cumulative distribution."""

from typing import Any

import numpy as np
import numpy.typing as npt

from bench.engine.reference import Doubles, Levels, ReferenceVocoder

EDGE = 1e-5


class Recorded(ReferenceVocoder):
    """The reference, which keeps every cumulative distribution it makes."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.made: list[Doubles] = []

    def cumulative(self, h: Doubles, temperature: float = 1.0) -> Doubles:
        self.made.append(super().cumulative(h, temperature))
        return self.made[-1]


def single_precision_moves(reference: ReferenceVocoder, mel: npt.NDArray[np.floating], forced: Levels) -> float:
    """How far NumPy's own single precision moves a cumulative probability at most, fed these levels."""
    made = []
    for dtype in (np.float64, np.float32):
        run = Recorded(reference.arch, reference.t, reference.delta, dtype)
        run.run(mel, [0], steps=len(forced), forced=forced)
        made.append(np.array(run.made))
    return float(np.abs(made[1] - made[0]).max())


def assert_only_at_edges(
    reference: ReferenceVocoder, mel: npt.NDArray[np.floating], forced: Levels, margins: Doubles, what: str
) -> None:
    """Levels that differ, their uniform numbers `margins` away from an edge, may do so by rounding alone.

    That is within 1e-5, as in every trained model tried. Some random models are more sensitive: there NumPy's single
    precision moves the distribution by more than that, and an engine in single precision by at most three times as
    much as NumPy (one frame sequence in thousands; 1e-4 is too much in any case).
    """
    furthest = float(margins.max(initial=0.0))
    if furthest > EDGE:
        moves = single_precision_moves(reference, mel, forced)
        print(f"{what}: {furthest:.1e} from an edge; single precision moves the distribution by {moves:.1e}")
        assert furthest <= min(3 * moves, 10 * EDGE), what
