"""Quality against what it costs: one point per arm, intervals on both axes, the Pareto front and how sure it is.

Quality is drawn as the paired difference to dense-continued where there is one: clips differ far more than arms do, so
the intervals of absolute scores overlap even where every single clip got worse.
"""

import math
from collections.abc import Callable

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from reports.analysis import Analysis
from reports.columns import SMALLEST
from reports.figures.style import FAINT, GRID, INK, cloud, empty, figure, looks, short
from reports.loader import BASELINE
from reports.pareto import AMBIGUOUS, DOMINATED, FRONTIER, front

MOST_IN_LEGEND = 32
MOST_NAMED = 80
"""Points drawn each in its own look; of more, dominated ones are drawn as one cloud."""
RTF = "speed.rtf"
REAL_TIME_IN_SIGHT = 16
"""The line RTF = 1 is drawn where the slowest arm is within this factor of it."""


def size_key(analysis: Analysis) -> str:
    """What arms are compared in: the smallest encoding where records have several, else the packed file."""
    return SMALLEST if analysis.column(SMALLEST) else "size.bytes"


def throughput_keys(analysis: Analysis) -> list[str]:
    """Speed-ups by the stated accelerator models, eight at most; without any, the measured speed-up."""
    keys = [c.key for c in analysis.columns if c.key.startswith("accel.") and c.key.endswith(".speedup")]
    return keys[:8] or ["speed.vs_dense"]


def data_rtf(analysis: Analysis) -> pd.DataFrame:
    """`reports.pareto.front` of both judging metrics against RTF."""
    return _fronts(analysis, [(metric, RTF) for metric in (analysis.primary, analysis.task.second)])


def data_size(analysis: Analysis) -> pd.DataFrame:
    """`reports.pareto.front` of both judging metrics against bytes."""
    key = size_key(analysis)
    return _fronts(analysis, [(metric, key) for metric in (analysis.primary, analysis.task.second)])


def data_throughput(analysis: Analysis) -> pd.DataFrame:
    """`reports.pareto.front` of the primary metric against each accelerator's speed-up."""
    return _fronts(analysis, [(analysis.primary, key) for key in throughput_keys(analysis)])


def _fronts(analysis: Analysis, pairs: list[tuple[str, str]]) -> pd.DataFrame:
    found = [front(analysis, metric, key) for metric, key in pairs]
    return pd.concat([points for points in found if not points.empty] or found[:1], ignore_index=True)


def draw_rtf(analysis: Analysis) -> Figure:
    """Quality over RTF (log); hollow points have no stable timing."""
    return _draw(analysis, data_rtf(analysis), _rtf_axis, "No arm has both a quality score and an RTF.")


def draw_size(analysis: Analysis) -> Figure:
    """Quality over bytes (log)."""
    column = analysis.column(size_key(analysis))
    words = "" if column is None else f"{column.label} (log axis; left is smaller)"

    def axis(axes: Axes, points: pd.DataFrame) -> None:
        _log_axis(axes, points, words, 1e-3)

    return _draw(analysis, data_size(analysis), axis, "No arm has both a quality score and a size.")


def draw_throughput(analysis: Analysis) -> Figure:
    """Quality over speed-up, one panel per accelerator."""

    def axis(axes: Axes, points: pd.DataFrame) -> None:
        column = analysis.column(points["key"].iloc[0])
        label = "" if column is None else column.label
        _log_axis(axes, points, f"{label} dense (log axis; right is faster)", 1.0)
        axes.axvline(1.0, color=INK, linewidth=0.9, linestyle=":")

    return _draw(analysis, data_throughput(analysis), axis, "No arm has both a quality score and a speed-up.")


def _draw(
    analysis: Analysis, points: pd.DataFrame, x_axis: Callable[[Axes, pd.DataFrame], None], nothing: str
) -> Figure:
    if points.empty:
        return empty(nothing)
    panels = [group for _, group in points.groupby(["key", "metric"], sort=False)]
    one_axis = points["key"].nunique() == 1
    with figure(7.6, (3.1 if len(panels) <= 2 else 2.2) * len(panels)) as drawn:
        grid = drawn.subplots(len(panels), 1, squeeze=False, sharex=one_axis)[:, 0]
        for number, (axes, mine) in enumerate(zip(grid, panels, strict=True)):
            axes.set_xscale("log")
            _points(axes, analysis, mine, number)
            _quality_axis(axes, analysis, mine["metric"].iloc[0])
            if not one_axis or number == len(panels) - 1:
                x_axis(axes, points if one_axis else mine)
        handles, labels = grid[0].get_legend_handles_labels()
        if len(labels) <= MOST_IN_LEGEND:
            drawn.legend(handles, labels, loc="outside right upper", handlelength=1.4)
        return drawn


