"""`lanewise pack`: a trained checkpoint into the file that the engine runs."""

import json
from collections.abc import Mapping
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

    Matrices are stored dense unless --tile names them: gru.recurrent, gru.cond, gru.embed, head.fc, head.out; of an
    enhancer (made by `lanewise train-enhancer`; f32 or int8) rnn1.input, rnn1.recurrent, rnn2.input, ..., fc.hidden,
    fc.mask.

    \b
    Examples:
      lanewise pack dense.safetensors dense.lwm
      lanewise pack pruned.safetensors pruned.lwm --tile gru.recurrent=16x1
      lanewise pack pruned.safetensors small.lwm --tile gru.recurrent=16x1 --format int8
      lanewise pack dense.safetensors delta.lwm --delta 0.01
      lanewise pack enhancer.safetensors enhancer.lwm --format int8 --tile rnn1.recurrent=16x4
    """
    named = _parse(tiles)

    from bench.engine.pack import pack_vocoder
    from bench.engine.pack_enhancer import pack_enhancer
    from bench.engine.recipe import recipe
    from bench.measure.footprint import footprint
    from bench.models import checkpoint as checkpoints
    from bench.models import enhancer
    from bench.models.wavernn import MATRICES

    if checkpoints.task(checkpoint) == "enhancer":
        for option, value in (("--tables", tables), ("--delta", delta)):
            if value is not None:
                raise UsageError(f"{option}: is for vocoders, {checkpoint} is an enhancer; leave it out")
        network, _ = checkpoints.load_enhancer(checkpoint)
        by_key = _by_key(named, enhancer.matrices(network.arch))
        check_writable(out)
        info = pack_enhancer(out, *network.export(), by_key, fmt=fmt)
    else:
        by_key = _by_key(named, MATRICES)
        model, _ = checkpoints.load(checkpoint)
        check_writable(out)
        chosen = recipe(fmt, by_key, tables)
        info = pack_vocoder(out, *model.export(), by_key, fmt=chosen.matrices, tables=chosen.tables, delta=delta)
    if as_json:
        size = footprint(out)
        click.echo(
            json.dumps({"path": str(out), **size.as_row(), "matrices": [vars(row) for row in size.matrices]}, indent=1)
        )
    else:
        click.echo(f"{out}: {info.bytes:,} bytes, {info.nonzeros:,} weights and biases", err=True)


def _by_key(named: Mapping[str, str], matrices: Mapping[str, tuple[str, int]]) -> dict[str, str]:
    """Tiles by state-dict key, of matrices that the network has and the engine runs."""
    from bench.engine import table

    for name, tile in named.items():
        if name not in matrices:
            hint = did_you_mean(name, matrices)
            raise UsageError(f"--tile: unknown matrix {name!r}{hint}; allowed: {', '.join(matrices)}")
        if not table.can_run(tile):
            allowed = ", ".join(table.tiles())
            raise UsageError(
                f"--tile {name}={tile}: the engine has no kernel for {tile!r}; allowed: {allowed}, or any block RxC"
            )
    return {matrices[name][0]: tile for name, tile in named.items()}


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
