"""`lanewise train`: dense training of a vocoder."""

from pathlib import Path

import click

from bench.cli.options import check_writable

_COUNT = click.IntRange(1)


@click.command(name="train")
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--corpus", default="embedded", show_default=True, help="As in `lanewise data list`.")
@click.option(
    "--hidden",
    type=click.IntRange(1, 4096),
    default=384,
    show_default=True,
    help="GRU units (a multiple of 32 trains fastest).",
)
@click.option("--steps", type=_COUNT, default=20000, show_default=True, help="Optimiser steps.")
@click.option("--rate", default=1.5e-3, show_default=True, help="Peak learning rate.")
@click.option("--batch", type=_COUNT, default=32, show_default=True, help="Segments per step.")
@click.option("--frames", type=_COUNT, default=10, show_default=True, help="Frames of 10 ms per segment.")
@click.option(
    "--seed",
    type=click.IntRange(0, 2**63 - 1),
    default=1,
    show_default=True,
    help="Seed of the initial weights and of the data order.",
)
@click.option("--causal", is_flag=True, help="Conditioning without look-ahead.")
@click.option("--device", default="cpu", show_default=True, type=click.Choice(["cpu", "cuda"]))
@click.option("--threads", type=click.IntRange(0, 1024), default=0, help="CPU threads; 0 uses every core.")
@click.option("--cache", default="runs/cache", show_default=True, type=click.Path(path_type=Path), help="Features.")
@click.option("--save-every", type=_COUNT, default=200, show_default=True, help="Steps between checkpoints.")
@click.option("--validate-every", type=_COUNT, default=1000, show_default=True, help="Steps between validations.")
@click.option("--dry-run", is_flag=True, help="Print the plan and stop.")
def command(
    out: Path,
    corpus: str,
    hidden: int,
    steps: int,
    rate: float,
    batch: int,
    frames: int,
    seed: int,
    causal: bool,
    device: str,
    threads: int,
    cache: Path,
    save_every: int,
    validate_every: int,
    dry_run: bool,
) -> None:
    """Train a dense subband WaveRNN and write it to OUT (.safetensors).

    The run saves itself beside OUT; the same command goes on where it stopped, and one with more --steps
    extends a finished run.

    \b
    Examples:
      lanewise train models/dense.safetensors --hidden 384 --steps 20000
      lanewise train models/mine.safetensors --corpus folder:my/wavs --device cuda
    """
    import torch
    from safetensors import SafetensorError

    from bench.errors import LanewiseError, UsageError
    from bench.learn.dense import DensePlan, train_dense
    from bench.learn.fit import Optimisation
    from bench.measure.speed.lock import pause_while_timing
    from bench.models.wavernn import Arch
    from bench.progress import say

    if out.suffix != ".safetensors":
        raise UsageError(f"OUT is {out}; it must end in .safetensors")
    if not 0 < rate <= 1:
        raise UsageError(f"--rate {rate:g}: expected a learning rate above 0 and at most 1, such as 0.0015")
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: this host has no CUDA device that torch can use; leave the option out")
    if threads:
        torch.set_num_threads(threads)
    plan = DensePlan(
        corpus,
        Arch(hidden=hidden, causal=causal),
        Optimisation(steps=steps, rate=rate, average=0.999, hold=0.6, tail=0.05),
        seed,
        batch,
        frames,
    )
    say(str(plan))
    if not dry_run:
        check_writable(out)
        check_writable(cache / "features")
        try:
            train_dense(plan, out, cache, device, save_every, validate_every, before_step=pause_while_timing)
        except SafetensorError as error:
            raise LanewiseError(
                f"{out}: cannot be saved ({error}); free space, and the same command goes on from the last checkpoint"
            ) from error
