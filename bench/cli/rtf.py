"""`lanewise rtf`: gated real-time factor of packed models on this host."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.text import aligned

if TYPE_CHECKING:
    from bench.measure.speed.enhancer import EnhancerSpeed
    from bench.measure.speed.rtf import RtfResult


@click.command(name="rtf", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("models", metavar="[MODEL]...", nargs=-1, type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--like",
    "likes",
    multiple=True,
    metavar="HIDDEN:SPARSITY:TILE:FORMAT",
    help="A model with random weights and this recurrent matrix, such as 512:0.7:16x4:int8 or 512:0:dense:f32.",
)
@click.option("--dense", type=click.Path(dir_okay=False, path_type=Path), help="Dense packed model to compare with.")
@click.option("--isa", help="Such as avx2; default LANEWISE_ISA, else this host's widest.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the random order of samples.")
@click.option("--json", "as_json", is_flag=True, help="One object on stdout; of several models a list of them.")
def command(
    models: tuple[Path, ...], likes: tuple[str, ...], dense: Path | None, isa: str | None, seed: int, as_json: bool
) -> None:
    """Measure the real-time factor of packed MODELs: vocoders from mel frames to waveform, enhancers from noisy samples
    to enhanced ones, hop by hop; one core.

    The dense version of the same architecture and number format (without --dense: a twin with random weights, since
    speed does not depend on their values) and, of vocoders, the time to read the recurrent matrix are measured in the
    same run.
    Samples count only when the core ran at nominal speed; `verdict` says whether enough did. With --like a model need
    not be trained to know what it would cost on this CPU.

    \b
    Examples:
      lanewise rtf model.lwm
      lanewise rtf model.lwm --isa avx2 --json | jq .rtf
      lanewise rtf sparse.lwm --dense dense.lwm
      lanewise rtf --like 512:0:dense:f32 --like 512:0.7:16x1:f32 --like 512:0.7:16x4:int8
    """
    from bench.engine.vocoder import read_header
    from bench.errors import UsageError
    from bench.measure.speed.enhancer import EnhancerSpeed, measure_enhancer
    from bench.measure.speed.like import Like
    from bench.measure.speed.rtf import RtfResult, measure_rtf

    asked = [Like.parse(text) for text in likes]
    if not models and not asked:
        raise UsageError("name a packed model, or a shape such as --like 512:0.7:16x4:int8")
    tasks = [read_header(model).get("task") for model in models]  # a damaged one is found before others are measured
    found: list[tuple[str, RtfResult | EnhancerSpeed]] = [
        (
            str(model),
            measure_enhancer(model, isa, dense_path=dense, seed=seed)
            if task == "enhancer"
            else measure_rtf(model, dense, isa, seed=seed),
        )
        for model, task in zip(models, tasks, strict=True)
    ]
    with tempfile.TemporaryDirectory() as folder:
        for like in asked:
            like.pack(path := Path(folder) / "like.lwm")
            found.append((like.name, measure_rtf(path, dense, isa, seed=seed)))
    if as_json:
        rows = [{"model": name} | result.to_json() for name, result in found]
        click.echo(json.dumps(rows if len(rows) > 1 else rows[0], indent=1))
        return
    vocoders = [(name, result) for name, result in found if isinstance(result, RtfResult)]
    enhancers = [(name, result) for name, result in found if isinstance(result, EnhancerSpeed)]
    if len(found) == 1:
        click.echo(describe(vocoders[0][1]) if vocoders else describe_enhancer(enhancers[0][1]))
    else:
        click.echo("\n\n".join(side_by_side(group) for group in (vocoders, enhancers) if group))


def side_by_side(found: "Sequence[tuple[str, RtfResult]] | Sequence[tuple[str, EnhancerSpeed]]") -> str:
    """Several results of one network as a table: microseconds by part, and what the parts measured apart add up to."""
    parts = list(found[0][1].parts_us)
    unit = "us a frame" if hasattr(found[0][1], "frame_us") else "us a step"
    lines = [["model", "RTF", unit, *parts, "parts' sum", "times dense", "verdict"]]
    for name, result in found:
        budget = [f"{result.parts_us[part]:.2f}" for part in parts]
        speed = [f"{result.rtf:.4f}", f"{sum(result.parts_us.values()):.2f}"]
        lines.append([name, *speed, *budget, f"{result.parts_sum_us:.2f}", f"{result.vs_dense:.2f}", result.verdict])
    notes = [f"{name}: {result.why}" for name, result in found if result.why]
    first = found[0][1]
    return "\n".join([aligned(lines), *notes, f"{first.isa}, {first.cpu}, {first.nominal_ghz:.2f} GHz nominal"])


def describe(result: "RtfResult") -> str:
    """The result in a few lines for people."""
    dense, parts, where = _DENSE[result.dense], _parts(result), _where(result)
    return "\n".join(
        [
            f"RTF {result.rtf:.4f} ({1 / result.rtf:.0f} times faster than real time), {result.format}, {result.isa}",
            f"verdict {result.verdict}" + (f": {result.why}" if result.why else ""),
            f"{result.us_per_step:.2f} us a step: {parts} (measured apart they add up to {result.parts_sum_us:.2f})",
            f"dense {result.rtf_dense:.4f}: {result.vs_dense:.2f} times as fast ({dense})",
            *([f"{result.skipped:.0%} of the recurrent columns skipped"] if result.skipped else []),
            f"recurrent product {result.kernel_us:.2f} us: {result.vs_limit:.0%} of the read limit "
            f"({result.limit_us:.2f} us)",
            where,
        ]
    )


def describe_enhancer(result: "EnhancerSpeed") -> str:
    """The result in a few lines for people."""
    return "\n".join(
        [
            f"RTF {result.rtf:.5f} ({1 / result.rtf:.0f} times faster than real time), {result.format}, {result.isa}",
            f"verdict {result.verdict}" + (f": {result.why}" if result.why else ""),
            f"{result.frame_us:.2f} us a frame: {_parts(result)} (measured apart they add up to "
            f"{result.parts_sum_us:.2f})",
            f"dense {result.frame_us_dense:.2f} us: {result.vs_dense:.2f} times as fast ({_DENSE[result.dense]})",
            _where(result),
        ]
    )


_DENSE = {"given": "the dense model given", "itself": "it is dense itself", "twin": "a dense twin"}


def _parts(result: "RtfResult | EnhancerSpeed") -> str:
    return ", ".join(f"{name} {us:.2f}" for name, us in result.parts_us.items())


def _where(result: "RtfResult | EnhancerSpeed") -> str:
    core = f"core {result.pinned}" if result.pinned is not None else "not pinned"
    return (
        f"{result.samples} samples accepted, {result.rejected} of the run rejected; {result.cpu}, {core}, "
        f"{result.nominal_ghz:.2f} GHz nominal"
    )
