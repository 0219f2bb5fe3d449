"""`lanewise footprint`: what an enhancer takes on a small device, in bytes, cycles and microseconds."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from bench.errors import UsageError

if TYPE_CHECKING:
    from bench.measure.accelerator import Accelerator
    from bench.measure.accelerator_cost import FrameCost
    from bench.measure.enhancer_footprint import StoredSize
    from bench.measure.vela import VelaEstimate


@click.command(name="footprint", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--tile", "tile_name", default="1x1", show_default=True, help="Tile of the block encoding.")
@click.option(
    "--dense", type=click.Path(path_type=Path), help="Model before pruning, where units went (default: same size)."
)
@click.option(
    "--scales", type=click.Choice(["channel", "tensor"]), default="channel", show_default=True, help="Of int8 weights."
)
@click.option("--accelerators", "file", type=click.Path(path_type=Path), help="Your assumptions (default: shipped).")
@click.option("--vela", "with_vela", is_flag=True, help="Ask Arm's compiler too (pip install 'lanewise[vela]').")
@click.option("--json", "as_json", is_flag=True, help="One object on stdout.")
def command(
    model: Path,
    tile_name: str,
    dense: Path | None,
    scales: Literal["channel", "tensor"],
    file: Path | None,
    with_vela: bool,
    as_json: bool,
) -> None:
    """Size and speed of the enhancer MODEL (.safetensors), quantised to int8, its zeros taken as pruned.

    Bytes in each way of storing the weights, memory for activations, and the time of a frame on each assumed
    accelerator: docs/accelerators.md says what is assumed and how to change it.

    \b
    Examples:
      lanewise footprint pruned.safetensors --tile 16x4
      lanewise footprint smaller.safetensors --dense dense.safetensors --json
      lanewise footprint pruned.safetensors --accelerators mine.yaml --vela
    """
    from bench.measure.accelerator import load
    from bench.measure.accelerator_cost import enhancer_cost
    from bench.measure.enhancer_footprint import dense_f32_bytes, enhancer_footprint, peak_activation_bytes
    from bench.measure.vela import vela_estimate
    from bench.models.checkpoint import load_enhancer
    from bench.models.enhancer import matrices
    from bench.models.quantised import Quantisation, quantise
    from bench.sparsity.tile import Tile

    devices, tile = load(file), Tile.parse(tile_name)
    network = quantise(load_enhancer(model)[0], Quantisation(scales))
    original = network.arch if dense is None else load_enhancer(dense)[0].arch
    if replace(original, hidden=network.arch.hidden, fc=network.arch.fc) != network.arch:
        raise UsageError(f"--dense {dense}: {model} was not pruned from it: they differ in more than hidden units")
    vela = vela_estimate(network) if with_vela else None
    stored = enhancer_footprint(network, dict.fromkeys(matrices(network.arch), tile))
    costs = {device.name: enhancer_cost(device, network, original) for device in devices}
    integers = [weights for weights, _ in network.stored().values()]
    found: dict[str, Any] = {
        "dense_f32_bytes": dense_f32_bytes(original),
        "activation_bytes": peak_activation_bytes(network.arch),
        "macs": sum(weights.size for weights in integers),
        "kept_macs": sum(int((weights != 0).sum()) for weights in integers),
    }
    if as_json:
        found["stored"] = {name: asdict(size) | {"total": size.total} for name, size in stored.items()}
        found["accelerators"] = {name: asdict(cost) for name, cost in costs.items()}
        click.echo(json.dumps(found | {"vela": vela and asdict(vela)}, indent=1))
    else:
        _print_sizes(found, stored, tile_name)
        _print_times(devices, costs, vela)


def _print_sizes(found: dict[str, Any], stored: "dict[str, StoredSize]", tile: str) -> None:
    from rich.console import Console
    from rich.table import Table

    macs, kept = found["macs"], found["kept_macs"]
    console = Console(highlight=False, width=120)
    console.print(
        f"Products a frame: {macs:,}, {kept:,} by weights other than zero ({kept / macs:.1%}). "
        f"Peak memory for activations: {found['activation_bytes']:,} bytes.\n"
    )
    table = Table("int8 weights stored as", box=None, pad_edge=False)
    for heading in ("matrices", "with scales, biases", "smaller than dense f32"):
        table.add_column(heading, justify="right")
    names = {"blocks": f"blocks {tile}", "entropy_bound": "entropy bound"}
    for name, size in stored.items():
        ratio = found["dense_f32_bytes"] / size.total
        table.add_row(names.get(name, name), f"{size.matrices:,}", f"{size.total:,}", f"{ratio:.1f}x")
    console.print(table)


def _print_times(
    devices: "tuple[Accelerator, ...]", costs: "dict[str, FrameCost]", vela: "VelaEstimate | None"
) -> None:
    from rich.console import Console
    from rich.table import Table

    from bench.measure.vela import ACCELERATOR

    table = Table("\nassumed accelerator", "\nskips", "\nweights", box=None, pad_edge=False)
    for heading in ("bytes\nread", "cycles to\nmultiply", "cycles\nto read", "\ncycles", "\nus", "over\ndense"):
        table.add_column(heading, justify="right")
    for device in devices:
        cost = costs[device.name]
        table.add_row(
            device.name,
            "blocks {}x{}".format(*device.block) if device.block else device.skips,
            f"{device.weights}, {cost.weights_in}",
            *(f"{value:,}" for value in (cost.weight_bytes, cost.compute_cycles, cost.stream_cycles, cost.cycles)),
            f"{cost.us:,.1f}",
            f"{cost.speedup:.2f}x",
        )
    if vela:
        for place, cycles, us in (
            ("flash", vela.flash_cycles, vela.flash_us),
            ("sram", vela.sram_cycles, vela.sram_us),
        ):
            row = (f"{vela.weight_bytes:,}", "", "", f"{cycles:,}", f"{us:,.1f}", "")
            table.add_row(f"vela, {ACCELERATOR}", "none", f"vela, {place}", *row)
    console = Console(highlight=False, width=120)
    console.print()
    console.print(table)
