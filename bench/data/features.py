"""Log-mel features of the vocoder: 80 bands at 100 frames a second from 16 kHz audio, in plain numpy.

The definition (a contract with the models and the engine): magnitude spectrum of a periodic Hann window
of 640 samples centred in a 1024-point FFT, one frame every 160 samples, frame f centred on the middle of
its hop (reflection at both ends), 80 slaney mel bands over 0 to 8000 Hz, natural logarithm floored at 1e-5.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from bench.errors import LanewiseError

SAMPLE_RATE_HZ = 16_000
HOP = 160
N_FFT = 1024
WINDOW = 640
N_MELS = 80
LOG_FLOOR = 1e-5
FEATURE_VERSION = 1
"""Part of every features cache key: raise it whenever `log_mel` changes its result."""

FloatArray = npt.NDArray[np.float32]

_PAD = (N_FFT - HOP) // 2
_BLOCK_FRAMES = 4096
"""Frames transformed at once, which bounds the memory that a long recording takes."""


def hz_to_mel(hz: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Slaney's mel scale (Auditory Toolbox, 1998): linear below 1 kHz, logarithmic above."""
    hz = np.asarray(hz, dtype=np.float64)
    log_part = 15.0 + np.log(np.maximum(hz, 1000.0) / 1000.0) * 27.0 / np.log(6.4)
    return np.where(hz < 1000.0, hz * 3.0 / 200.0, log_part)


def mel_to_hz(mel: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Inverse of `hz_to_mel`."""
    mel = np.asarray(mel, dtype=np.float64)
    log_part = 1000.0 * np.exp((np.maximum(mel, 15.0) - 15.0) * np.log(6.4) / 27.0)
    return np.where(mel < 15.0, mel * 200.0 / 3.0, log_part)


@lru_cache(maxsize=1)
def mel_filterbank() -> FloatArray:
    """Triangular mel filters of unit area (slaney norm), shape (N_MELS, N_FFT // 2 + 1).

    Shared by all callers, hence read-only.
    """
    bins_hz = np.fft.rfftfreq(N_FFT, 1.0 / SAMPLE_RATE_HZ)
    corners_hz = mel_to_hz(np.linspace(0.0, float(hz_to_mel(SAMPLE_RATE_HZ / 2)), N_MELS + 2))
    low, centre, high = corners_hz[:-2, None], corners_hz[1:-1, None], corners_hz[2:, None]
    triangles = np.maximum(0.0, np.minimum((bins_hz - low) / (centre - low), (high - bins_hz) / (high - centre)))
    bank = (triangles * 2.0 / (high - low)).astype(np.float32)
    bank.setflags(write=False)
    return bank


@lru_cache(maxsize=1)
def _window() -> FloatArray:
    hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(WINDOW) / WINDOW)
    window = np.pad(hann, (N_FFT - WINDOW) // 2).astype(np.float32)
    window.setflags(write=False)
    return window


def log_mel(audio: npt.NDArray[np.floating]) -> FloatArray:
    """Log-mel features of 16 kHz audio.

    Parameters
    ----------
    audio : float array (n,)
        Samples in [-1, 1], at least one hop (and enough to reflect: 433 samples).

    Returns
    -------
    float32 array (n // HOP, N_MELS)
        Natural logarithm of mel magnitudes. Samples beyond the last whole hop are not used.

    Raises
    ------
    LanewiseError
        The audio is not one-dimensional, too short, or not finite.
    """
    if audio.ndim != 1:
        raise LanewiseError(f"log_mel takes mono audio of shape (n,), got shape {audio.shape}")
    frames = len(audio) // HOP
    if frames * HOP <= _PAD:
        raise LanewiseError(
            f"log_mel needs at least {(_PAD // HOP + 1) * HOP} samples (30 ms), got {len(audio)}: leave this clip out"
        )
    used = np.asarray(audio[: frames * HOP], dtype=np.float32)
    if not np.isfinite(used).all():
        raise LanewiseError("log_mel got audio with NaN or infinite samples: repair or leave out this clip")
    padded = np.pad(used, _PAD, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP]
    bank, window = mel_filterbank().T, _window()
    out = np.empty((frames, N_MELS), np.float32)
    for start in range(0, frames, _BLOCK_FRAMES):
        block = windows[start : start + _BLOCK_FRAMES] * window
        magnitude = np.abs(np.fft.rfft(block, axis=-1)).astype(np.float32)
        out[start : start + len(block)] = np.log(np.maximum(magnitude @ bank, LOG_FLOOR))
    return out
