"""`lanewise compare`: is B worse than A, and by how much; with `--gate` for continuous integration."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.errors import UsageError
from bench.progress import say

if TYPE_CHECKING:
    from reports.versus import Line

RUNS = Path("runs")
BREACHED = 4


@click.command()
@click.argument("a")
@click.argument("b", required=False)
@click.option("--keep", "kept", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Write A into FILE, a baseline for later comparisons, and compare nothing.")  # fmt: skip
@click.option("--arm", "arms", multiple=True, metavar="ARM", help="Compare this arm alone (repeat for more).")
@click.option("--margin-quality", "margins", multiple=True, metavar="[METRIC=]LOSS",
              help="Largest loss that counts as none, in the metric's unit; without METRIC of the primary metric "
              "(default: the study's margin). A metric named is gated too.")  # fmt: skip
@click.option("--margin-speed", type=click.FloatRange(0.0, 10.0), default=0.05, show_default=True, metavar="SHARE",
              help="Largest slow-down that counts as none.")  # fmt: skip
@click.option("--gate", is_flag=True, help="Exit with 4 where B is shown to be worse than A by more than a margin.")
@click.option("--strict", is_flag=True, help="With --gate: exit with 4 too where that could not be ruled out.")
@click.option("--every", is_flag=True, help="Show every metric, not only the gated ones.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout: a list of rows.")
def compare(
    a: str,
    b: str | None,
    kept: Path | None,
    arms: tuple[str, ...],
    margins: tuple[str, ...],
    margin_speed: float,
    gate: bool,
    strict: bool,
    every: bool,
    as_json: bool,
) -> int:
    """Say whether B is worse than A: two studies, two trials, or a study (B) against a kept baseline (A).

    Arms are paired by name (a single arm on either side is paired with the other), scores by utterance and seed.
    Speeds are compared as RTF on the same CPU and ISA, as speed-ups over dense otherwise.

    \b
    Examples:
      lanewise compare runs/paper runs/paper-new
      lanewise compare runs/demo/trials/0001 runs/demo/trials/0003 --every
      lanewise compare runs/paper --keep baseline.json
      lanewise compare baseline.json runs/paper --gate --margin-quality 0.02 --margin-speed 0.05
    """
    from reports.side import keep, read_side
    from reports.tasks import task_of
    from reports.versus import compare_sides

    if (b is None) == (kept is None):
        raise UsageError("compare takes either two sides, A and B, or one and --keep FILE")
    if strict and not gate:
        raise UsageError("--strict needs --gate")
    side = read_side(a, RUNS)
    if kept is not None:
        keep(side, kept)
        say(f"kept: {len(side.arms)} arms of {a} in {kept}")
        return 0
    assert b is not None
    stated = dict(_margin(text, task_of(side.task).primary) for text in margins)
    lines = compare_sides(side, read_side(b, RUNS), stated, margin_speed, arms)
    if as_json:
        rows = [{key: _plain(value) for key, value in asdict(line).items()} for line in lines]
        click.echo(json.dumps(rows, ensure_ascii=False, allow_nan=False, indent=1))
    else:
        click.echo(_text(lines if every else [line for line in lines if line.gated]))
    breaches, undecided = _judge(lines)
    for line in breaches:
        say(f"worse: {_words(line)}")
    for line in undecided:
        say(f"not decided: {_words(line)}")
    if not breaches and not undecided:
        say("no loss beyond the margins")
    return BREACHED if gate and (breaches or (strict and undecided)) else 0


def _judge(lines: "list[Line]") -> "tuple[list[Line], list[Line]]":
    from reports.versus import UNDECIDED, WORSE

    gated = [line for line in lines if line.gated]
    return [line for line in gated if line.verdict in WORSE], [line for line in gated if line.verdict in UNDECIDED]


def _margin(text: str, primary: str) -> tuple[str, float]:
    name, equals, number = text.rpartition("=")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf or (equals and not name):
        raise UsageError(
            f"--margin-quality {text}: expected a number of at least 0, or METRIC=NUMBER as in pesq_wb=0.1"
        )
    return (f"quality.{name.removeprefix('quality.')}" if name else primary), value


def _text(lines: "list[Line]") -> str:
    from bench.cli.text import aligned
    from reports.tables import one_line

    cells = [["arm", "metric", "A", "B", "change", "95 % interval", "margin", "verdict", ""]]
    for line in lines:
        interval = "" if math.isnan(line.ci_low) else f"[{_change(line, line.ci_low)}, {_change(line, line.ci_high)}]"
        margin = "" if line.margin is None else f"{line.margin:g}"
        cells.append(
            [one_line(line.arm), line.metric, _number(line.a), _number(line.b), _change(line, line.change), interval,
             margin, line.verdict, line.note]
        )  # fmt: skip
    return aligned(cells)


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.5g}"


def _change(line: "Line", value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:+.4f}" if line.metric.startswith("quality.") else f"x{value:.3f}"


def _words(line: "Line") -> str:
    from reports.tables import one_line

    interval = "" if math.isnan(line.ci_low) else f" ({_change(line, line.ci_low)} to {_change(line, line.ci_high)})"
    margin = "" if line.margin is None else f", margin {line.margin:g}"
    note = f" ({line.note})" if line.note else ""
    return f"{one_line(line.arm)}, {line.metric}: {line.verdict}, {_change(line, line.change)}{interval}{margin}{note}"


def _plain(value: object) -> object:
    return None if isinstance(value, float) and math.isnan(value) else value
