"""Where a study stands: one row per trial, in words or as JSON rows."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from studies.study_file import Study

if TYPE_CHECKING:
    from studies.rows import Row


def status_rows(study: Study, rows: "Sequence[Row]") -> list[dict[str, Any]]:
    """Return flat rows: number, arm, state, reason, seconds, duplicate_of, config_hash, host, pid, the objectives."""
    return [
        {
            "number": row.number,
            "arm": row.arm,
            "state": row.state,
            "reason": row.reason,
            "seconds": row.seconds,
            "duplicate_of": row.duplicate_of,
            "config_hash": row.config_hash,
            "host": row.owner.host if row.owner and row.state == "running" else None,
            "pid": row.owner.pid if row.owner and row.state == "running" else None,
            **dict(zip(study.objectives, row.values or [None] * len(study.objectives), strict=True)),
        }
        for row in rows
    ]


def status_text(study: Study, rows: "Sequence[Row]") -> str:
    """Return a table for people: a count of each state, then one line per trial."""
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.state] = counts.get(row.state, 0) + 1
    lines = [f"{study.name}: {len(rows)} trials: " + ", ".join(f"{count} {state}" for state, count in counts.items())]
    cells = [["trial", "arm", "state", "s", *study.objectives, ""]]
    for row in rows:
        note = row.reason or ""
        if row.duplicate_of is not None:
            note = f"same settings as trial {row.duplicate_of}"
        elif row.state == "running" and row.owner:
            note = f"on {row.owner.host}, process {row.owner.pid}"
        values = [f"{value:.4g}" for value in row.values] if row.values else ["-"] * len(study.objectives)
        seconds = "-" if row.seconds is None else f"{row.seconds:.0f}"
        cells.append([str(row.number), row.arm or "(to be drawn)", row.state, seconds, *values, note])
    return "\n".join([*lines, *align(cells)])


def align(cells: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows of a table with columns lined up."""
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
