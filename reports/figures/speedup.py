"""Break-even: speed-up over dense against sparsity, one line per structure."""

import math
from itertools import pairwise

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reports.analysis import Analysis
from reports.figures.style import INK, MARKERS, PALETTE, empty, figure, legend_right


def data(analysis: Analysis) -> pd.DataFrame:
    """`arm`, `structure` (pruning tile), `sparsity`, `speedup`, `low`, `high`, `stable`; pruned and timed arms only."""
    rows = []
    for arm in analysis.arms:
        found = analysis.estimates[arm, "speed.vs_dense"]
        if not analysis.is_pruned(arm) or math.isnan(found.value):
            continue
        sparsity = analysis.value(arm, "sparsity.achieved")
        if math.isnan(sparsity):
            sparsity = float(analysis.param(arm, "prune.sparsity"))
        rows.append(
            {
                "arm": arm, "structure": str(analysis.param(arm, "prune.tile")), "sparsity": sparsity,
                "speedup": found.value, "low": found.ci_low, "high": found.ci_high,
                "stable": arm not in analysis.unstable,
            }
        )  # fmt: skip
    columns = ["arm", "structure", "sparsity", "speedup", "low", "high", "stable"]
    return pd.DataFrame(rows, columns=columns).sort_values(["structure", "sparsity", "arm"], ignore_index=True)


def crossing(points: pd.DataFrame) -> float | None:
    """Sparsity at which a structure's speed-up passes 1, interpolated between measured arms; None where it does not."""
    sparsities, speedups = line(points)
    for (s0, v0), (s1, v1) in pairwise(zip(sparsities, speedups, strict=True)):
        if v0 < 1 <= v1:
            return s0 + (1 - v0) / (v1 - v0) * (s1 - s0)
    return None


def line(points: pd.DataFrame) -> tuple[list[float], list[float]]:
    """Sparsities in ascending order and the mean speed-up at each."""
    means = points.groupby("sparsity")["speedup"].mean()
    return [float(sparsity) for sparsity in means.index.tolist()], [float(speedup) for speedup in means.tolist()]


def draw(analysis: Analysis) -> Figure:
    """Speed-up of the whole path over the dense engine; hollow points have no stable timing."""
    points = data(analysis)
    if points.empty:
        return empty("No pruned arm has a measured speed-up.")
    numbers = {arm: number for number, arm in enumerate(analysis.arms)}
    with figure(7.6, 3.4) as drawn:
        axes = drawn.subplots()
        axes.axhline(1.0, color=INK, linewidth=1.1, linestyle="--")
        axes.annotate(
            "dense = 1", (1.0, 1.0), xycoords=("axes fraction", "data"), xytext=(-3, 3), textcoords="offset points",
            ha="right",
        )  # fmt: skip
        handles, labels = [], []
        for i, (structure, group) in enumerate(points.groupby("structure")):
            colour, marker = PALETTE[i % len(PALETTE)], MARKERS[i % len(MARKERS)]
            axes.plot(*line(group), color=colour, linewidth=1.4)
            bars = [group["speedup"] - group["low"], group["high"] - group["speedup"]]  # NaN draws none
            axes.errorbar(
                group["sparsity"], group["speedup"], yerr=[bar.clip(lower=0.0) for bar in bars], fmt="none",
                ecolor=colour, capsize=2,
            )  # fmt: skip
            for point in group.to_dict("records"):
                (mark,) = axes.plot(
                    point["sparsity"], point["speedup"], marker, color=colour, markersize=6,
                    markerfacecolor=colour if point["stable"] else "none",
                )  # fmt: skip
                mark.set_gid(f"point-{numbers[point['arm']]}")
            passes = crossing(group)
            handles.append(Line2D([], [], color=colour, marker=marker, linewidth=1.4, markersize=6))
            labels.append(f"tile {structure}" + (f", even at {passes:.2f}" if passes is not None else ""))
        axes.set_xlabel("sparsity (achieved share of pruned weights)")
        axes.set_ylabel("speed-up of the whole path")
        axes.set_ylim(bottom=0)
        margin = 0.05
        axes.set_xlim(max(0.0, points["sparsity"].min() - margin), min(1.0, points["sparsity"].max() + margin))
        legend_right(axes, handles, labels)
        return drawn
