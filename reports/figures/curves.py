"""Learning curves: validation loss and sparsity over the steps of each arm, seeds as a band."""

import pandas as pd
from matplotlib.figure import Figure

from reports.analysis import Analysis
from reports.figures.style import empty, figure, legend_right, looks, short
from reports.loader import BASELINE

MOST_ARMS = 14


def data(analysis: Analysis) -> pd.DataFrame:
    """`arm`, `step`, `curve` (valid_loss or sparsity), `mean`, `low`, `high` over the seeds of each arm drawn."""
    everything = analysis.study.curves
    have = set(everything["arm"])
    curves = everything[everything["arm"].isin([arm for arm in analysis.arms if arm in have][:MOST_ARMS])]
    columns = ["arm", "step", "curve", "mean", "low", "high"]
    present = [name for name in ("valid_loss", "sparsity") if name in curves]
    if not present:
        return pd.DataFrame(columns=columns)
    long = curves.melt(["arm", "seed", "step"], present, "curve", "value").dropna(subset="value")
    grouped = long.groupby(["arm", "curve", "step"], sort=True)["value"]
    return grouped.agg(mean="mean", low="min", high="max").reset_index()[columns]


def draw(analysis: Analysis) -> Figure:
    """Validation loss above, sparsity below, on the same steps."""
    curves = data(analysis)
    drawable, everything = set(curves["arm"]), set(analysis.study.curves["arm"])
    arms = [arm for arm in analysis.arms if arm in drawable]
    if not arms:
        return empty("The records hold no learning curves.")
    look = looks(analysis.arms, BASELINE)
    numbers = {arm: number for number, arm in enumerate(analysis.arms)}
    with figure(7.6, 4.6) as drawn:
        panels = dict(
            zip(("valid_loss", "sparsity"), drawn.subplots(2, 1, sharex=True, height_ratios=(2.2, 1)), strict=True)
        )
        for name, axes in panels.items():
            for arm in arms[:MOST_ARMS]:
                line = curves[(curves["arm"] == arm) & (curves["curve"] == name)]
                if line.empty:
                    continue
                colour = look[arm].colour
                (drawn_line,) = axes.plot(
                    line["step"], line["mean"], color=colour, linewidth=1.3, marker=look[arm].marker, markersize=4,
                    markevery=max(1, len(line) // 8), label=short(arm),
                )  # fmt: skip
                drawn_line.set_gid(f"point-{numbers[arm]}-{name.replace('_', '')}")
                axes.fill_between(line["step"], line["low"], line["high"], color=colour, alpha=0.18, linewidth=0)
        panels["valid_loss"].set_ylabel(analysis.task.loss)
        panels["sparsity"].set_ylabel("sparsity")
        panels["sparsity"].set_ylim(-0.03, 1.03)
        cut = f"  ({MOST_ARMS} of {len(everything)} arms shown)" if len(everything) > MOST_ARMS else ""
        panels["sparsity"].set_xlabel(f"training step{cut}")
        handles, labels = panels["valid_loss"].get_legend_handles_labels()
        if not handles:
            handles, labels = panels["sparsity"].get_legend_handles_labels()
        legend_right(panels["valid_loss"], handles, labels)
        return drawn
