"""`lanewise sweep status --watch`: progress, what runs, when it ends, and the front so far, until the study is done."""

import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from studies.states import ENDED
from studies.status import align
from studies.study_file import Study

if TYPE_CHECKING:
    from studies.rows import Row

BAR, MOST_SHOWN = 30, 10


def watch(study: Study, read: "Callable[[], Sequence[Row]]", every_s: float) -> int:
    """Show a study until none of its trials waits or runs; a live screen on a terminal, else lines when they change.

    Returns
    -------
    int
        Exit code: 0, or 3 when trials failed. Ctrl-C stops the watching, not the study: 0.
    """
    try:
        return _live(study, read, every_s) if sys.stdout.isatty() else _plain(study, read, every_s)
    except KeyboardInterrupt:
        return 0


def _live(study: Study, read: "Callable[[], Sequence[Row]]", every_s: float) -> int:
    from rich.live import Live
    from rich.text import Text

    with Live(auto_refresh=False) as screen:
        while True:
            rows = read()
            screen.update(Text("\n".join(snapshot(study, rows, datetime.now()))), refresh=True)
            if finished(rows):
                return _code(rows)
            time.sleep(every_s)


def _plain(study: Study, read: "Callable[[], Sequence[Row]]", every_s: float) -> int:
    shown: list[str] = []
    while True:
        rows = read()
        lines = snapshot(study, rows, None)
        if lines != shown:
            print("\n".join(lines), flush=True)
            shown = lines
        if finished(rows):
            return _code(rows)
        time.sleep(every_s)


def finished(rows: "Sequence[Row]") -> bool:
    """Whether nothing is left to run."""
    return all(row.state in ENDED for row in rows)


def _code(rows: "Sequence[Row]") -> int:
    return 3 if any(row.state == "failed" for row in rows) else 0


def snapshot(study: Study, rows: "Sequence[Row]", now: datetime | None) -> list[str]:
    """Lines for a person; with `now` the estimated end is a time of day, else a duration."""
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.state] = counts.get(row.state, 0) + 1
    done = sum(row.state in ENDED for row in rows)
    filled = round(BAR * done / len(rows)) if rows else 0
    lines = [
        f"{study.name}  [{'#' * filled}{'.' * (BAR - filled)}] {done} of {len(rows)} trials: "
        + ", ".join(f"{count} {state}" for state, count in counts.items()),
        _end(rows, now),
    ]
    for row in [row for row in rows if row.state == "running"][:MOST_SHOWN]:
        step = "" if row.step is None else f", step {row.step}"
        where = f" on {row.owner.host}" if row.owner else ""
        lines.append(f"runs: trial {row.number}, {row.arm or '(to be drawn)'}{step}{where}")
    best = front(study, rows)
    if best:
        lines.append(f"front so far, {len(best)} of {counts.get('complete', 0)} complete trials:")
        cells = [["trial", "arm", *study.objectives]]
        for row in best[:MOST_SHOWN]:
            cells.append([str(row.number), row.arm, *(f"{value:.4g}" for value in row.values or ())])
        lines += [f"  {line}" for line in align(cells)]
    return lines


def front(study: Study, rows: "Sequence[Row]") -> "list[Row]":
    """Complete trials that no other beats in every objective, by the first objective, best first."""
    signs = [1 if direction == "minimize" else -1 for direction in study.directions]
    costs = {
        row.number: tuple(sign * value for sign, value in zip(signs, row.values, strict=True))
        for row in rows
        if row.state == "complete" and row.values
    }
    kept = {
        number for number, mine in costs.items()
        if not any(other != mine and all(a <= b for a, b in zip(other, mine, strict=True)) for other in costs.values())
    }  # fmt: skip
    return sorted((row for row in rows if row.number in kept), key=lambda row: costs[row.number])


def _end(rows: "Sequence[Row]", now: datetime | None) -> str:
    """When the rest will be done if trials go on taking what they took."""
    running = sum(row.state == "running" for row in rows)
    waiting = sum(row.waits for row in rows)
    if not running and not waiting:
        return "done"
    if not running:
        return f"{waiting} trials wait and none runs: lanewise sweep resume"
    took = [row.seconds for row in rows if row.state == "complete" and row.seconds and row.duplicate_of is None]
    if not took:
        return "estimated end: known once a trial is complete"
    left_s = sum(took) / len(took) * (waiting + running / 2) / running  # a running one is half done, on average
    left = timedelta(seconds=round(left_s / 60) * 60 if left_s > 90 else round(left_s))
    return f"estimated end: in {left}" if now is None else f"estimated end: {now + left:%a %H:%M}, in {left}"
