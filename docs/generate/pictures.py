"""The pictures of concepts.md, drawn from the objects that they show; the same bytes every time."""

import io
import re
from collections.abc import Callable, Mapping

import matplotlib
from matplotlib.figure import Figure

from docs.generate import memory, structures, training

PICTURES: Mapping[str, Callable[[], Figure]] = {
    "structures": structures.structures,
    "scopes": structures.scopes,
    "two-tiles": structures.two_tiles,
    "memory": memory.memory,
    "phases": training.phases,
    "pipeline": training.pipeline,
}


def svg(draw: Callable[[], Figure]) -> str:
    """Return a picture as SVG on white: no dates or versions of tools, coordinates to a hundredth of a point."""
    drawn = draw()
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "lanewise", "svg.fonttype": "path"}):
        drawn.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return "\n".join(_rounded(line.rstrip()) for line in buffer.getvalue().splitlines()) + "\n"


def _rounded(line: str) -> str:
    """Return a line with its coordinates rounded; factors of scale are no coordinates."""
    return line if "scale(" in line else re.sub(r"\d+\.\d{3,}", lambda found: f"{float(found[0]):.2f}", line)
