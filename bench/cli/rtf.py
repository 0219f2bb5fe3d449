"""`lanewise rtf`: gated real-time factor of a packed model on this host."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from bench.measure.speed.rtf import RtfResult


@click.command(name="rtf", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("model", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--dense", type=click.Path(dir_okay=False, path_type=Path), help="Dense packed model to compare with.")
@click.option("--isa", help="Such as avx2; default LANEWISE_ISA, else this host's widest.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the random order of samples.")
@click.option("--json", "as_json", is_flag=True, help="One object on stdout.")
def command(model: Path, dense: Path | None, isa: str | None, seed: int, as_json: bool) -> None:
    """Measure the real-time factor of a packed MODEL: whole path from mel frames to waveform, one core.

    The dense version of the same architecture (without --dense: a twin with random weights, since speed does not
    depend on their values) and the time to read the recurrent matrix are measured in the same run. Samples count only
    when the core ran at nominal speed; `verdict` says whether enough did.

    \b
    Examples:
      lanewise rtf model.lwm
      lanewise rtf model.lwm --isa avx2 --json | jq .rtf
      lanewise rtf sparse.lwm --dense dense.lwm
    """
    from bench.measure.speed.rtf import measure_rtf

    result = measure_rtf(model, dense, isa, seed=seed)
    click.echo(json.dumps(result.to_json(), indent=1) if as_json else describe(result))


def describe(result: "RtfResult") -> str:
    """The result in a few lines for people."""
    dense = {"given": "the dense model given", "itself": "it is dense itself", "twin": "a dense twin"}[result.dense]
    parts = ", ".join(f"{name} {us:.2f}" for name, us in result.parts_us.items())
    where = f"core {result.pinned}" if result.pinned is not None else "not pinned"
    return "\n".join(
        [
            f"RTF {result.rtf:.4f} ({1 / result.rtf:.0f} times faster than real time), {result.format}, {result.isa}",
            f"verdict {result.verdict}" + (f": {result.why}" if result.why else ""),
            f"{result.us_per_step:.2f} us a step: {parts}",
            f"dense {result.rtf_dense:.4f}: {result.vs_dense:.2f} times as fast ({dense})",
            f"recurrent product {result.kernel_us:.2f} us: {result.vs_limit:.0%} of the read limit "
            f"({result.limit_us:.2f} us)",
            f"{result.samples} samples accepted, {result.rejected} of the run rejected; {result.cpu}, {where}, "
            f"{result.nominal_ghz:.2f} GHz nominal",
        ]
    )
