"""Quality against speed: one point per arm, intervals on both axes, the trade-off at a glance.

Quality is drawn as the paired difference to dense-continued where there is one: clips differ far more than arms do, so
the intervals of absolute scores overlap even where every single clip got worse.
"""

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from reports.analysis import Analysis
from reports.columns import PRIMARY
from reports.figures.style import GRID, INK, empty, figure, legend_right, looks, short
from reports.loader import BASELINE

METRICS = (PRIMARY, "quality.pesq_wb")
MOST_IN_LEGEND = 20


def data(analysis: Analysis) -> pd.DataFrame:
    """One row per arm and metric that has both figures.

    Columns: `arm`, `metric`, `stable` (timing), `rtf`, `rtf_low`, `rtf_high`; `value`, `value_low`, `value_high`: the
    paired difference to dense-continued (0 for itself), or the score itself in a study without that arm.
    """
    rows = []
    for metric in METRICS:
        for arm in analysis.arms:
            rtf = analysis.estimates[arm, "speed.rtf"]
            value, low, high = _quality(analysis, arm, metric)
            if math.isnan(rtf.value) or math.isnan(value):
                continue
            row = {"arm": arm, "metric": metric, "stable": arm not in analysis.unstable}
            row |= {"rtf": rtf.value, "rtf_low": rtf.ci_low, "rtf_high": rtf.ci_high}
            rows.append(row | {"value": value, "value_low": low, "value_high": high})
    columns = ["arm", "metric", "stable", "rtf", "rtf_low", "rtf_high", "value", "value_low", "value_high"]
    return pd.DataFrame(rows, columns=columns)


def _quality(analysis: Analysis, arm: str, metric: str) -> tuple[float, float, float]:
    if BASELINE not in analysis.arms:
        found = analysis.estimates.get((arm, metric))
        return (math.nan,) * 3 if found is None else (found.value, found.ci_low, found.ci_high)
    if arm == BASELINE:
        return (math.nan if math.isnan(analysis.value(arm, metric)) else 0.0, math.nan, math.nan)
    delta = analysis.differences.get((arm, metric))
    return (math.nan,) * 3 if delta is None else (delta.value, delta.ci_low, delta.ci_high)


def draw(analysis: Analysis) -> Figure:
    """Two panels, NLL and PESQ over RTF (log); hollow points have no stable timing."""
    points = data(analysis)
    if points.empty:
        return empty("No arm has both a quality score and an RTF.")
    look = looks(analysis.arms, BASELINE)
    numbers = {arm: number for number, arm in enumerate(analysis.arms)}
    metrics = [metric for metric in METRICS if metric in set(points["metric"])]
    with figure(7.6, 3.1 * len(metrics)) as drawn:
        panels = drawn.subplots(len(metrics), 1, squeeze=False, sharex=True)[:, 0]
        for axes, metric in zip(panels, metrics, strict=True):
            mine = points[points["metric"] == metric]
            colours = mine["arm"].map(lambda arm: look[arm].colour)
            for colour, group in mine.groupby(colours):  # one call for all bars of a colour: hundreds are slow
                axes.errorbar(
                    group["rtf"], group["value"], xerr=_bars(group, "rtf"), yerr=_bars(group, "value"),
                    fmt="none", ecolor=str(colour), elinewidth=0.9, capsize=2,
                )  # fmt: skip
            for point in mine.to_dict("records"):
                arm = point["arm"]
                (mark,) = axes.plot(
                    point["rtf"], point["value"], look[arm].marker, color=look[arm].colour,
                    markersize=9 if arm == BASELINE else 6,
                    markerfacecolor=look[arm].colour if point["stable"] else "none",
                    label=short(arm),
                )  # fmt: skip
                mark.set_gid(f"point-{numbers[arm]}-{metrics.index(metric)}")
            _quality_axis(axes, analysis, metric)
        _rtf_axis(panels[-1], points)
        handles, labels = panels[0].get_legend_handles_labels()
        if len(labels) <= MOST_IN_LEGEND:
            legend_right(panels[0], handles, labels)
        return drawn


def _bars(points: pd.DataFrame, key: str) -> list[pd.Series]:
    """How far each point's bar reaches down and up; NaN, which draws none, where there is no interval."""
    below, above = points[key] - points[f"{key}_low"], points[f"{key}_high"] - points[key]
    return [below.clip(lower=0.0), above.clip(lower=0.0)]


def _quality_axis(axes: Axes, analysis: Analysis, metric: str) -> None:
    column = analysis.column(metric)
    assert column is not None  # only metrics with values are drawn
    axes.set_xscale("log")
    if BASELINE not in analysis.arms:
        axes.set_ylabel(f"{column.label}\n({column.better} is better)")
        return
    axes.set_ylabel(f"{column.label}, difference\nto {BASELINE} ({column.better} is better)")
    axes.axhline(0, color=INK, linewidth=0.9, linestyle="--")
    margin = analysis.margins.get(metric)
    if margin is not None:
        axes.axhspan(0, -column.sign * margin, color=GRID, alpha=0.6, linewidth=0, zorder=0)


def _rtf_axis(axes: Axes, points: pd.DataFrame) -> None:
    low, high = float(points["rtf"].min()) / 1.25, float(points["rtf"].max()) * 1.25
    if high > 0.5:
        high = max(high, 1.1)
        axes.axvline(1.0, color=INK, linewidth=0.9, linestyle=":")
    axes.set_xlim(low, high)
    steps = [m * 10.0**e for e in range(-5, 3) for m in (1, 1.5, 2, 3, 4, 5, 6, 8)]
    axes.set_xticks([tick for tick in steps if low <= tick <= high])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.minorticks_off()
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("RTF, seconds per second of audio on one core (log axis; left is faster)")
