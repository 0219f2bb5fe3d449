"""Gain over the noisy input by ratio, one panel per kind of noise: where an arm loses what pruning cost."""

import pandas as pd
from matplotlib.figure import Figure

from reports.analysis import Analysis
from reports.conditions import ALL, by_condition
from reports.figures.style import empty, figure, legend_right, looks, short
from reports.loader import BASELINE, NOISY

MOST_PANELS = 8


def data(analysis: Analysis) -> pd.DataFrame:
    """Rows of `reports.conditions.by_condition` of the primary metric that have a kind, a ratio and a gain."""
    rows = by_condition(analysis, (analysis.primary,))
    return rows[(rows["kind"] != ALL) & rows["snr_db"].notna() & (rows["system"] != NOISY)].reset_index(drop=True)


def draw(analysis: Analysis) -> Figure:
    """Small multiples on the same axes."""
    rows = data(analysis)
    if rows.empty:
        return empty("The records do not say which noise the test clips were mixed with.")
    look = looks(analysis.arms, BASELINE)
    panels = list(rows.groupby(["condition", "kind"], sort=False))[:MOST_PANELS]
    across = min(2, len(panels))
    down = -(-len(panels) // across)
    with figure(7.6, 0.4 + 2.3 * down) as drawn:
        grid = drawn.subplots(down, across, squeeze=False, sharex=True, sharey=True)
        for axes in grid.flat[len(panels) :]:
            axes.set_axis_off()
        for axes, ((condition, kind), group) in zip(grid.flat, panels, strict=False):
            for arm, line in group.groupby("system", sort=False):
                line = line.sort_values("snr_db")
                colour = look[str(arm)].colour
                axes.plot(
                    line["snr_db"], line["gain"], color=colour, marker=look[str(arm)].marker, markersize=4,
                    linewidth=1.2, label=short(str(arm)),
                )  # fmt: skip
                axes.fill_between(line["snr_db"], line["gain_ci_low"], line["gain_ci_high"], color=colour, alpha=0.12,
                                  linewidth=0)  # fmt: skip
            axes.set_title(f"{short(str(kind))}, {short(str(condition))}", loc="left", pad=3)
        for axes in grid[:, 0]:
            axes.set_ylabel(f"{analysis.task.word} gain, {analysis.task.unit}")
        for axes in grid[-1]:
            axes.set_xlabel("ratio of speech to noise, dB")
        legend_right(grid[0, -1], *grid[0, 0].get_legend_handles_labels())
        return drawn
