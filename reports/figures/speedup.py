"""Break-even: speed-up over dense against sparsity, one line per structure, number format and ISA."""

import math
from itertools import pairwise
from typing import Literal

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reports.analysis import Analysis
from reports.figures.style import INK, MARKERS, PALETTE, cloud, empty, figure, legend_right, short
from reports.speed import RTF_INT8

Dashes = Literal["-", "--", "-.", ":"]
DASHES: dict[str, Dashes] = {"f32": "-", "int8": "--", "bf16": "-."}
MOST_LINES, MOST_POINTS = 24, 60


COLUMNS = ["arm", "structure", "format", "isa", "sparsity", "speedup", "low", "high", "stable"]


def data(analysis: Analysis) -> pd.DataFrame:
    """Pruned and timed arms: `arm`, `structure` (pruning tile), `format`, `isa`, `sparsity`, `speedup`, `low`, `high`,
    `stable`.

    Each network and format is held against dense in the same: an arm packed in int8 beside its own against the int8
    form of its dense arm (without interval: records keep no samples of that timing).
    """
    rows = []
    for arm in filter(analysis.is_pruned, analysis.arms):
        sparsity = analysis.value(arm, "sparsity.achieved")
        common = {
            "arm": arm,
            "structure": ", ".join(filter(None, (str(analysis.param(arm, "prune.tile")), analysis.units(arm)))),
            "isa": str(analysis.param(arm, "timing.isa") or "?"), "stable": arm not in analysis.unstable,
            "sparsity": float(analysis.param(arm, "prune.sparsity")) if math.isnan(sparsity) else sparsity,
        }  # fmt: skip
        found = analysis.estimates[arm, "speed.vs_dense"]
        if not math.isnan(found.value):
            own = str(analysis.param(arm, "pack.format") or "f32")
            speed = {"format": own, "speedup": found.value, "low": found.ci_low, "high": found.ci_high}
            rows.append(common | speed)
        int8 = analysis.value(analysis.dense.get(arm, ""), RTF_INT8) / analysis.value(arm, RTF_INT8)
        if not math.isnan(int8):
            stable = analysis.is_timed(arm, RTF_INT8)
            rows.append(
                common | {"format": "int8", "speedup": int8, "low": math.nan, "high": math.nan, "stable": stable}
            )
    keys = ["structure", "format", "isa", "sparsity", "arm"]
    return pd.DataFrame(rows, columns=COLUMNS).sort_values(keys, ignore_index=True)


def verdict(points: pd.DataFrame) -> str:
    """Where a line crosses 1, in words."""
    passes, sparsities = crossing(points), points["sparsity"]
    if passes is not None:
        return f"even at {passes:.2f}"
    if float(points["speedup"].min()) >= 1:
        return f"pays from {sparsities.min():.2f}, the lowest measured"
    return f"never even up to {sparsities.max():.2f}"


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
    """Speed-up of the whole path over the dense engine.

    A colour for each structure, a marker and dashes for each number format; hollow points have no stable timing.
    """
    points = data(analysis)
    if points.empty:
        return empty("No pruned arm has a measured speed-up.")
    lines = list(points.groupby(["structure", "format", "isa"], sort=True))
    structures = list(dict.fromkeys(structure for (structure, _, _), _ in lines))
    forms = sorted(points["format"].unique(), key=lambda form: (form != "f32", form))
    isas = points["isa"].nunique() > 1
    with figure(7.6, max(3.4, 0.19 * min(len(lines), MOST_LINES) + 0.6)) as drawn:
        axes = drawn.subplots()
        axes.axhline(1.0, color=INK, linewidth=1.1, linestyle="--")
        axes.annotate(
            "dense = 1", (1.0, 1.0), xycoords=("axes fraction", "data"), xytext=(-3, 3), textcoords="offset points",
            ha="right",
        )  # fmt: skip
        handles, labels = [], []
        for (structure, form, isa), group in lines[:MOST_LINES]:
            i = structures.index(structure)
            colour = PALETTE[i % len(PALETTE)]
            marker = MARKERS[(forms.index(form) + len(forms) * (i // len(PALETTE))) % len(MARKERS)]
            style: Dashes = DASHES.get(str(form), ":")
            _line(axes, analysis, group, colour, marker, style)
            handles.append(Line2D([], [], color=colour, marker=marker, linewidth=1.4, markersize=6, linestyle=style))
            labels.append(f"{short(str(structure))} {form}{f' {isa}' if isas else ''}: {verdict(group)}")
        cut = f"  ({MOST_LINES} of {len(lines)} lines shown)" if len(lines) > MOST_LINES else ""
        axes.set_xlabel(f"sparsity (achieved share of pruned weights){cut}")
        axes.set_ylabel("speed-up of the whole path\nover dense in the same format")
        axes.set_ylim(bottom=0)
        margin = 0.05
        axes.set_xlim(max(0.0, points["sparsity"].min() - margin), min(1.0, points["sparsity"].max() + margin))
        legend_right(axes, handles, labels)
        return drawn


def _line(axes: Axes, analysis: Analysis, group: pd.DataFrame, colour: str, marker: str, style: Dashes) -> None:
    numbers = {arm: number for number, arm in enumerate(analysis.arms)}
    axes.plot(*line(group), color=colour, linewidth=1.4, linestyle=style)
    bars = [group["speedup"] - group["low"], group["high"] - group["speedup"]]  # NaN draws none
    axes.errorbar(
        group["sparsity"], group["speedup"], yerr=[bar.clip(lower=0.0) for bar in bars], fmt="none", ecolor=colour,
        capsize=2,
    )  # fmt: skip
    if len(group) > MOST_POINTS:
        form, tile = str(group["format"].iloc[0]), str(group["structure"].iloc[0])
        cloud(axes, group["sparsity"].tolist(), group["speedup"].tolist(), [numbers[arm] for arm in group["arm"]],
              "".join(c for c in f"{form}{tile}" if c.isalnum() and c.isascii()), marker=marker, color=colour,
              markersize=4)  # fmt: skip
        return
    for place, point in enumerate(group.to_dict("records")):
        (mark,) = axes.plot(
            point["sparsity"], point["speedup"], marker, color=colour, markersize=6,
            markerfacecolor=colour if point["stable"] else "none",
        )  # fmt: skip
        mark.set_gid(f"point-{numbers[point['arm']]}-{point['format']}{place}")
