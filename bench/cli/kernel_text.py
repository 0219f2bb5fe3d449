"""The tables that `lanewise kernels` prints."""

from collections.abc import Sequence
from typing import Any

from bench.cli.text import aligned
from bench.measure.speed.breakeven import break_evens
from bench.measure.speed.kernels import ABOVE_ROOF
from bench.measure.speed.roofs import Roof

Row = dict[str, Any]
_MARKS = {"unstable": " ?", ABOVE_ROOF: " !"}
_MEANINGS = {
    "unstable": "? unstable: too few samples at nominal clock, or they spread too far",
    ABOVE_ROOF: "! above the roof: faster than reading its bytes or than the peak; a measuring error, run it again",
}


def list_text(table: Sequence[Row]) -> str:
    """Which kernels exist: a line per tile and format, a column per ISA."""
    isas = list(dict.fromkeys(row["isa"] for row in table))
    exists = {(row["tile"], row["format"], row["isa"]) for row in table}
    lines = [
        [tile, fmt, *("yes" if (tile, fmt, isa) in exists else "-" for isa in isas)]
        for tile, fmt in dict.fromkeys((row["tile"], row["format"]) for row in table)
    ]
    note = "any other block RxC runs on the largest of its format's tiles that divides it; what none divides is refused"
    return f"kernels of the engine\n{aligned([['tile', 'format', *isas], *lines])}\n{note}"


def report_text(rows: Sequence[Row], roofs: Sequence[Roof]) -> str:
    """Everything: the host's roofs, a table per width, the marks used, the break-even."""
    parts = [roofs_text(roofs)] if roofs else []
    for hidden in dict.fromkeys(row["hidden"] for row in rows):
        header, lines = kernel_table([row for row in rows if row["hidden"] == hidden])
        title = f"W ({3 * hidden}, {hidden}): us (share of the read limit; speed against the best dense), by sparsity"
        parts.append(f"{title}\n{aligned([header, *lines])}")
    if any(row["call_us"] for row in rows):
        parts.append("call: us of the library's call alone (a matrix of one tile), contained in its figures")
    parts += [meaning for verdict, meaning in _MEANINGS.items() if any(row["verdict"] == verdict for row in rows)]
    if any(row["tile"] != "dense" for row in rows):
        parts.append(break_even_text(rows))
    return "\n\n".join(parts)


def roofs_text(roofs: Sequence[Roof]) -> str:
    """The host's limits on one line each kind."""
    best: dict[str, float] = {}
    for roof in roofs:
        best[roof.label] = max(best.get(roof.label, 0.0), roof.per_ns)
    peaks = {roof.label for roof in roofs if roof.format}
    read = ", ".join(f"{label} {per_ns:.0f}" for label, per_ns in best.items() if label not in peaks)
    peak = ", ".join(f"{label.removesuffix(' peak')} {per_ns:.0f}" for label, per_ns in best.items() if label in peaks)
    return f"one core reads (GB/s): {read or 'cache sizes unknown'}\none core computes (GOP/s): {peak}"


def kernel_table(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Lay out rows of one hidden size: a line per kernel, a column per sparsity; doubtful figures are marked."""
    sparsities = sorted({row["sparsity"] for row in rows})
    cells: dict[tuple[str, ...], dict[float, str]] = {}
    for row in rows:
        call = "-" if row["call_us"] is None else f"{row['call_us']:.2f}"
        key = (row["format"], row["kernel"], row["isa"] or "-", row["tile"])
        relative = "-" if row["vs_best_dense"] is None else f"{row['vs_best_dense']:.2f}x"
        line = cells.setdefault(key, {-1.0: call})
        line[row["sparsity"]] = f"{row['us']:.2f} ({row['vs_limit']:.2f}; {relative}){_MARKS.get(row['verdict'], '')}"
    header = ["format", "kernel", "isa", "tile", "call", *("dense" if s == 0 else f"{s:g}" for s in sparsities)]
    formats = list(dict.fromkeys(key[0] for key in cells))
    ordered = sorted(cells, key=lambda key: formats.index(key[0]))
    return header, [[*key, *(cells[key].get(s, "") for s in (-1.0, *sparsities))] for key in ordered]


def break_even_text(rows: Sequence[Row]) -> str:
    """A line per width, format and kernel, a column per tile."""
    found = break_evens(rows)
    if not found:
        return "break-even: none, for no dense kernel of these formats was there to compare with"
    tiles = list(dict.fromkeys(point.tile for point in found))
    lines: dict[tuple[str, ...], dict[str, str]] = {}
    for point in found:
        dense = f"{point.best_dense} {point.dense_us:.2f}"
        key = (str(point.hidden), point.format, dense, point.kernel, point.isa or "-")
        lines.setdefault(key, {})[point.tile] = point.words.replace("below ", "<").replace("not up to ", ">")
    header = ["hidden", "format", "best dense, us", "kernel", "isa", *tiles]
    body = [[*key, *(cells.get(tile, "") for tile in tiles)] for key, cells in lines.items()]
    title = "break-even: sparsity above which sparse beats the best dense of its format (<, > bound what was measured)"
    return f"{title}\n{aligned([header, *body])}"
