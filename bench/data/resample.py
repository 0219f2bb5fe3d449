"""Make a 16 kHz copy of a corpus, layout and transcripts included: the one place where audio is resampled."""

import math
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.data.audio import AUDIO_SUFFIXES, FloatArray, count_samples, read_wav, write_wav
from bench.data.features import SAMPLE_RATE_HZ
from bench.errors import LanewiseError
from bench.progress import track

_TABLES = ("metadata.csv", "transcript_utf8.txt", "split.csv", "log_testset.txt", "log_trainset_28spk.txt")
_KAISER_BETA = 12.0
_PEAK = 0.999


@dataclass(frozen=True)
class Resampled:
    """What `resample_folder` wrote."""

    root: Path
    clips: int
    seconds: float
    attenuated: list[str]
    """Clips whose peak passed full scale between the old samples; they were scaled to a peak of 0.999."""


def resample(audio: FloatArray, from_hz: int, to_hz: int = SAMPLE_RATE_HZ) -> FloatArray:
    """Polyphase resampling, (n,) -> (ceil(n * to_hz / from_hz),); Kaiser window, about 118 dB in the stop band."""
    if from_hz == to_hz:
        return audio
    from scipy.signal import resample_poly

    common = math.gcd(from_hz, to_hz)
    result: FloatArray = resample_poly(
        audio.astype(np.float64), to_hz // common, from_hz // common, window=("kaiser", _KAISER_BETA)
    ).astype(np.float32)
    return result


def resample_folder(source: Path, out: Path) -> Resampled:
    """Write a 16 kHz, 16-bit mono copy of every wav and flac below `source` to the same place below `out`.

    Transcript and split tables are copied. `out` must not exist, so that nothing old is mistaken for a copy; it
    appears only when the whole copy is done.

    Raises
    ------
    LanewiseError
        A recording is unreadable, stereo, empty or has NaN; `source` has no recordings; `out` exists.
    """
    if out.exists():
        raise LanewiseError(f"{out}: exists already; name a new folder with --out")
    if not source.is_dir():
        raise LanewiseError(f"{source}: no such folder")
    files = sorted(path for path in source.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES)
    if not files:
        raise LanewiseError(f"{source}: no recordings; expected files ending in {' or '.join(AUDIO_SUFFIXES)}")
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    attenuated: list[str] = []
    seconds = 0.0
    try:
        for path in track(files, "resampling", len(files)):
            name = path.relative_to(source)
            audio, loud = _resampled_clip(path)
            if loud:
                attenuated.append(name.as_posix())
            write_wav(partial / name.with_suffix(path.suffix.lower()), audio)
            seconds += len(audio) / SAMPLE_RATE_HZ
        for table in sorted(path for path in source.rglob("*") if path.name in _TABLES):
            target = partial / table.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(table, target)
        os.replace(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Resampled(out, len(files), seconds, attenuated)


def _resampled_clip(path: Path) -> tuple[FloatArray, bool]:
    import soundfile

    count_samples(path, sample_rate_hz=None)
    from_hz = int(soundfile.info(str(path)).samplerate)
    audio = resample(read_wav(path, from_hz), from_hz)
    peak = float(np.abs(audio).max())
    if peak <= 1.0:
        return audio, False
    return audio * np.float32(_PEAK / peak), True
