"""Speech that a command made, as a 16-bit file."""

from pathlib import Path

import click

from bench.data.audio import FloatArray, write_wav


def write_fitted(out: Path, speech: FloatArray, sample_rate_hz: int) -> float:
    """Write samples (n,); return their peak. Beyond full scale the whole is scaled, which keeps the sound, and said."""
    peak = float(abs(speech).max())
    if peak > 1.0:
        click.echo(f"{out}: peak {peak:.3f} is beyond full scale; the whole file was scaled to fit", err=True)
        speech = speech / peak
    write_wav(out, speech, sample_rate_hz)
    return peak
