"""From kernel rows to the break-even: the sparsity above which a sparse kernel beats the best dense one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.measure.speed.peers import DENSE

Row = dict[str, Any]


@dataclass(frozen=True)
class BreakEven:
    """Where one kernel starts to pay on one matrix.

    Attributes
    ----------
    best_dense, dense_us
        The dense kernel to beat, of the same number format and gated run, and its time.
    sparsity
        The break-even, interpolated; None if it lies outside of what was measured.
    words
        For people: "0.31", "below 0.10", "not up to 0.95".
    """

    hidden: int
    format: str
    best_dense: str
    dense_us: float
    kernel: str
    isa: str | None
    tile: str
    sparsity: float | None
    words: str


def break_evens(rows: Sequence[Row]) -> list[BreakEven]:
    """Break-even of every sparse kernel in the rows of `lanewise kernels`.

    Time is close to linear in the share of weights kept, so the crossing of vs_best_dense = 1 is found on its inverse
    (time in units of the best dense), linear between the last measured sparsity that loses and the next, which wins.
    """
    curves: dict[tuple[int, str, str, str | None, str], list[Row]] = {}
    for row in rows:
        if row["tile"] != DENSE and row["vs_best_dense"] is not None:
            key = (row["hidden"], row["format"], row["kernel"], row["isa"], row["tile"])
            curves.setdefault(key, []).append(row)
    found = []
    for (hidden, fmt, kernel, isa, tile), curve in curves.items():
        sparsity, words = _crossing(sorted((row["sparsity"], 1.0 / row["vs_best_dense"]) for row in curve))
        dense_us = curve[0]["us"] * curve[0]["vs_best_dense"]
        found.append(BreakEven(hidden, fmt, curve[0]["best_dense"], dense_us, kernel, isa, tile, sparsity, words))
    formats = list(dict.fromkeys(row["format"] for row in rows))
    return sorted(found, key=lambda point: (point.hidden, formats.index(point.format)))


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
