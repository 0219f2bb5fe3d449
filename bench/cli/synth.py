"""`lanewise synth`: speech from a recording's mel frames, through a packed model."""

import json
import time
from pathlib import Path

import click

from bench.cli.options import check_writable, model_and_files


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("paths", metavar="[MODEL.lwm] IN.wav OUT.wav", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--isa", metavar="NAME", help="scalar, sse4.2, avx2, avx512, avx512vnni or auto (LANEWISE_ISA, else the best)."
)
@click.option("--seed", type=click.IntRange(min=0, max=2**64 - 1), default=0, show_default=True, help="Of sampling.")
@click.option("--temperature", type=click.FloatRange(0.05, 2), default=0.9, show_default=True, help="Of sampling.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
def command(paths: tuple[Path, ...], isa: str | None, seed: int, temperature: float, as_json: bool) -> None:
    """Analyse IN.wav (16 kHz, mono) into mel frames and synthesise OUT.wav from them with MODEL (a packed one, .lwm).

    Without MODEL the vocoder that ships is used. OUT.wav is as long as the whole frames of 10 ms in IN.wav. The time
    printed is one plain run of this process; `lanewise rtf` measures with a gate.

    \b
    Examples:
      lanewise synth recording.wav speech.wav
      lanewise synth model.lwm recording.wav speech.wav
      lanewise synth model.lwm recording.wav speech.wav --isa avx2 --seed 3 --json
    """
    from bench.cli.wav import write_fitted
    from bench.data.audio import read_wav
    from bench.data.features import SAMPLE_RATE_HZ, log_mel
    from bench.engine import Vocoder

    model, source, out = model_and_files(paths, "vocoder")
    vocoder = Vocoder(model, isa)
    audio = read_wav(source, SAMPLE_RATE_HZ)
    check_writable(out)
    begin = time.perf_counter()
    speech = vocoder.synthesize(log_mel(audio), seed=seed, temperature=temperature)
    seconds = time.perf_counter() - begin
    peak = write_fitted(out, speech, SAMPLE_RATE_HZ)
    audio_seconds = len(speech) / SAMPLE_RATE_HZ
    if as_json:
        row = {
            "model": str(model), "in": str(source), "out": str(out), "isa": vocoder.isa, "seed": seed,
            "samples": len(speech), "seconds": seconds, "rtf_ungated": seconds / audio_seconds, "peak": peak,
        }  # fmt: skip
        click.echo(json.dumps(row, indent=1))
    else:
        click.echo(f"{out}: {audio_seconds:.2f} s of speech in {seconds:.2f} s ({vocoder.isa})", err=True)