def _points(axes: Axes, analysis: Analysis, points: pd.DataFrame, panel: int) -> None:
    look = looks(analysis.arms, BASELINE)
    numbers = {arm: number for number, arm in enumerate(analysis.arms)}
    if len(points) > MOST_NAMED:
        named = points["front"].isin((FRONTIER, AMBIGUOUS)) | (points["arm"] == BASELINE)
        first = points[named].sort_values("probability", ascending=False).head(MOST_NAMED)
        rest = points.drop(first.index)
        cloud(axes, rest["x"].tolist(), rest["value"].tolist(), [numbers[arm] for arm in rest["arm"]], f"front{panel}",
              marker=".", color=FAINT, markersize=5, zorder=1)  # fmt: skip
        points = first
    line = points[points["on_line"]].sort_values("x")
    axes.plot(line["x"], line["value"], color=INK, linewidth=0.8, alpha=0.5, zorder=1)
    faded = points["front"] == DOMINATED
    colours = points["arm"].map(lambda arm: look[arm].colour)
    for (colour, is_faded), group in points.groupby([colours, faded]):  # hundreds of single calls are slow
        axes.errorbar(
            group["x"], group["value"], xerr=_bars(group, "x"), yerr=_bars(group, "value"), fmt="none",
            ecolor=str(colour), elinewidth=0.9, capsize=2, alpha=0.35 if is_faded else 1.0,
        )  # fmt: skip
    for point in points.to_dict("records"):
        arm, sure = point["arm"], point["front"] == FRONTIER
        (mark,) = axes.plot(
            point["x"], point["value"], look[arm].marker, color=look[arm].colour,
            markersize=9 if arm == BASELINE else 6.5, alpha=0.35 if point["front"] == DOMINATED else 1.0,
            markerfacecolor=look[arm].colour if point["stable"] else "none",
            markeredgecolor=INK if sure else look[arm].colour, markeredgewidth=1.4 if sure else 1.0,
            label=short(arm),
        )  # fmt: skip
        mark.set_gid(f"point-{numbers[arm]}-{panel}")


def _bars(points: pd.DataFrame, key: str) -> list[pd.Series]:
    """How far each point's bar reaches down and up; NaN, which draws none, where there is no interval."""
    below, above = points[key] - points[f"{key}_low"], points[f"{key}_high"] - points[key]
    return [below.clip(lower=0.0), above.clip(lower=0.0)]


def _quality_axis(axes: Axes, analysis: Analysis, metric: str) -> None:
    column = analysis.column(metric)
    assert column is not None  # only metrics with values are drawn
    if BASELINE not in analysis.arms:
        axes.set_ylabel(f"{column.label}\n({column.better} is better)")
        return
    axes.set_ylabel(f"{column.label}, difference\nto {BASELINE} ({column.better} is better)")
    axes.axhline(0, color=INK, linewidth=0.9, linestyle="--")
    margin = analysis.margins.get(metric)
    if margin is not None:
        axes.axhspan(0, -column.sign * margin, color=GRID, alpha=0.6, linewidth=0, zorder=0)


def _rtf_axis(axes: Axes, points: pd.DataFrame) -> None:
    words = "RTF, seconds per second of audio on one core (log axis; left is faster)"
    slowest = float(points["x"].max())
    if slowest * REAL_TIME_IN_SIGHT <= 1:
        beyond = f"real time, RTF = 1, is {1 / slowest:.0f} times the slowest arm's: beyond the right edge"
        _log_axis(axes, points, f"{words}\n{beyond}", 1.0)
        return
    _log_axis(axes, points, f"{words}; dotted: real time, RTF = 1", 1.0)
    for each in axes.figure.axes:
        each.axvline(1.0, color=INK, linewidth=0.9, linestyle=":")
    axes.set_xlim(right=max(1.15, slowest * 1.25))
    _ticks(axes, 1.0)


def _log_axis(axes: Axes, points: pd.DataFrame, label: str, scale: float) -> None:
    axes.set_xlim(float(points["x"].min()) / 1.25, float(points["x"].max()) * 1.25)
    _ticks(axes, scale)
    axes.set_xlabel(label)


def _ticks(axes: Axes, scale: float) -> None:
    """Ticks at round numbers in the unit shown (`scale` times the data's)."""
    low, high = (float(edge) * scale for edge in axes.get_xlim())
    decades = math.log10(high / low)
    marks = (1, 1.5, 2, 3, 4, 5, 6, 8) if decades < 0.9 else (1, 2, 5) if decades < 2.2 else (1,)
    steps = [m * 10.0**e for e in range(-6, 9) for m in marks]
    axes.set_xticks([tick / scale for tick in steps if low <= tick <= high])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * scale:g}"))
    axes.minorticks_off()
    axes.xaxis.set_minor_formatter(NullFormatter())
