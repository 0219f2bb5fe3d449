"""`lanewise train`: dense training of a vocoder."""

from pathlib import Path

import click

from bench.cli.options import check_writable
from bench.cli.training import COUNT, check_training, saving, training_options


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
@click.option("--frames", type=COUNT, default=10, show_default=True, help="Frames of 10 ms per segment.")
@click.option("--causal", is_flag=True, help="Conditioning without look-ahead.")
@click.option("--cache", default="runs/cache", show_default=True, type=click.Path(path_type=Path), help="Features.")
@training_options(20_000, 1.5e-3, 32, 200, 1000, "Segments", "the data order")
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
    from bench.learn.dense import DensePlan, train_dense
    from bench.learn.fit import Optimisation
    from bench.measure.speed.lock import pause_while_timing
    from bench.models.wavernn import Arch
    from bench.progress import say

    check_training(out, rate, 1.5e-3, device, threads)
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
        with saving(out):
            train_dense(plan, out, cache, device, save_every, validate_every, before_step=pause_while_timing)
