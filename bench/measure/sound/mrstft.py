"""Multi-resolution STFT distance, in numpy."""

import numpy as np
import numpy.typing as npt

from bench.measure.sound.metric import FloatArray, Metric, NotComputable, Score

RESOLUTIONS = ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240))
"""(FFT size, hop, window) in samples."""
_POWER_FLOOR = 1e-8

Magnitude = npt.NDArray[np.float32]


def magnitude(audio: FloatArray, n_fft: int, hop: int, window: int) -> Magnitude:
    """Magnitude STFT (frames, n_fft // 2 + 1): periodic Hann centred in the FFT, reflected ends, power >= 1e-8."""
    from scipy.fft import rfft

    padded = np.pad(audio.astype(np.float32), n_fft // 2, mode="reflect")
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window, dtype=np.float32) / window)
    # Only the window's part of each FFT frame is cut out: a shift in time does not change a magnitude.
    left = (n_fft - window) // 2
    cut = padded[left : len(padded) - (n_fft - window - left)]
    frames = np.lib.stride_tricks.sliding_window_view(cut, window)[::hop]
    spectrum = rfft(frames * hann, n=n_fft, axis=1)
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    return np.asarray(np.sqrt(np.maximum(power, np.float32(_POWER_FLOOR))))


def compute(reference: FloatArray, degraded: FloatArray) -> dict[str, float]:
    """Mean over resolutions of spectral convergence plus mean absolute difference of log magnitudes."""
    longest = max(n_fft for n_fft, _, _ in RESOLUTIONS)
    if len(reference) <= longest // 2:
        raise NotComputable(f"MR-STFT: {len(reference)} samples are too short, at least {longest // 2 + 1} are needed")
    distances = []
    for resolution in RESOLUTIONS:
        ref, deg = magnitude(reference, *resolution), magnitude(degraded, *resolution)
        convergence = np.linalg.norm(ref - deg) / np.linalg.norm(ref)
        distances.append(convergence + np.abs(np.log(ref / deg)).mean())
    return {"mrstft": float(np.mean(distances))}


METRIC = Metric(
    name="mrstft",
    scores=(Score("mrstft", "MR-STFT", "", 0.0, float("inf"), higher_is_better=False),),
    needs_reference=True,
    sample_rate_hz=16_000,
    package=None,
    definition=(
        "Yamamoto, Song, Kim, ICASSP 2020 (Parallel WaveGAN): spectral convergence + log magnitude distance, mean of "
        "FFT/hop/window 1024/120/600, 2048/240/1200, 512/50/240; the defaults of auraloss"
    ),
    compute=compute,
)
