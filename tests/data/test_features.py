"""log_mel against librosa, and what it refuses."""

import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data.features import (
    HOP,
    N_FFT,
    N_MELS,
    SAMPLE_RATE_HZ,
    WINDOW,
    hz_to_mel,
    log_mel,
    mel_filterbank,
    mel_to_hz,
)
from bench.errors import LanewiseError


def reference(audio: np.ndarray) -> np.ndarray:
    used = audio[: len(audio) // HOP * HOP]
    padded = np.pad(used, (N_FFT - HOP) // 2, mode="reflect")
    spectrum = librosa.stft(padded, n_fft=N_FFT, hop_length=HOP, win_length=WINDOW, window="hann", center=False)
    bank = librosa.filters.mel(sr=SAMPLE_RATE_HZ, n_fft=N_FFT, n_mels=N_MELS, fmin=0, fmax=SAMPLE_RATE_HZ / 2)
    return np.log(np.maximum(bank @ np.abs(spectrum), 1e-5)).T


@settings(max_examples=20, deadline=None)
@given(
    samples=st.integers(480, 20_000),
    seed=st.integers(0, 2**32 - 1),
    level=st.sampled_from([1.0, 0.1, 1e-3]),
    tone_hz=st.floats(50, 7900),
)
def test_matches_librosa(samples: int, seed: int, level: float, tone_hz: float) -> None:
    rng = np.random.default_rng(seed)
    tone = np.sin(2 * np.pi * tone_hz / SAMPLE_RATE_HZ * np.arange(samples))
    audio = (level * (0.5 * tone + 0.1 * rng.standard_normal(samples))).astype(np.float32)
    mel = log_mel(audio)
    assert mel.dtype == np.float32
    assert mel.shape == (samples // HOP, N_MELS)
    np.testing.assert_allclose(mel, reference(audio), atol=1e-4)


def test_long_audio_is_the_same_in_blocks() -> None:
    audio = np.random.default_rng(0).standard_normal(5000 * HOP).astype(np.float32)
    np.testing.assert_allclose(log_mel(audio), reference(audio), atol=1e-4)


def test_filterbank_is_librosas() -> None:
    bank = librosa.filters.mel(sr=SAMPLE_RATE_HZ, n_fft=N_FFT, n_mels=N_MELS)
    np.testing.assert_allclose(mel_filterbank(), bank, atol=1e-7)


@given(st.floats(0, 8000))
def test_mel_scale_inverts(hz: float) -> None:
    assert mel_to_hz(hz_to_mel(hz)) == pytest.approx(hz, abs=1e-6)


def test_frame_is_centred_on_its_hop() -> None:
    audio = np.zeros(20 * HOP, np.float32)
    audio[7 * HOP + HOP // 2] = 1.0
    assert int(log_mel(audio).sum(axis=1).argmax()) == 7


def test_silence_is_the_floor() -> None:
    np.testing.assert_allclose(log_mel(np.zeros(1600, np.float32)), np.log(1e-5), rtol=1e-6)


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (np.zeros(100, np.float32), "at least 480 samples"),
        (np.zeros((1600, 2), np.float32), "mono"),
        (np.full(1600, np.nan, np.float32), "NaN"),
    ],
)
def test_refuses(audio: np.ndarray, message: str) -> None:
    with pytest.raises(LanewiseError, match=message):
        log_mel(audio)
