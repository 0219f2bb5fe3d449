"""All figures of a report, in the order in which the page shows them."""

from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

from reports.analysis import Analysis
from reports.figures import conditions, curves, fronts, history, limit, masks, ranks, scaling, spectrograms, speedup
from reports.figures.style import write

FIGURES: dict[str, Callable[[Analysis], Figure]] = {
    "quality_vs_rtf": fronts.draw_rtf,
    "quality_vs_size": fronts.draw_size,
    "quality_vs_throughput": fronts.draw_throughput,
    "sparsity_vs_speedup": speedup.draw,
    "scaling": scaling.draw,
    "gain_by_noise": conditions.draw,
    "ranks": ranks.draw,
    "read_limit": limit.draw,
    "learning_curves": curves.draw,
    "masks": masks.draw,
    "masks_over_training": history.draw_masks,
    "weights": history.draw_weights,
    "spectrograms": spectrograms.draw,
}
OF_ONE_TASK = {"quality_vs_throughput": "enhancer", "gain_by_noise": "enhancer", "read_limit": "vocoder"}
"""Figures that only one task's records can fill."""


def figures_of(analysis: Analysis) -> dict[str, Callable[[Analysis], Figure]]:
    """The figures of a study's task."""
    return {name: draw for name, draw in FIGURES.items() if OF_ONE_TASK.get(name) in (None, analysis.task.name)}


def draw_all(analysis: Analysis, folder: Path, pdf: bool = False) -> dict[str, Path]:
    """Write every figure as PNG and SVG, and as PDF if wished; returns the SVG of each by name."""
    return {name: write(draw(analysis), folder, name, pdf) for name, draw in figures_of(analysis).items()}
