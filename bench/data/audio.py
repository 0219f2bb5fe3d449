"""Strict reading and writing of mono recordings: nothing is resampled, mixed down or repaired silently."""

import contextlib
import os
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.data.features import SAMPLE_RATE_HZ
from bench.errors import LanewiseError

FloatArray = npt.NDArray[np.float32]

AUDIO_SUFFIXES = (".wav", ".flac")
SHORTEST_S = 0.03
"""A recording must be at least this long: three frames, the fewest of which features can be made."""

_CUT_SHORT = re.compile(r"^ *data *: *(\d+) \(should be (\d+)\)", re.MULTILINE)
"""What libsndfile logs of a wav file whose header promises more (or fewer) bytes than follow."""
_LENGTH_UNKNOWN = 0x7FFFF000
"""From here on, the length in the header says by convention that the file was written to a pipe."""


def _unreadable(path: Path, error: Exception) -> LanewiseError:
    return LanewiseError(f"{path}: cannot be read as audio ({error}); expected a wav or flac file, replace it")


def _empty(path: Path) -> LanewiseError:
    return LanewiseError(f"{path}: holds no samples; remove it or record it again")


def count_samples(path: Path, sample_rate_hz: int | None = SAMPLE_RATE_HZ) -> int:
    """Length of a mono recording by its header alone, which is quick; None accepts any sample rate.

    Raises
    ------
    LanewiseError
        The file is missing, unreadable, cut short, stereo, of another sample rate, empty or shorter than `SHORTEST_S`.
    """
    import soundfile

    if path.is_dir():
        raise LanewiseError(f"{path}: is a folder, expected an audio file")
    if not path.is_file():
        raise LanewiseError(f"{path}: no such audio file; check the path")
    try:
        info = soundfile.info(str(path))
    except (soundfile.SoundFileError, OSError) as error:
        raise _unreadable(path, error) from error
    if info.channels != 1:
        raise LanewiseError(
            f"{path}: has {info.channels} channels, expected mono; mix it down first: `sox IN.wav -c 1 OUT.wav`"
        )
    if sample_rate_hz is not None and info.samplerate != sample_rate_hz:
        raise LanewiseError(
            f"{path}: sample rate is {info.samplerate} Hz, expected {sample_rate_hz} Hz; make a copy first: "
            f"`lanewise data prepare --resample FOLDER --out NEW_FOLDER`"
        )
    if info.frames == 0:
        raise _empty(path)
    cut = _CUT_SHORT.search(info.extra_info)
    if cut and int(cut[1]) < _LENGTH_UNKNOWN:
        raise LanewiseError(
            f"{path}: is cut short or altered: its header promises {cut[1]} bytes of sound, {cut[2]} are there; "
            "copy or export it again"
        )
    if info.frames < SHORTEST_S * info.samplerate:
        raise LanewiseError(
            f"{path}: is {info.frames / info.samplerate * 1e3:.0f} ms long ({info.frames} samples), expected at least "
            f"{SHORTEST_S * 1e3:.0f} ms; leave it out"
        )
    return int(info.frames)


def read_wav(path: str | Path, sample_rate_hz: int = SAMPLE_RATE_HZ) -> FloatArray:
    """Read a mono recording (wav, flac) at exactly `sample_rate_hz`.

    Returns
    -------
    float32 array (n,)
        Samples, full scale = 1.

    Raises
    ------
    LanewiseError
        The file is missing, unreadable, cut short, stereo, of another sample rate, empty, too short, or has NaN or
        infinite samples.
        The message names the file and the remedy.
    """
    import soundfile

    path = Path(path)
    length = count_samples(path, sample_rate_hz)
    try:
        samples, _ = soundfile.read(str(path), dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError) as error:
        raise _unreadable(path, error) from error
    if len(samples) != length:
        raise LanewiseError(f"{path}: {len(samples)} of {length} samples can be read; copy or export it again")
    audio: FloatArray = np.ascontiguousarray(samples[:, 0])
    bad = int(np.count_nonzero(~np.isfinite(audio)))
    if bad:
        raise LanewiseError(f"{path}: {bad} of {len(audio)} samples are NaN or infinite; export it again")
    return audio


def write_wav(path: str | Path, audio: npt.NDArray[np.floating], sample_rate_hz: int = SAMPLE_RATE_HZ) -> None:
    """Write mono audio as 16-bit PCM, atomically; the suffix (.wav or .flac) chooses the container.

    Raises
    ------
    LanewiseError
        The audio is not mono, empty, not finite, or beyond full scale (it would clip), or the suffix is unknown.
    """
    import soundfile

    path = Path(path)
    if path.suffix not in AUDIO_SUFFIXES:
        raise LanewiseError(f"{path}: cannot write this kind of audio file; use one of {', '.join(AUDIO_SUFFIXES)}")
    if audio.ndim != 1 or len(audio) == 0:
        raise LanewiseError(f"{path}: refusing to write audio of shape {audio.shape}; expected mono, not empty")
    if not np.isfinite(audio).all():
        raise LanewiseError(f"{path}: refusing to write audio with NaN or infinite samples")
    peak = float(np.abs(audio).max())
    if peak > 1.0:
        raise LanewiseError(f"{path}: refusing to clip audio with peak {peak:.3f}; scale it to at most 1.0")
    # Rounded here, so that the bytes do not depend on how a library rounds.
    pcm = np.clip(np.rint(audio.astype(np.float64) * 32768.0), -32768, 32767).astype(np.int16)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        container = "FLAC" if path.suffix == ".flac" else "WAV"
        soundfile.write(str(partial), pcm, sample_rate_hz, subtype="PCM_16", format=container)
        os.replace(partial, path)
    except (soundfile.SoundFileError, OSError) as error:
        raise LanewiseError(f"{path}: cannot be written ({error}); free space or name another place") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()
