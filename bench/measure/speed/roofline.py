"""Roofline figure of `lanewise kernels` (Williams, Waterman and Patterson 2009): operations per byte against GOP/s.

A matrix-vector product uses each weight once, so its point lies on a slanted roof: the bytes that a cache delivers. Its
intensity says how dear its indices are, its distance from the roof what is left to gain.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.measure.speed.kernels import ABOVE_ROOF
from bench.measure.speed.plan import Row
from bench.measure.speed.roofs import FORMATS, Roof

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

# Okabe and Ito's palette: safe for the common forms of colour blindness.
_PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F5AA8")
_MARKERS = ("o", "s", "D", "^", "v", "P", "X", "<", ">")
_PEER_COLOUR, _INK, _GRID = "#8C959F", "#24292F", "#D8DEE4"
_PEER_MARKERS = ("1", "2", "3", "4", "+", "x", "|", "_", "*", "h")
_DASHES = ("-", "--", ":")
_MARGIN = 1.4
_LEGEND_LINE_INCH = 0.18
_WARNING = "#CF222E"


def roofline_data(rows: Sequence[Row], roofs: Sequence[Roof]) -> "tuple[pd.DataFrame, pd.DataFrame]":
    """Tidy tables behind the figure.

    Returns
    -------
    points
        One line per row: `format, kernel, tile, isa, hidden, sparsity, ops_per_byte, gops, roof_gops, vs_limit,
        verdict, series`. `roof_gops` is what its own bytes allow: gops / vs_limit.
    limits
        One line per roof: `label, format` (of a peak), `per_ns` (GB/s or GOP/s), the fastest of all gated runs.
    """
    import pandas as pd

    points = pd.DataFrame(list(rows))
    points["roof_gops"] = points["gops"] / points["vs_limit"]
    points["series"] = [tile if kernel == "lanewise" else kernel for kernel, tile in points[["kernel", "tile"]].values]
    columns = ["format", "kernel", "tile", "isa", "hidden", "sparsity", "ops_per_byte", "gops", "roof_gops", "vs_limit"]
    limits = pd.DataFrame([vars(roof) for roof in roofs], columns=["label", "format", "per_ns"])
    limits = limits.sort_values("per_ns", ascending=False).drop_duplicates("label")
    return points[[*columns, "verdict", "series"]], limits


def draw_roofline(points: "pd.DataFrame", limits: "pd.DataFrame", title: str, path: Path) -> None:
    """Draw one panel per number format (columns) and width (rows); the file's ending says the kind of image."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    style: Any = {"font.size": 8, "svg.hashsalt": "lanewise", "axes.spines.top": False, "axes.spines.right": False}
    formats = [fmt for fmt in FORMATS if (points["format"] == fmt).any()]
    widths = sorted(points["hidden"].unique())
    looks = _looks(points)
    with matplotlib.rc_context(style):
        height_inch = max(1.2 + 3.6 * len(widths), 0.5 + _LEGEND_LINE_INCH * (len(looks) + len(limits) + 1))
        figure = Figure(figsize=(1.5 + 5.0 * len(formats), height_inch), layout="constrained")
        FigureCanvasAgg(figure)
        grid = figure.subplots(len(widths), len(formats), squeeze=False, sharex="col", sharey="col")
        for line, hidden in zip(grid, widths, strict=True):
            for axes, fmt in zip(line, formats, strict=True):
                chosen = points[(points["format"] == fmt) & (points["hidden"] == hidden)]
                _panel(axes, chosen, limits, looks, points[points["format"] == fmt])
                axes.set_title(f"{fmt}, W ({3 * hidden}, {hidden})", loc="left", color=_INK)
        for axes in grid[-1]:
            axes.set_xlabel("operations per byte of weights and indices")
        for axes in grid[:, 0]:
            axes.set_ylabel("GOP/s")
        handles = {
            label: handle for axes in grid.flat for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        shown = sorted(handles.items(), key=lambda item: not isinstance(item[1], Line2D))  # roofs above series
        figure.legend(
            [handle for _, handle in shown], [label for label, _ in shown], loc="outside right upper", frameon=False
        )
        figure.suptitle(f"{title}; a point per sparsity", x=0.01, ha="left", color=_INK)
        figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)


def _looks(points: "pd.DataFrame") -> dict[str, dict[str, Any]]:
    """Colour and marker of each series: ours in colour by tile, peers grey."""
    ours = points[points["kernel"] == "lanewise"]["series"].unique()
    peers = points[points["kernel"] != "lanewise"]["series"].unique()
    looks: dict[str, dict[str, Any]] = {}
    for i, name in enumerate(ours):
        marker = _MARKERS[(i + i // len(_PALETTE)) % len(_MARKERS)]
        looks[name] = {"color": _PALETTE[i % len(_PALETTE)], "marker": marker, "s": 24, "alpha": 0.85}
    for i, name in enumerate(peers):
        marker = _PEER_MARKERS[i % len(_PEER_MARKERS)]
        looks[name] = {"color": _PEER_COLOUR, "marker": marker, "s": 30, "linewidths": 1.2}
    return looks


def _panel(
    axes: "Axes",
    points: "pd.DataFrame",
    limits: "pd.DataFrame",
    looks: dict[str, dict[str, Any]],
    scale: "pd.DataFrame",
) -> None:
    """Roofs and points of one format and width; `scale` holds every point that shares the axes."""
    left, right = scale["ops_per_byte"].min() / _MARGIN, scale["ops_per_byte"].max() * _MARGIN
    reads = limits[limits["format"].isna()]
    top = reads["per_ns"].max() * right if len(reads) else scale["gops"].max()
    axes.set(xscale="log", yscale="log", xlim=(left, right), ylim=(scale["gops"].min() / _MARGIN, top * _MARGIN))
    for (label, per_ns), dash in zip(reads[["label", "per_ns"]].itertuples(index=False), _DASHES, strict=False):
        axes.plot(
            [left, right],
            [per_ns * left, per_ns * right],
            dash,
            color=_INK,
            lw=1,
            label=f"read {label}: {per_ns:.0f} GB/s",
        )
    peaks = limits[limits["format"].isin(scale["format"].unique())]
    for label, per_ns in peaks[["label", "per_ns"]].itertuples(index=False):
        if per_ns < top * _MARGIN:
            axes.axhline(per_ns, color=_INK, lw=1, ls="-.", label=f"{label}: {per_ns:.0f} GOP/s")
        else:
            axes.text(0.02, 0.98, f"{label} {per_ns:.0f} GOP/s, above this view", transform=axes.transAxes, va="top")
    for series, mine in points.groupby("series", sort=False):
        axes.scatter(mine["ops_per_byte"], mine["gops"], label=series, zorder=3, **looks[str(series)])
    wrong = points[points["verdict"] == ABOVE_ROOF]
    if len(wrong):
        ring: dict[str, Any] = {"s": 110, "facecolors": "none", "edgecolors": _WARNING, "zorder": 4}
        axes.scatter(wrong["ops_per_byte"], wrong["gops"], label=f"{ABOVE_ROOF}: measuring error", **ring)
    _plain_ticks((axes.xaxis, axes.yaxis))
    axes.grid(visible=True, color=_GRID, lw=0.6)
    axes.set_axisbelow(True)


def _plain_ticks(both: Iterable[Any]) -> None:
    """Numbers instead of powers of ten: most panels span less than one decade."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for axis in both:
        axis.set_major_locator(LogLocator(base=10, subs=(1, 1.5, 2, 3, 5, 7), numticks=20))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
