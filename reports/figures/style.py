"""One look for all figures: colour-blind-safe, readable in print, the same bytes every time, and free of mathtext."""

import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Okabe and Ito's palette, safe for the common forms of colour blindness; yellow is left out, too faint on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F5AA8")
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "<", ">")
BASELINE_COLOUR = "#1B1F24"
INK, GRID, FAINT = "#24292F", "#D8DEE4", "#AEB8C2"
LONGEST_LABEL = 28

_RC: Any = {
    "font.size": 9, "axes.titlesize": 9, "axes.labelsize": 9, "legend.fontsize": 8, "xtick.labelsize": 8,
    "ytick.labelsize": 8, "axes.edgecolor": INK, "axes.labelcolor": INK, "text.color": INK, "xtick.color": INK,
    "ytick.color": INK, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": GRID,
    "grid.linewidth": 0.6, "axes.axisbelow": True, "legend.frameon": False, "figure.dpi": 100, "savefig.dpi": 200,
    "svg.hashsalt": "lanewise", "svg.fonttype": "path", "pdf.fonttype": 42,
    "image.composite_image": False,  # putting a board of masks together takes longer than drawing them
    "text.parse_math": False, "font.family": "DejaVu Sans",
}  # fmt: skip


@dataclass(frozen=True)
class Look:
    """How one arm appears in every figure."""

    colour: str
    marker: str


def looks(arms: Sequence[str], baseline: str) -> dict[str, Look]:
    """A colour and a marker for each arm; the baseline is black, the pairs repeat after 63 arms."""
    others = [arm for arm in arms if arm != baseline]
    found = {
        arm: Look(PALETTE[i % len(PALETTE)], MARKERS[(i + i // len(PALETTE)) % len(MARKERS)])
        for i, arm in enumerate(others)
    }
    return {**found, baseline: Look(BASELINE_COLOUR, "*")}


def short(name: str) -> str:
    """A name short enough for a legend, on one line."""
    name = "".join(c if c.isprintable() else " " for c in name)
    return name if len(name) <= LONGEST_LABEL else name[: LONGEST_LABEL - 1] + "…"


@contextmanager
def figure(width_inch: float, height_inch: float) -> Iterator[Figure]:
    """A figure drawn under the common style."""
    with matplotlib.rc_context(_RC), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # names may be in any script
        drawn = Figure(figsize=(width_inch, height_inch), layout="constrained")
        FigureCanvasAgg(drawn)
        yield drawn


def cloud(axes: Axes, x: Sequence[float], y: Sequence[float], numbers: Sequence[int], name: str, **look: Any) -> None:
    """Draw many arms as one artist (thousands of single ones are slow), each of them still one to point at.

    Parameters
    ----------
    numbers : place of each point's arm in the analysis, which `reports.svg` hands to the page
    name : tells clouds of one figure apart; letters and digits
    """
    (marks,) = axes.plot(x, y, linestyle="none", **look)
    marks.set_gid(f"cloud-{'.'.join(map(str, numbers))}-{name}")


def legend_right(axes: Axes, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """A legend outside the plot, where it hides no point."""
    axes.legend(handles, labels, loc="upper left", bbox_to_anchor=(1.02, 1.0), borderaxespad=0, handlelength=1.4)


def empty(message: str) -> Figure:
    """A figure that says why there is nothing to see."""
    with figure(6.4, 1.2) as drawn:
        drawn.text(0.5, 0.5, message, ha="center", va="center", wrap=True)
        return drawn


def write(drawn: Figure, folder: Path, name: str, pdf: bool = False) -> Path:
    """Write `<name>.png` (200 dpi), `<name>.svg` and, if wished, `<name>.pdf`, without dates or versions of tools.

    Returns
    -------
    Path
        The SVG.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(_RC), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        if drawn.axes and (engine := drawn.get_layout_engine()) is not None:
            engine.execute(drawn)
        drawn.set_layout_engine(None)  # laid out once: all files are placed alike, and saving does not draw twice
        # Deflate's default level saves a sixth of the bytes and takes a second longer for all figures.
        drawn.savefig(folder / f"{name}.png", metadata={"Software": None}, pil_kwargs={"compress_level": 2})
        buffer = io.StringIO()
        drawn.savefig(buffer, format="svg", metadata=_SVG_METADATA, transparent=True)
        if pdf:
            drawn.savefig(folder / f"{name}.pdf", metadata=_PDF_METADATA)
    path = folder / f"{name}.svg"
    path.write_text(buffer.getvalue(), encoding="utf-8")
    return path


_PDF_METADATA: Mapping[str, str | None] = {"CreationDate": None, "Creator": None, "Producer": None}
_SVG_METADATA: Mapping[str, str | None] = {"Date": None, "Creator": None, "Format": None, "Type": None}
