"""Reference systems that give a vocoder's scores meaning: what the bands and their quantiser allow, and Griffin-Lim.

They stand beside "recording" (the clip against itself) in a study's `references.json`.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from bench.errors import LanewiseError

FloatArray = npt.NDArray[np.float32]

ITERATIONS = 32
_MOMENTUM = 0.99
_NNLS_STEPS = 30


def reference_systems(audio: npt.NDArray[np.floating], band_scale: npt.NDArray[np.floating]) -> dict[str, FloatArray]:
    """Outputs of the three reference systems for one clip, by name, each (n // 160 * 160,) and aligned.

    "recording" is the clip itself (the most that a metric gives), "copy-synthesis" and "griffin-lim" as below.
    """
    from bench.data.features import HOP, log_mel

    recording = np.asarray(audio[: len(audio) // HOP * HOP], dtype=np.float32)
    return {
        "recording": recording,
        "copy-synthesis": copy_synthesis(recording, band_scale),
        "griffin-lim": griffin_lim(log_mel(recording)),
    }


def copy_synthesis(audio: npt.NDArray[np.floating], band_scale: npt.NDArray[np.floating]) -> FloatArray:
    """Ceiling of any model on these bands: PQMF analysis, 8-bit mu-law of each band, synthesis.

    Parameters
    ----------
    audio
        Samples (n,).
    band_scale
        Scale (M,) that each band sample is divided by before quantisation, as in the model.

    Returns
    -------
    float32 (n // M * M,), aligned with `audio`
    """
    from bench.models import quantiser
    from bench.models.pqmf import Pqmf

    pqmf = Pqmf(bands=len(band_scale))
    indices = quantiser.encode(pqmf.analysis(audio) / band_scale)
    return pqmf.synthesis(quantiser.decode(indices) * band_scale)


def griffin_lim(log_mel: npt.NDArray[np.floating], iterations: int = ITERATIONS, seed: int = 0) -> FloatArray:
    """Audio from the same mel frames that a vocoder gets, without any model.

    Fast Griffin-Lim (Perraudin, Balazs, Sondergaard, WASPAA 2013; momentum 0.99) from the linear magnitudes that
    explain the mel magnitudes best and are nowhere negative.

    Parameters
    ----------
    log_mel
        Features (frames, 80) of `bench.data.features.log_mel`.
    iterations
        Number of phase updates.
    seed
        Of the random phases it starts from.

    Returns
    -------
    float32 (frames * 160,), within [-1, 1], aligned with the audio of the frames
    """
    from bench.data.features import HOP, N_FFT

    if log_mel.ndim != 2 or len(log_mel) == 0 or not np.isfinite(log_mel).all():
        raise LanewiseError(f"griffin_lim takes finite mel frames (frames, 80), got shape {log_mel.shape}")
    magnitude = linear_magnitude(log_mel)
    angles = np.random.default_rng(seed).uniform(0, 2 * np.pi, magnitude.shape)
    phase = np.exp(1j * angles)
    previous = np.zeros_like(phase)
    for _ in range(iterations):
        consistent = _stft(_istft(magnitude * phase))
        accelerated = consistent + _MOMENTUM * (consistent - previous)
        previous = consistent
        phase = accelerated / np.maximum(np.abs(accelerated), 1e-16)
    audio = _istft(magnitude * phase)
    lead = (N_FFT - HOP) // 2
    return np.clip(audio[lead : lead + len(log_mel) * HOP], -1, 1).astype(np.float32)


def linear_magnitude(log_mel: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Non-negative magnitudes (frames, 513) whose mel magnitudes are nearest to the given ones, in the least squares.

    Multiplicative updates (Lee, Seung, NIPS 2000) from the clipped pseudo-inverse.
    """
    from bench.data.features import mel_filterbank

    bank = mel_filterbank().astype(np.float64)
    mel = np.exp(log_mel.astype(np.float64))
    magnitude: npt.NDArray[np.float64] = np.maximum(mel @ np.linalg.pinv(bank).T, 1e-8)
    target = mel @ bank
    for _ in range(_NNLS_STEPS):
        magnitude *= target / np.maximum(magnitude @ bank.T @ bank, 1e-12)
    return magnitude


@lru_cache(maxsize=1)
def _window() -> npt.NDArray[np.float64]:
    from bench.data.features import N_FFT, WINDOW

    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    return np.asarray(np.pad(hann, (N_FFT - WINDOW) // 2))


def _stft(padded: npt.NDArray[np.float64]) -> npt.NDArray[np.complex128]:
    """Spectra (frames, 513) of audio that already holds the margins of its first and last frame."""
    from scipy.fft import rfft

    from bench.data.features import HOP, N_FFT

    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP]
    return np.asarray(rfft(frames * _window(), axis=1))


def _istft(spectra: npt.NDArray[np.complex128]) -> npt.NDArray[np.float64]:
    """Audio ((frames - 1) * 160 + 1024,) whose spectra are nearest to the given ones (Griffin, Lim, 1984, eq. 6)."""
    from scipy.fft import irfft

    from bench.data.features import HOP, N_FFT

    window = _window()
    frames = irfft(spectra, axis=1) * window
    audio = np.zeros((len(frames) - 1) * HOP + N_FFT)
    weight = np.zeros_like(audio)
    for index, frame in enumerate(frames):
        audio[index * HOP : index * HOP + N_FFT] += frame
        weight[index * HOP : index * HOP + N_FFT] += window**2
    return audio / np.maximum(weight, 1e-8)
