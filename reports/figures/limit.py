"""Roofline: how near each arm's recurrent product is to what the host allows (Williams, Waterman and Patterson 2009).

A product uses each weight once, so its point lies under the slanted roof of the memory that delivers its bytes. Records
without the product's bytes and operations still have its time and that of reading the same bytes: then both are drawn
against each other. A point above its roof is an error of measurement, not a win.
"""

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from reports.analysis import Analysis
from reports.figures.style import INK, PALETTE, cloud, empty, figure, legend_right, looks, short
from reports.loader import BASELINE

MOST_IN_LEGEND, MOST_NAMED = 20, 80
COLUMNS = ["arm", "limit_us", "kernel_us", "stable", "above", "bytes", "operations", "peak_gops"]
MARGIN = 1.3


def data(analysis: Analysis) -> pd.DataFrame:
    """`arm`, `limit_us`, `kernel_us` (medians over all samples), `stable`, `above` (faster than its limit by 2 %).

    `bytes`, `operations` and `peak_gops` of the product are NaN where no record has them.
    """
    timing = analysis.study.timing
    medians = timing[timing["engine"].isin(("kernel", "limit"))].groupby(["arm", "engine"])["sample_us"].median()
    wide = medians.unstack("engine")
    if not {"kernel", "limit"} <= set(wide.columns):
        return pd.DataFrame(columns=COLUMNS)
    wide = wide.dropna()
    arms = [arm for arm in analysis.arms if arm in wide.index]
    found = pd.DataFrame({"arm": arms, "limit_us": wide.loc[arms, "limit"].to_numpy(dtype=float),
                          "kernel_us": wide.loc[arms, "kernel"].to_numpy(dtype=float)})  # fmt: skip
    found["stable"] = [arm not in analysis.unstable for arm in arms]
    found["above"] = found["kernel_us"] < 0.98 * found["limit_us"]
    for key in ("bytes", "operations", "peak_gops"):
        values = (analysis.param(arm, f"timing.product.{key}") for arm in arms)
        found[key] = [math.nan if value is None else float(value) for value in values]
    return found[COLUMNS]


def draw(analysis: Analysis) -> Figure:
    """Operations a second over operations per byte where records have both, else time over the read limit."""
    points = data(analysis)
    if points.empty:
        return empty("The records hold no timing of the recurrent product beside its read limit.")
    known = points.dropna(subset=["bytes", "operations"])
    with figure(7.6, 3.6) as drawn:
        axes = drawn.subplots()
        axes.set_xscale("log")
        axes.set_yscale("log")
        if known.empty:
            limit = (float(points[["limit_us", "kernel_us"]].to_numpy().min()) / MARGIN,
                     float(points[["limit_us", "kernel_us"]].to_numpy().max()) * MARGIN)  # fmt: skip
            axes.plot(limit, limit, color=INK, linewidth=1.0, linestyle="--")
            axes.annotate("read limit", (limit[1],) * 2, xytext=(-4, -12), textcoords="offset points", ha="right")
            _points(axes, analysis, points.assign(x=points["limit_us"], y=points["kernel_us"]))
            axes.set_xlabel("time to read the product's bytes, µs")
            axes.set_ylabel("time of the product, µs")
        else:
            x, per_us = known["operations"] / known["bytes"], known["operations"] / 1e3
            known = known.assign(x=x, y=per_us / known["kernel_us"], roof=per_us / known["limit_us"])
            _roofs(axes, known)
            _points(axes, analysis, known)
            axes.set_xlabel("operations per byte of weights and indices")
            axes.set_ylabel("GOP/s of the recurrent product")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_formatter(NullFormatter())
        handles, labels = axes.get_legend_handles_labels()
        if len(labels) <= MOST_IN_LEGEND:
            legend_right(axes, handles, labels)
        return drawn


def _roofs(axes: Axes, points: pd.DataFrame) -> None:
    """What memory delivers (a dash above each point: its own bytes were read at their own speed) and the peak."""
    left, right = float(points["x"].min()) / MARGIN, float(points["x"].max()) * MARGIN
    fastest = float((points["roof"] / points["x"]).max())
    axes.plot([left, right], [fastest * left, fastest * right], color=INK, linewidth=1.0)
    axes.annotate(
        f"{fastest:.0f} GB/s", (right, fastest * right), xytext=(-4, -12), textcoords="offset points", ha="right"
    )
    axes.plot(points["x"], points["roof"], "_", color=INK, markersize=9, label="read limit of its bytes")
    top = fastest * right * MARGIN
    for place, peak in enumerate(sorted(set(points["peak_gops"].dropna().round()))):
        if peak < top:
            axes.axhline(peak, color=INK, linewidth=1.0, linestyle="-.")
        where = "" if peak < top else ", above this view"
        axes.annotate(f"peak {peak:.0f} GOP/s{where}", (0.02, 0.97 - 0.06 * place), xycoords="axes fraction", va="top")
    axes.set_xlim(left, right)
    axes.set_ylim(float(points["y"].min()) / MARGIN, top)


def _points(axes: Axes, analysis: Analysis, points: pd.DataFrame) -> None:
    """A marker per arm at `x`, `y`; of very many, those above their limit alone have their own look."""
    look = looks(analysis.arms, BASELINE)
    numbers = {arm: number for number, arm in enumerate(analysis.arms)}
    if len(points) > MOST_NAMED:
        named = points[points["above"]].head(MOST_NAMED)
        rest = points.drop(named.index)
        cloud(axes, rest["x"].tolist(), rest["y"].tolist(), [numbers[arm] for arm in rest["arm"]], "limit",
              marker=".", color=PALETTE[0], markersize=5)  # fmt: skip
        points = named
    for point in points.to_dict("records"):
        arm = point["arm"]
        (mark,) = axes.plot(
            point["x"], point["y"], "x" if point["above"] else look[arm].marker, color=look[arm].colour, markersize=6.5,
            markerfacecolor=look[arm].colour if point["stable"] else "none", label=short(arm),
        )  # fmt: skip
        mark.set_gid(f"point-{numbers[arm]}-limit")
