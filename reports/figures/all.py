"""All figures of a report, in the order in which the page shows them."""

from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

from reports.analysis import Analysis
from reports.figures import curves, masks, quality_rtf, spectrograms, speedup
from reports.figures.style import write

FIGURES: dict[str, Callable[[Analysis], Figure]] = {
    "quality_vs_rtf": quality_rtf.draw,
    "sparsity_vs_speedup": speedup.draw,
    "learning_curves": curves.draw,
    "masks": masks.draw,
    "spectrograms": spectrograms.draw,
}


def draw_all(analysis: Analysis, folder: Path) -> dict[str, Path]:
    """Write every figure as PNG and SVG; returns the SVG of each by name."""
    return {name: write(draw(analysis), folder, name)[1] for name, draw in FIGURES.items()}
