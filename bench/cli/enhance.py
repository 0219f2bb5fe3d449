"""`lanewise enhance`: cleaner speech from a noisy recording, through a packed model."""

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
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
def command(paths: tuple[Path, ...], isa: str | None, as_json: bool) -> None:
    """Take noise out of IN.wav (mono, of the model's rate) with MODEL (.lwm) and write OUT.wav, as long and aligned.

    Without MODEL the enhancer that ships is used (16 kHz). Live, hop by hop, the same samples come `latency_ms` later.
    The time printed is one plain run of this process; `lanewise rtf` measures with a gate.

    \b
    Examples:
      lanewise enhance noisy.wav clean.wav
      lanewise enhance enhancer.lwm noisy.wav clean.wav
      lanewise enhance enhancer.lwm noisy.wav clean.wav --isa avx2 --json
    """
    from bench.cli.wav import write_fitted
    from bench.data.audio import read_wav
    from bench.engine import Enhancer

    model, source, out = model_and_files(paths, "enhancer")
    enhancer = Enhancer(model, isa)
    rate = enhancer.sample_rate_hz
    audio = read_wav(source, rate)
    check_writable(out)
    begin = time.perf_counter()
    speech = enhancer.enhance(audio)
    seconds = time.perf_counter() - begin
    peak = write_fitted(out, speech, rate)
    audio_seconds = len(speech) / rate
    if as_json:
        row = {
            "model": str(model), "in": str(source), "out": str(out), "isa": enhancer.isa, "samples": len(speech),
            "seconds": seconds, "rtf_ungated": seconds / audio_seconds, "latency_ms": enhancer.latency_ms, "peak": peak,
        }  # fmt: skip
        click.echo(json.dumps(row, indent=1))
    else:
        click.echo(f"{out}: {audio_seconds:.2f} s of speech in {seconds:.2f} s ({enhancer.isa})", err=True)
