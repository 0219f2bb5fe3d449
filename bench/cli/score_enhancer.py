"""`lanewise score-enhancer`: what a trained enhancer does for noisy speech, by kind of noise and ratio."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.options import comma_list
from bench.errors import UsageError

if TYPE_CHECKING:
    from bench.measure.enhancement import Condition, EnhancedScores


@click.command(name="score-enhancer", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--corpus", default="embedded", show_default=True, help="Clean speech, or voicebank:PATH, dns:PATH.")
@click.option("--noise", default="embedded", show_default=True, help="Noise for clean speech: embedded or folder:PATH.")
@click.option("--split", type=click.Choice(["valid", "test"]), default="test", show_default=True)
@click.option("--snr", callback=comma_list(float), metavar="A,B", help="Only these ratios in dB (default: all).")
@click.option("--kind", callback=comma_list(str), metavar="A,B", help="Only these kinds of noise (default: all).")
@click.option(
    "--metrics", callback=comma_list(str), metavar="A,B", help="Sound metrics (default: those of enhancement)."
)
@click.option("--workers", type=click.IntRange(min=1), help="Scoring processes (default: 2, or 1 on one CPU).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: `conditions` and one row per utterance.")
def command(
    model: Path,
    corpus: str,
    noise: str,
    split: str,
    snr: tuple[float, ...],
    kind: tuple[str, ...],
    metrics: tuple[str, ...],
    workers: int | None,
    as_json: bool,
) -> None:
    """Score the enhancer MODEL (.safetensors) on noisy speech it was not trained on.

    Each score is given for the noisy input and for the output, and the difference with its 95 % interval over
    utterances. A score that does not exist (of silence, say) is missing and counted, never 0.

    \b
    Examples:
      lanewise score-enhancer dense.safetensors --snr 0 --metrics si_sdr,pesq_wb
      lanewise score-enhancer dense.safetensors --json > scores.json
      lanewise score-enhancer dense.safetensors --corpus voicebank:VoiceBank-16k
    """
    from bench.data.noisy_corpora import load_noisy
    from bench.learn.enhancement import enhance
    from bench.measure.enhancement import METRICS, by_condition, score_enhancer
    from bench.measure.sound.registry import choose
    from bench.models.checkpoint import load_enhancer

    choose(metrics or METRICS)
    network, _ = load_enhancer(model)
    data = load_noisy(corpus, noise)
    pairs = data.test if split == "test" else data.valid
    chosen = [p for p in pairs if (not snr or p.snr_db in snr) and (not kind or p.kind in kind)]
    if not chosen:
        kinds = ", ".join(sorted({pair.kind for pair in pairs}))
        ratios = ", ".join(f"{ratio:g}" for ratio in sorted({p.snr_db for p in pairs if p.snr_db is not None}))
        raise UsageError(f"no pair of {corpus} has --snr {snr} and --kind {kind}; there are {kinds} at {ratios} dB")
    scores = score_enhancer(lambda noisy: enhance(network, noisy), chosen, metrics or METRICS, workers)
    if as_json:
        click.echo(
            json.dumps({"conditions": [asdict(row) for row in by_condition(scores)], "utterances": _rows(scores)})
        )
    else:
        _print(by_condition(scores))


def _rows(scores: "list[EnhancedScores]") -> list[dict[str, Any]]:
    return [
        {
            "id": score.pair.id,
            "condition": score.pair.condition,
            "kind": score.pair.kind,
            "snr_db": score.pair.snr_db,
            **{f"noisy.{key}": value for key, value in score.noisy.items()},
            **{f"enhanced.{key}": value for key, value in score.enhanced.items()},
            "reasons": score.reasons,
        }
        for score in scores
    ]


def _print(conditions: "list[Condition]") -> None:
    from rich.console import Console
    from rich.table import Table

    from bench.measure.sound.registry import SCORES

    table = Table("condition", "noise", "SNR", "metric", box=None, pad_edge=False)
    for heading in ("noisy", "enhanced", "difference", "95 % interval", "n", "missing"):
        table.add_column(heading, justify="right")
    for row in conditions:
        for key, gain in row.gain.items():
            decimals = 2 if SCORES[key].unit == "dB" else 3
            table.add_row(
                row.condition,
                row.kind,
                "" if row.snr_db is None else f"{row.snr_db:g}",
                SCORES[key].label,
                *(_number(value, decimals) for value in (row.noisy[key].mean, row.enhanced[key].mean)),
                _number(gain.mean, decimals, "+"),
                f"{_number(gain.low, decimals)} to {_number(gain.high, decimals)}",
                str(gain.n),
                str(gain.n_failed),
            )
    Console(highlight=False, width=140).print(table)


def _number(value: float | None, decimals: int, sign: str = "") -> str:
    return "-" if value is None else f"{value:{sign}.{decimals}f}"
