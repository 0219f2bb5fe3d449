"""How near each arm's recurrent product is to the memory's limit: its time over the time to read the same bytes.

The roofline of a product whose weights are read once: all of them lie on its slanted side, so time against the time to
read says it all. A point below the line is faster than its bytes can be read: an error of measurement, not a win.
"""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from reports.analysis import Analysis
from reports.figures.style import INK, PALETTE, cloud, empty, figure, legend_right, looks, short
from reports.loader import BASELINE

MOST_IN_LEGEND, MOST_NAMED = 20, 80


def data(analysis: Analysis) -> pd.DataFrame:
    """`arm`, `limit_us`, `kernel_us` (medians over all samples), `stable`, `above` (faster than its limit by 2 %)."""
    timing = analysis.study.timing
    columns = ["arm", "limit_us", "kernel_us", "stable", "above"]
    medians = timing[timing["engine"].isin(("kernel", "limit"))].groupby(["arm", "engine"])["sample_us"].median()
    wide = medians.unstack("engine")
    if not {"kernel", "limit"} <= set(wide.columns):
        return pd.DataFrame(columns=columns)
    wide = wide.dropna()
    arms = [arm for arm in analysis.arms if arm in wide.index]
    found = pd.DataFrame({"arm": arms, "limit_us": wide.loc[arms, "limit"].to_numpy(dtype=float),
                          "kernel_us": wide.loc[arms, "kernel"].to_numpy(dtype=float)})  # fmt: skip
    found["stable"] = [arm not in analysis.unstable for arm in arms]
    found["above"] = found["kernel_us"] < 0.98 * found["limit_us"]
    return found[columns]


def draw(analysis: Analysis) -> Figure:
    """Time of one product over its read limit, both axes logarithmic."""
    points = data(analysis)
    if points.empty:
        return empty("The records hold no timing of the recurrent product beside its read limit.")
    look = looks(analysis.arms, BASELINE)
    numbers = {arm: number for number, arm in enumerate(analysis.arms)}
    with figure(7.6, 3.6) as drawn:
        axes = drawn.subplots()
        axes.set_xscale("log")
        axes.set_yscale("log")
        edges = [points[["limit_us", "kernel_us"]].to_numpy().min() / 1.3]
        edges += [points[["limit_us", "kernel_us"]].to_numpy().max() * 1.3]
        axes.plot(edges, edges, color=INK, linewidth=1.0, linestyle="--")
        axes.annotate("read limit", (edges[1], edges[1]), xytext=(-4, -12), textcoords="offset points", ha="right")
        if len(points) > MOST_NAMED:
            named = points[points["above"]].head(MOST_NAMED)
            rest = points.drop(named.index)
            cloud(axes, rest["limit_us"].tolist(), rest["kernel_us"].tolist(), [numbers[arm] for arm in rest["arm"]],
                  "limit", marker=".", color=PALETTE[0], markersize=5)  # fmt: skip
            points = named
        for point in points.to_dict("records"):
            arm = point["arm"]
            (mark,) = axes.plot(
                point["limit_us"], point["kernel_us"], "x" if point["above"] else look[arm].marker,
                color=look[arm].colour, markersize=6.5, label=short(arm),
                markerfacecolor=look[arm].colour if point["stable"] else "none",
            )  # fmt: skip
            mark.set_gid(f"point-{numbers[arm]}-limit")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("time to read the product's bytes, µs")
        axes.set_ylabel("time of the product, µs")
        handles, labels = axes.get_legend_handles_labels()
        if len(labels) <= MOST_IN_LEGEND:
            legend_right(axes, handles, labels)
        return drawn
