"""`lanewise pack`: a trained checkpoint into the file that the engine runs."""

import json
from pathlib import Path

import click

from bench.cli.options import check_writable
from bench.errors import UsageError, did_you_mean


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--tile",
    "tiles",
    multiple=True,
    metavar="MATRIX=TILE",
    help="Store a pruned matrix by its non-zero tiles, as in gru.recurrent=16x1; may be given several times.",
)
@click.option(
    "--format",
    "fmt",
    type=click.Choice(["f32", "bf16", "int8"]),
    default="f32",
    show_default=True,
    help="Number format of the weights; the small output layer stays f32 in int8.",
)
@click.option(
    "--tables",
    type=click.Choice(["f32", "bf16", "int8"]),
    help="Number format of the embedding tables that loading makes; by default bf16, f32 with f32.",
)
@click.option(
    "--delta",
    type=click.FloatRange(0, 1),
    metavar="THRESHOLD",
    help="Skip columns of gru.recurrent whose state moved by no more since last used; f32, dense or by column.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON.")
def command(
    checkpoint: Path,
    out: Path,
    tiles: tuple[str, ...],
    fmt: str,
    tables: str | None,
    delta: float | None,
    as_json: bool,
) -> None:
    """Pack CHECKPOINT (.safetensors, made by `lanewise train`) into OUT (.lwm).

    Matrices are stored dense unless --tile names them: gru.recurrent, gru.cond, gru.embed, head.fc, head.out.

    \b
    Examples:
      lanewise pack dense.safetensors dense.lwm
      lanewise pack pruned.safetensors pruned.lwm --tile gru.recurrent=16x1
      lanewise pack pruned.safetensors small.lwm --tile gru.recurrent=16x1 --format int8
      lanewise pack dense.safetensors delta.lwm --delta 0.01
    """
    named = _parse(tiles)

    from bench.engine import table
    from bench.engine.pack import pack_vocoder
    from bench.engine.recipe import recipe
    from bench.measure.footprint import footprint
    from bench.models import checkpoint as checkpoints
    from bench.models.wavernn import MATRICES

    for name, tile in named.items():
        if name not in MATRICES:
            hint = did_you_mean(name, MATRICES)
            raise UsageError(f"--tile: unknown matrix {name!r}{hint}; allowed: {', '.join(MATRICES)}")
        if not table.can_run(tile):
            allowed = ", ".join(table.tiles())
            raise UsageError(
                f"--tile {name}={tile}: the engine has no kernel for {tile!r}; allowed: {allowed}, or any block RxC"
            )
    model, _ = checkpoints.load(checkpoint)
    arch, tensors = model.export()
    check_writable(out)
    by_key = {MATRICES[name][0]: tile for name, tile in named.items()}
    chosen = recipe(fmt, by_key, tables)
    info = pack_vocoder(out, arch, tensors, by_key, fmt=chosen.matrices, tables=chosen.tables, delta=delta)
    if as_json:
        size = footprint(out)
        click.echo(
            json.dumps({"path": str(out), **size.as_row(), "matrices": [vars(row) for row in size.matrices]}, indent=1)
        )
    else:
        click.echo(f"{out}: {info.bytes:,} bytes, {info.nonzeros:,} weights and biases", err=True)


def _parse(tiles: tuple[str, ...]) -> dict[str, str]:
    named = {}
    for text in tiles:
        name, equals, tile = text.partition("=")
        if not equals or not tile:
            raise UsageError(f"--tile: got {text!r}, expected MATRIX=TILE such as gru.recurrent=16x1")
        if name in named:
            raise UsageError(f"--tile: {name} is given twice")
        named[name] = tile
    return named
