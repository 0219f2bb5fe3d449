"""`lanewise kernels`: time the matrix-vector kernels against dense, the read limit and installed peers."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from bench.cli.options import check_writable, comma_list
from bench.errors import UsageError
from bench.progress import say


@click.command(name="kernels", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--hidden", callback=comma_list(int), help="GRU widths H (matrix 3H x H). Default 256,512,1024.")
@click.option("--sparsity", callback=comma_list(float), help="Pruned shares. Default 0.1,0.25,0.5,0.7,0.8,0.9,0.95.")
@click.option("--tile", callback=comma_list(str), help="Such as dense,1x1,16x1,1x8,column. Default all.")
@click.option("--format", "formats", callback=comma_list(str), help="Number formats. Default all.")
@click.option("--isa", callback=comma_list(str), help="Such as avx2,avx512. Default all that this host runs.")
@click.option("--fast", is_flag=True, help="Fewer cells, the widest ISA only: under 40 s.")
@click.option("--no-peers", is_flag=True, help="Leave out other libraries.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the random order of samples.")
@click.option("--roofline", type=click.Path(path_type=Path), help="Draw the roofline to FILE.png or FILE.svg.")
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
    roofline: Path | None,
    list_only: bool,
    as_json: bool,
) -> None:
    """Time the matrix-vector kernels on this host.

    Every row stands beside the fastest way to read the same bytes (limit_us; vs_limit = limit_us / us) and beside the
    best dense kernel of the same format and run (vs_best_dense = best dense us / us; above 1 the sparse kernel is
    faster). Samples count only when the core ran at nominal speed; `verdict` says whether enough did, or that a figure
    lies above its roof and so is a measuring error.

    Peers are timed when installed, on one thread: numpy, scipy, torch, onnxruntime, and oneMKL
    (pip install 'lanewise[peers]').

    \b
    Examples:
      lanewise kernels --fast
      lanewise kernels --hidden 512,1024 --sparsity 0.7,0.9 --tile dense,16x1,8x1 --isa avx2
      lanewise kernels --fast --json | jq '.[] | select(.vs_best_dense > 1)'
      lanewise kernels --fast --roofline roofline.png
      lanewise kernels --list
    """
    from bench.cli import kernel_text
    from bench.engine import isas, table

    if list_only:
        click.echo(json.dumps(table.rows(), indent=1) if as_json else kernel_text.list_text(table.rows()))
        return
    from bench import host
    from bench.measure.speed import kernels, peers
    from bench.measure.speed.gate import GateRules
    from bench.measure.speed.plan import Selection, fast_selection, plan
    from bench.measure.speed.roofs import Roof

    if roofline is not None:
        if roofline.suffix not in {".png", ".svg"}:
            raise UsageError(f"--roofline {roofline}: expected a name that ends in .png or .svg")
        check_writable(roofline)
    selection = Selection(tiles=tile, formats=formats, isas=isa)
    selection = replace(selection, hidden=hidden or selection.hidden, sparsity=sparsity or selection.sparsity)
    if fast:
        selection = fast_selection(selection, isas())
    cases = plan(selection, table.rows(), isas())
    rows: list[dict[str, Any]] = []
    roofs: list[Roof] = []
    nominal_ghz, rejected, accepted, cores = 0.0, 0, 0, set()
    rules = GateRules(patience_s=8, patience_rounds=0) if fast else GateRules()
    for timed in kernels.time_cases(cases, table.rows(), [] if no_peers else peers.installed(), rules, seed):
        rows, roofs, run = rows + timed.rows, roofs + timed.roofs, timed.run
        nominal_ghz, rejected, accepted = run.nominal_ghz, rejected + run.rejected, accepted + run.accepted
        cores.add(run.core)
        if run.why:
            say(f"unstable: {run.why}")
    core = ", ".join(map(str, sorted(cores, key=str)))
    say(f"core {core} at {nominal_ghz:.2f} GHz nominal; {accepted} samples accepted, {rejected} rejected")
    click.echo(json.dumps(rows, indent=1) if as_json else kernel_text.report_text(rows, roofs))
    if roofline is not None:
        from bench.measure.speed.roofline import draw_roofline, roofline_data

        draw_roofline(*roofline_data(rows, roofs), f"{host.cpu_name()}, one core at {nominal_ghz:.2f} GHz", roofline)
        say(f"roofline: {roofline}")
