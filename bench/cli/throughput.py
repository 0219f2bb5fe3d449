"""`lanewise throughput`: arm-steps per second by the number of arms trained at once."""

import json
from datetime import date
from pathlib import Path

import click

from bench.cli.options import check_writable, comma_list
from bench.errors import UsageError
from bench.progress import say


@click.command(name="throughput")
@click.option("--arms", callback=comma_list(int), help="Numbers of arms. Default 1,2,4,8,16,32,64.")
@click.option("--hidden", type=click.IntRange(1, 4096), default=256, show_default=True, help="GRU units.")
@click.option("--batch", type=click.IntRange(1), default=32, show_default=True, help="Segments per step.")
@click.option(
    "--segment", type=click.IntRange(40), default=400, show_default=True, help="GRU steps, whole frames of 40."
)
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="Samples of each number of arms.")
@click.option("--steps", type=click.IntRange(1), default=1, show_default=True, help="Steps per sample.")
@click.option("--width", type=click.IntRange(1), help="Arms of one program. Default all on a GPU, 1 on a CPU.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), help="Default cuda where there is one.")
@click.option("--threads", type=click.IntRange(0, 1024), default=0, help="CPU threads; 0 uses every core.")
@click.option(
    "--figure", type=click.Path(path_type=Path), help="Draw FILE.png or FILE.svg, its data beside it as .csv."
)
@click.option("--json", "as_json", is_flag=True, help="One list of flat rows on stdout.")
def command(
    arms: tuple[int, ...],
    hidden: int,
    batch: int,
    segment: int,
    rounds: int,
    steps: int,
    width: int | None,
    device: str | None,
    threads: int,
    figure: Path | None,
    as_json: bool,
) -> None:
    """Measure how many training steps of arms this host does in a second, by the number of arms trained at once.

    The arms are dense, under Lasso, column-wise and SIMD-size group Lasso in turn, with three seeds, on recordings of
    noise. Numbers of arms are interleaved at random; a row has the median of its samples, the extremes, and how it
    compares with one arm (vs_one).

    \b
    Examples:
      lanewise throughput
      lanewise throughput --arms 1,4,16 --hidden 128 --json
      lanewise throughput --device cuda --steps 20 --figure throughput.svg
    """
    import pandas as pd
    import torch

    from bench import host
    from bench.measure.speed.lock import timing_lock
    from bench.measure.speed.throughput import Load, draw, measure, summary

    counts = sorted(set(arms or (1, 2, 4, 8, 16, 32, 64)))
    if counts[0] < 1:
        raise UsageError(f"--arms {counts[0]}: expected numbers of at least 1, such as 1,4,16")
    if segment % 40:
        raise UsageError(
            f"--segment {segment}: expected whole frames of 40 steps, such as {max(segment // 40, 1) * 40}"
        )
    if figure is not None:
        if figure.suffix not in {".png", ".svg"}:
            raise UsageError(f"--figure {figure}: expected a name that ends in .png or .svg")
        check_writable(figure)
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: this host has no CUDA device that torch can use; leave the option out")
    if threads:
        torch.set_num_threads(threads)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    with timing_lock():
        rows = measure(counts, Load(hidden, batch, segment, device, width), rounds, steps)
    name = torch.cuda.get_device_name() if device == "cuda" else host.cpu_name()
    where = name if device == "cuda" else f"{name}, threads {torch.get_num_threads()}"
    what = f"GRU {hidden}, {batch} x {segment}"
    found = summary(rows)
    if as_json:
        click.echo(json.dumps([row | {"device": where, "load": what} for row in found], indent=1))
    else:
        click.echo(f"{what} on {where}; median of {rounds} (lowest to highest)")
        click.echo(f"{'arms':>5} {'programs':>9} {'step ms':>9} {'arm-steps/s':>12} {'range':>17} {'vs one':>7}")
        for row in found:
            spread = f"{row['low']:.3g} to {row['high']:.3g}"
            against = "-" if row["vs_one"] is None else f"{row['vs_one']:.2f}"
            click.echo(
                f"{row['arms']:>5} {row['programs']:>9} {row['step_ms']:>9.0f} {row['arm_steps_per_s']:>12.3g} "
                f"{spread:>17} {against:>7}"
            )
    if figure is not None:
        data = pd.DataFrame(rows).assign(device=where, load=what, date=date.today().isoformat())
        data.to_csv(figure.with_suffix(".csv"), index=False)
        draw(data, f"{what} on {where}", figure)
        say(f"figure: {figure}, its data: {figure.with_suffix('.csv')}")
