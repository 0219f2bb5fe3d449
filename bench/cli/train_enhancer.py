"""`lanewise train-enhancer`: dense training of a speech enhancer."""

from pathlib import Path

import click

from bench.cli.options import check_writable
from bench.cli.training import check_training, saving, training_options


@click.command(name="train-enhancer", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--corpus",
    default="embedded",
    show_default=True,
    help="Clean speech, as in `lanewise data list`, or voicebank:PATH, dns:PATH.",
)
@click.option("--noise", default="embedded", show_default=True, help="Noise for clean speech: embedded or folder:PATH.")
@click.option("--cell", type=click.Choice(["lstm", "gru"]), default="lstm", show_default=True, help="Recurrent layers.")
@click.option("--hidden", type=click.IntRange(1, 4096), default=256, show_default=True, help="Units of each layer.")
@click.option("--seconds", default=3.0, show_default=True, help="Length of a stretch.")
@click.option("--loss", type=click.Choice(["snr", "si-sdr", "spectral"]), default="snr", show_default=True)
@training_options(10_000, 2e-3, 16, 100, 250, "Stretches", "the mixtures")
def command(
    out: Path,
    corpus: str,
    noise: str,
    cell: str,
    hidden: int,
    steps: int,
    rate: float,
    batch: int,
    seconds: float,
    loss: str,
    seed: int,
    device: str,
    threads: int,
    save_every: int,
    validate_every: int,
    dry_run: bool,
) -> None:
    """Train a dense speech enhancer on noisy mixtures made on the fly and write it to OUT (.safetensors).

    The run saves itself beside OUT; the same command goes on where it stopped, and one with more --steps
    extends a finished run.

    \b
    Examples:
      lanewise train-enhancer models/enhancer.safetensors --threads 1
      lanewise train-enhancer models/small.safetensors --hidden 96 --cell gru
    """
    from bench.errors import UsageError
    from bench.learn.enhancement import EnhancerPlan, train_enhancer
    from bench.learn.fit import Optimisation
    from bench.measure.speed.lock import pause_while_timing
    from bench.models.enhancer import EnhancerArch
    from bench.progress import say

    check_training(out, rate, 2e-3, device, threads)
    if not 0.5 <= seconds <= 60:
        raise UsageError(f"--seconds {seconds:g}: expected a length from 0.5 to 60 seconds, such as 3")
    arch = EnhancerArch(cell="gru" if cell == "gru" else "lstm", hidden=hidden)
    optimisation = Optimisation(steps=steps, rate=rate, average=0.998, hold=0.5, tail=0.05, clip=5.0)
    plan = EnhancerPlan(corpus, noise, arch, optimisation, loss, seed, batch, seconds)
    say(f"{arch.parameters:,} parameters, latency {arch.latency_ms:.0f} ms; {plan}")
    if not dry_run:
        check_writable(out)
        with saving(out):
            train_enhancer(plan, out, device, save_every, validate_every, before_step=pause_while_timing)
