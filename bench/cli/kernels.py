"""`lanewise kernels`: time the matrix-vector kernels against dense, the read limit and installed peers."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import click

from bench.cli.options import comma_list
from bench.cli.text import aligned
from bench.progress import say


@click.command(name="kernels", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--hidden", callback=comma_list(int), help="GRU widths H (matrix 3H x H). Default 256,512,1024.")
@click.option("--sparsity", callback=comma_list(float), help="Pruned shares. Default 0.1,0.25,0.5,0.7,0.8,0.9,0.95.")
@click.option("--tile", callback=comma_list(str), help="Such as dense,1x1,16x1,1x8,column. Default all.")
@click.option("--format", "formats", callback=comma_list(str), help="Number formats. Default all.")
@click.option("--isa", callback=comma_list(str), help="Such as avx2,avx512. Default all that this host runs.")
@click.option("--fast", is_flag=True, help="Fewer cells, the widest ISA only: under 40 s.")
@click.option("--no-peers", is_flag=True, help="Leave out numpy, torch and scipy.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the random order of samples.")
@click.option("--list", "list_only", is_flag=True, help="Print which kernels exist (tile x format x ISA) and stop.")
@click.option("--json", "as_json", is_flag=True, help="One list of flat rows on stdout.")
def command(
    hidden: tuple[int, ...],
    sparsity: tuple[float, ...],
    tile: tuple[str, ...],
    formats: tuple[str, ...],
    isa: tuple[str, ...],
    fast: bool,
    no_peers: bool,
    seed: int,
    list_only: bool,
    as_json: bool,
) -> None:
    """Time the matrix-vector kernels on this host.

    Every row stands beside the time to read the same bytes (limit_us; vs_limit = limit_us / us) and beside the best
    dense kernel of the same run (vs_best_dense = best dense us / us; above 1 the sparse kernel is faster). Samples
    count only when the core ran at nominal speed; `verdict` says whether enough did.

    \b
    Examples:
      lanewise kernels --fast
      lanewise kernels --hidden 512,1024 --sparsity 0.7,0.9 --tile dense,16x1,8x1 --isa avx2
      lanewise kernels --fast --json | jq '.[] | select(.vs_best_dense > 1)'
      lanewise kernels --list
    """
    from bench.engine import isas, table

    if list_only:
        _print_list(table.rows(), as_json)
        return
    from bench.measure.speed import kernels, peers
    from bench.measure.speed.gate import GateRules

    selection = kernels.Selection(tiles=tile, formats=formats, isas=isa)
    selection = replace(selection, hidden=hidden or selection.hidden, sparsity=sparsity or selection.sparsity)
    if fast:
        selection = kernels.fast(selection, isas())
    cases = kernels.plan(selection, table.rows(), isas())
    rows: list[dict[str, Any]] = []
    nominal_ghz, rejected, accepted, cores = 0.0, 0, 0, set()
    rules = GateRules(patience_s=12) if fast else GateRules()
    for new, run in kernels.time_cases(cases, [] if no_peers else peers.installed(), rules, seed):
        rows += new
        nominal_ghz, rejected, accepted = run.nominal_ghz, rejected + run.rejected, accepted + run.accepted
        cores.add(run.core)
        if run.why:
            say(f"unstable: {run.why}")
    say(
        f"core {', '.join(map(str, sorted(cores, key=str)))} at {nominal_ghz:.2f} GHz nominal; "
        f"{accepted} samples accepted, {rejected} rejected"
    )
    if as_json:
        click.echo(json.dumps(rows, indent=1))
    else:
        _print_tables(rows)


def _print_list(table: Sequence[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(list(table), indent=1))
        return
    isas = list(dict.fromkeys(row["isa"] for row in table))
    exists = {(row["tile"], row["format"], row["isa"]) for row in table}
    lines = [
        [tile, fmt, *("yes" if (tile, fmt, isa) in exists else "-" for isa in isas)]
        for tile, fmt in dict.fromkeys((row["tile"], row["format"]) for row in table)
    ]
    click.echo("kernels of the engine; what is absent is refused\n" + aligned([["tile", "format", *isas], *lines]))


def _print_tables(rows: Sequence[dict[str, Any]]) -> None:
    from bench.measure.speed.breakeven import break_evens

    for hidden in dict.fromkeys(row["hidden"] for row in rows):
        header, lines = kernel_table([row for row in rows if row["hidden"] == hidden])
        click.echo(f"W ({3 * hidden}, {hidden}): us (share of the read limit reached; times as fast as the best dense)")
        click.echo(aligned([header, *lines]) + "\n")
    if pays := break_evens(rows):
        click.echo("break-even: pays, against the best dense kernel, from this sparsity on")
        points = [[str(p.hidden), p.kernel, p.tile, p.format, p.isa or "-", p.words] for p in pays]
        click.echo(aligned([["hidden", "kernel", "tile", "format", "isa", "sparsity"], *points]))


def kernel_table(rows: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Lay out rows of one hidden size: a line per kernel, a column per sparsity; unstable figures end in "?"."""
    sparsities = sorted({row["sparsity"] for row in rows})
    cells: dict[tuple[str, ...], dict[float, str]] = {}
    for row in rows:
        key = (row["kernel"], row["tile"], row["format"], row["isa"] or "-")
        doubt = "" if row["verdict"] == "stable" else " ?"
        cells.setdefault(key, {})[row["sparsity"]] = (
            f"{row['us']:.2f} ({row['vs_limit']:.2f}; {row['vs_best_dense']:.2f}x){doubt}"
        )
    header = ["kernel", "tile", "format", "isa", *("dense" if s == 0 else f"{s:g}" for s in sparsities)]
    return header, [[*key, *(line.get(s, "") for s in sparsities)] for key, line in cells.items()]
