"""Large and sparse, or small and dense? Quality over non-zero weights; and the RTF that the bytes left predict."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from reports import scaling
from reports.analysis import Analysis
from reports.figures.style import BASELINE_COLOUR, GRID, INK, MARKERS, PALETTE, cloud, empty, figure, short
from reports.scaling import WITHIN

MOST_FAMILIES = 14


def draw(analysis: Analysis) -> Figure:
    """Families of arms over non-zeros above, predicted over measured RTF below."""
    sizes, predictions = scaling.sizes(analysis), scaling.predictions(analysis)
    if sizes.empty:
        return empty("No arm has both a quality score and a count of its weights.")
    with figure(7.6, 6.4 if len(predictions) else 3.4) as drawn:
        grid = drawn.subplots(2 if len(predictions) else 1, 1, squeeze=False)[:, 0]
        _sizes(grid[0], analysis, sizes)
        if len(predictions):
            _predictions(grid[1], analysis, predictions)
        handles, labels = grid[0].get_legend_handles_labels()
        drawn.legend(handles, labels, loc="outside right upper", handlelength=1.4)
        return drawn


def _sizes(axes: Axes, analysis: Analysis, data: pd.DataFrame) -> None:
    families = list(dict.fromkeys(data["family"]))
    families = [name for name in families if name == scaling.DENSE] + [n for n in families if n != scaling.DENSE]
    axes.set_xscale("log")
    axes.set_xlim(data["nonzeros"].min() / 1.25, data["nonzeros"].max() * 1.25)
    for index, name in enumerate(families[:MOST_FAMILIES]):
        mine = data[data["family"] == name]
        colour = BASELINE_COLOUR if name == scaling.DENSE else PALETTE[index % len(PALETTE)]
        bars = [(mine["value"] - mine["low"]).clip(lower=0), (mine["high"] - mine["value"]).clip(lower=0)]
        axes.errorbar(
            mine["nonzeros"], mine["value"], yerr=bars, fmt=f"{MARKERS[index % len(MARKERS)]}-", color=colour,
            markersize=5, linewidth=1.0, elinewidth=0.9, capsize=2, label=short(name),
        )  # fmt: skip
    column = analysis.column(analysis.primary)
    label = analysis.primary if column is None else column.label
    axes.set_ylabel(f"{label}, difference\nto {analysis.arms[0]}")
    axes.axhline(0, color=INK, linewidth=0.9, linestyle="--")
    axes.set_xlabel("non-zero weights of the packed model, thousands (log axis)")
    _plain_log(axes.xaxis, 1e-3)


def _predictions(axes: Axes, analysis: Analysis, data: pd.DataFrame) -> None:
    edges = [data[["rtf", "predicted"]].to_numpy().min() / 1.3, data[["rtf", "predicted"]].to_numpy().max() * 1.3]
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.plot(edges, edges, color=INK, linewidth=0.9, linestyle="--")
    low, high = ([edge * factor for edge in edges] for factor in (1 - WITHIN, 1 + WITHIN))
    axes.fill_between(edges, low, high, color=GRID, alpha=0.6, linewidth=0)
    numbers = {arm: number for number, arm in enumerate(analysis.arms)}
    for (near, stable), group in data.groupby([(data["ratio"] - 1).abs() <= WITHIN, "stable"]):
        colour = PALETTE[0] if near else PALETTE[1]
        cloud(
            axes, group["rtf"].tolist(), group["predicted"].tolist(), [numbers[arm] for arm in group["arm"]],
            f"predicted{near:d}{stable:d}", marker="o", color=colour, markersize=6,
            markerfacecolor=colour if stable else "none",
        )  # fmt: skip
    axes.set_xlabel("RTF measured")
    axes.set_ylabel("RTF predicted by\nthe read limit")
    _plain_log(axes.xaxis)
    _plain_log(axes.yaxis)


def _plain_log(axis: Axis, unit: float = 1.0) -> None:
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * unit:g}"))
    axis.set_minor_formatter(NullFormatter())
