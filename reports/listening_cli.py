"""`lanewise listening-test`: what a listening test with other people needs."""

from pathlib import Path

import click

from bench.errors import UsageError
from bench.progress import say


@click.command()
@click.argument("study")
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder to write into.")
@click.option("--arm", "arms", multiple=True, metavar="ARM", help="Compare this arm (repeat for more); default: all.")
@click.option("--utterances", type=click.IntRange(1), default=6, show_default=True, help="How many, worst first.")
@click.option("--by", "metric", metavar="METRIC", help="Rank the utterances by loss in this score, such as pesq_wb.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the shuffling.")
def listening_test(
    study: str, out: Path, arms: tuple[str, ...], utterances: int, metric: str | None, seed: int
) -> None:
    """Write the stimuli of a listening test on STUDY: gain-matched wav files, webMUSHRA set-ups, ABX trials.

    Put the folder into webMUSHRA's `configs/` and open it with `?config=NAME/mushra.yaml` (or `pairs.yaml`, or
    `pairs-dense.yaml`: against dense-continued). File names do not tell the systems: stimuli.csv and abx-key.csv are
    for you.

    \b
    Examples:
      lanewise listening-test demo --out demo-test
      lanewise listening-test runs/paper --out test --arm dense-continued --arm simd-16x1-s70 --by pesq_wb
    """
    from reports.analysis import analyse
    from reports.cli import find_study
    from reports.listening_test import write_test
    from reports.loader import load_study

    analysis = analyse(load_study(find_study(study)))
    key = None if metric is None else f"quality.{metric.removeprefix('quality.')}"
    if key is not None and analysis.column(key) is None:
        known = ", ".join(c.key.removeprefix("quality.") for c in analysis.columns if c.key.startswith("quality."))
        raise UsageError(f"--by {metric}: the study has no such score; it has {known}")
    written = write_test(analysis, out, arms, utterances, key, seed)
    say(f"{len(written)} stimuli of {len({s.utterance for s in written})} utterances: {out}")
    say(f"for webMUSHRA: {out}/mushra.yaml, {out}/pairs.yaml; ABX trials: {out}/abx.csv (key: {out}/abx-key.csv)")
