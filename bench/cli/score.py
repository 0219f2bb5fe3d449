"""`lanewise score`: the sound metrics of one pair of files, or of two folders matched by file name."""

import json
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.errors import LanewiseError, UsageError

if TYPE_CHECKING:
    from bench.measure.sound.pool import Pair, PairScores

Row = dict[str, Any]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("ref", type=click.Path(path_type=Path))
@click.argument("deg", type=click.Path(path_type=Path))
@click.option("--metrics", metavar="A,B", help="Only these metrics, comma separated (default: all).")
@click.option("--workers", type=click.IntRange(min=1), help="Scoring processes (default: 2, or 1 on one CPU).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: one row per pair, null and a reason where missing.")
@click.option(
    "--list",
    "list_metrics",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=lambda context, _parameter, wanted: _list(context, wanted),
    help="Say what each metric is, and stop.",
)
def command(ref: Path, deg: Path, metrics: str | None, workers: int | None, as_json: bool) -> None:
    """Score DEG against its reference REF: two 16 kHz mono files, or two folders whose files have the same names.

    The two files of a pair must be aligned and equally long. A metric that cannot be computed is missing, with its
    reason; it never counts as 0.

    \b
    Examples:
      lanewise score clean.wav vocoded.wav
      lanewise score recordings/ vocoded/ --json > scores.json
      lanewise score recordings/ vocoded/ --metrics pesq_wb,estoi,dnsmos
      lanewise score --list
    """
    from bench.measure.sound.pool import score_many
    from bench.measure.sound.registry import choose

    names = [name.strip() for name in metrics.split(",")] if metrics is not None else None
    choose(names)
    paths = matched(ref, deg)
    scored = score_many(read_pairs(paths), names, workers)
    if as_json:
        click.echo(json.dumps(rows(paths, scored), indent=1))
    else:
        _print_tables(paths, scored)


def matched(ref: Path, deg: Path) -> list[tuple[Path, Path]]:
    """Return the pairs of files: the two given, or those of the same name in two folders, sorted by name.

    Raises
    ------
    UsageError
        A path is missing, a file meets a folder, a folder holds no audio, or a file has no partner.
    """
    from bench.data.audio import AUDIO_SUFFIXES

    for path in (ref, deg):
        if not path.exists():
            raise UsageError(f"{path}: no such file or folder")
    if ref.is_dir() != deg.is_dir():
        raise UsageError(f"{ref} and {deg}: give two files or two folders, not one of each")
    if not ref.is_dir():
        return [(ref, deg)]
    names = [{path.name for path in folder.iterdir() if path.suffix in AUDIO_SUFFIXES} for folder in (ref, deg)]
    for folder, found in zip((ref, deg), names, strict=True):
        if not found:
            raise UsageError(f"{folder}: holds no {' or '.join(AUDIO_SUFFIXES)} file")
    for folder, here, there, other in ((ref, names[0], names[1], deg), (deg, names[1], names[0], ref)):
        lonely = sorted(here - there)
        if lonely:
            shown = ", ".join(lonely[:10]) + (f" and {len(lonely) - 10} more" if len(lonely) > 10 else "")
            raise UsageError(f"{folder}: no file of the same name in {other} for {shown}")
    return [(ref / name, deg / name) for name in sorted(names[0])]


def read_pairs(paths: list[tuple[Path, Path]]) -> "list[Pair]":
    """Read all pairs, so that a bad file is an error before any time is spent on scores."""
    from bench.data.audio import read_wav
    from bench.measure.sound.pool import Pair

    pairs = []
    for ref, deg in paths:
        pair = Pair(deg.name, read_wav(ref), read_wav(deg))
        if len(pair.reference) != len(pair.degraded):
            raise LanewiseError(
                f"{ref} has {len(pair.reference)} samples and {deg} has {len(pair.degraded)}; "
                "cut both to the same, aligned stretch first"
            )
        pairs.append(pair)
    return pairs


def rows(paths: list[tuple[Path, Path]], scored: "list[PairScores]") -> list[Row]:
    """One flat row per pair: `ref`, `deg`, a number or None by metric, and `reasons` for what is None."""
    return [
        {"ref": str(ref), "deg": str(deg), **pair.scores, "reasons": pair.reasons}
        for (ref, deg), pair in zip(paths, scored, strict=True)
    ]


def _print_tables(paths: list[tuple[Path, Path]], scored: "list[PairScores]") -> None:
    """One pair: one line per metric. Folders: one line per metric with mean, interval and extremes."""
    from rich.console import Console
    from rich.table import Table

    from bench.measure.sound.registry import SCORES
    from bench.measure.statistics import mean_interval

    table = Table("metric", "better", box=None, pad_edge=False)
    single = len(scored) == 1
    for heading in ("score",) if single else ("mean", "95 % interval", "worst clip", "missing"):
        table.add_column(heading, justify="left" if heading == "worst clip" else "right")
    for key in scored[0].scores:
        score = SCORES[key]
        values = {pair.id: pair.scores[key] for pair in scored}
        found = {name: value for name, value in values.items() if value is not None}
        name = f"{score.label} ({score.unit})" if score.unit else score.label
        line = [name, "higher" if score.higher_is_better else "lower"]
        if single:
            line.append(f"{next(iter(found.values())):.3f}" if found else "-")
        else:
            interval = mean_interval(list(values.values()))
            worst = (min if score.higher_is_better else max)(found, key=lambda name: found[name], default=None)
            line += [
                "-" if interval.mean is None else f"{interval.mean:.3f}",
                "-" if interval.low is None else f"{interval.low:.3f} to {interval.high:.3f}",
                "-" if worst is None else f"{found[worst]:.3f} {worst}",
                str(interval.n_failed),
            ]
        table.add_row(*line)
    console = Console(highlight=False)
    console.print(table)
    for pair in scored:
        # One line for all the metrics of a clip that are missing for the same reason.
        for reason in dict.fromkeys(pair.reasons.values()):
            keys = [key for key, why in pair.reasons.items() if why == reason]
            what = "every metric" if len(keys) == len(pair.scores) else ", ".join(keys)
            console.print(f"missing: {pair.id}: {what}: {reason}", markup=False)
    if not single:
        console.print(f"{len(paths)} pairs; intervals over clips. --json gives every clip.", markup=False)


def _list(context: click.Context, wanted: bool) -> None:
    """Print what each metric is."""
    if not wanted:
        return
    from bench.measure.sound.registry import METRICS

    for metric in METRICS:
        score = metric.scores[0]
        unit = f" {score.unit}" if score.unit else ""
        better = "higher" if score.higher_is_better else "lower"
        reference = "needs the reference" if metric.needs_reference else "without reference"
        click.echo(", ".join(metric.keys))
        click.echo(f"    {score.low:g} to {score.high:g}{unit}, {better} is better; {reference}; {metric.version}")
        click.echo(textwrap.indent(textwrap.fill(metric.definition, 100), "    "))
    context.exit()
