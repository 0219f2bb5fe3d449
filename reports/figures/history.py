"""Masks and weights over training: a small heat map per snapshot, and histograms before, during and after pruning."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from reports.analysis import Analysis
from reports.figures.masks import Board
from reports.figures.style import GRID, INK, PALETTE, empty, figure, short
from reports.histories import History, histories

NOTHING = "Snapshots of training are not stored with these records."
LOOKS = {"before": (GRID, "-"), "pruned": (PALETTE[1], "--"), "after": (PALETTE[0], "-")}


def draw_masks(analysis: Analysis) -> Figure:
    """One row per arm: the first gate at every snapshot, with its step and the share that is left."""
    found = histories(analysis)
    if not found:
        return empty(NOTHING)
    columns = max(len(history.steps) for history in found)
    with figure(1.1 * columns + 0.4, 1.35 * len(found)) as drawn:
        board = Board(drawn, len(found), columns)
        for row, history in enumerate(found):
            gate = f", gate {history.gates[0]}" if history.gates[0] else ""
            board.name(row, f"{short(history.arm)}\n{history.matrix}{gate}")
            for column, step in enumerate(history.steps):
                kept = history.of_gate(column, 0)
                board.picture(row, column, kept, f"{step}: {kept.mean():.0%}")
        return drawn


def data_weights(analysis: Analysis) -> pd.DataFrame:
    """`arm`, `when` (before, pruned, after), `step`, `weight` (middle of a bin), `count`: weights that are not zero."""
    rows: list[pd.DataFrame] = []
    for history in histories(analysis):
        edges = np.linspace(-history.limit, history.limit, history.counts.shape[1] + 1)
        middles = (edges[1:] + edges[:-1]) / 2
        for when, place in _places(history).items():
            step = history.steps[place]
            rows.append(pd.DataFrame({"arm": history.arm, "when": when, "step": step, "weight": middles,
                                      "count": history.counts[place]}))  # fmt: skip
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame()


def _places(history: History) -> dict[str, int]:
    """The dense start, the last snapshot before recovery, the end."""
    last = len(history.steps) - 1
    return {"before": 0, "pruned": last - 1, "after": last} if last > 1 else {"before": 0, "after": last}


def draw_weights(analysis: Analysis) -> Figure:
    """One panel per arm: how many weights are how large, on a log axis; those that are zero are counted in words."""
    found = histories(analysis)
    if not found:
        return empty(NOTHING)
    table = data_weights(analysis)
    columns = min(2, len(found))
    lines = -(-len(found) // columns)
    with figure(7.6, 0.5 + 1.75 * lines) as drawn:
        grid = drawn.subplots(lines, columns, squeeze=False, sharey=True).ravel()
        for axes in grid[len(found) :]:
            axes.set_axis_off()
        for axes, history in zip(grid, found, strict=False):
            mine = table[table["arm"] == history.arm]
            for when, group in mine.groupby("when", sort=False):
                colour, dashes = LOOKS[str(when)]
                step = group["step"].iloc[0]
                axes.step(group["weight"], group["count"].clip(lower=0.5), where="mid", color=colour,
                          linestyle=dashes, linewidth=1.2, label=f"{when} (step {step})")  # fmt: skip
                if when == "before":
                    axes.fill_between(group["weight"], 0.5, group["count"].clip(lower=0.5), step="mid", color=GRID)
            axes.set_yscale("log")
            axes.set_ylim(bottom=0.5)
            axes.yaxis.set_minor_locator(NullLocator())  # thousands of ticks took most of the time
            axes.yaxis.set_major_formatter(FuncFormatter(lambda count, _: f"{count:,.0f}"))
            axes.set_title(short(history.arm), loc="left", pad=3)
            zero = history.zeros[-1] / history.kept[0].size
            axes.text(0.98, 0.93, f"{zero:.0%} zero", transform=axes.transAxes, ha="right", va="top", fontsize=7)
        for axes in drawn.axes[-columns:]:
            axes.set_xlabel("weight", color=INK)
        drawn.supylabel(f"non-zero weights\nof {found[0].matrix}" if lines == 1 else
                        f"weights of {found[0].matrix} that are not zero", fontsize=9)  # fmt: skip
        handles, labels = drawn.axes[0].get_legend_handles_labels()
        words = [label.partition(" (")[0] for label in labels]
        drawn.legend(handles, words, loc="outside upper right", ncols=3)
        return drawn
