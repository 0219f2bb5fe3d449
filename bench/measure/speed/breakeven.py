"""From kernel rows to the break-even: the sparsity above which a sparse kernel beats the best dense one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.measure.speed.kernels import DENSE


@dataclass(frozen=True)
class BreakEven:
    """Where one kernel starts to pay on one matrix.

    Attributes
    ----------
    sparsity
        The break-even, interpolated; None if it lies outside of what was measured.
    words
        For people: "0.31", "below 0.10", "not up to 0.95".
    """

    hidden: int
    tile: str
    format: str
    isa: str | None
    kernel: str
    sparsity: float | None
    words: str


def break_evens(rows: Sequence[dict[str, Any]]) -> list[BreakEven]:
    """Break-even of every sparse kernel in the rows of `lanewise kernels`.

    Time is close to linear in the share of weights kept, so the crossing of vs_best_dense = 1 is found on its inverse
    (time in units of the best dense), linear between the last measured sparsity that loses and the next, which wins.
    """
    curves: dict[tuple[int, str, str, str | None, str], list[tuple[float, float]]] = {}
    for row in rows:
        if row["tile"] != DENSE:
            key = (row["hidden"], row["tile"], row["format"], row["isa"], row["kernel"])
            curves.setdefault(key, []).append((row["sparsity"], 1.0 / row["vs_best_dense"]))
    return [BreakEven(*key, *_crossing(sorted(curve))) for key, curve in curves.items()]


def _crossing(curve: list[tuple[float, float]]) -> tuple[float | None, str]:
    """Sparsity at which relative time falls through 1 for good, and in words."""
    losing = [i for i, (_, relative) in enumerate(curve) if relative >= 1.0]
    if not losing:
        return None, f"below {curve[0][0]:.2f}"
    if losing[-1] == len(curve) - 1:
        return None, f"not up to {curve[-1][0]:.2f}"
    (s0, t0), (s1, t1) = curve[losing[-1]], curve[losing[-1] + 1]
    sparsity = s0 + (s1 - s0) * (t0 - 1.0) / (t0 - t1)
    return sparsity, f"{sparsity:.2f}"
