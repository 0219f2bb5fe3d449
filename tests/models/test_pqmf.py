"""The filter bank gives back what it was given, on noise, speech and clips of any length."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data.corpus import load_corpus
from bench.models.pqmf import Pqmf


def _snr_db(reference: np.ndarray, found: np.ndarray) -> float:
    error = reference - found
    return float(10 * np.log10((reference**2).sum() / (error**2).sum()))


def test_reconstructs_noise() -> None:
    noise = np.random.default_rng(0).standard_normal(16000).astype(np.float32)
    found = Pqmf().synthesis(Pqmf().analysis(noise))
    assert _snr_db(noise[64:-64], found[64:-64]) > 60


def test_reconstructs_speech() -> None:
    audio = load_corpus("embedded").split("test")[0].audio()
    whole = audio[: len(audio) // 4 * 4]
    assert _snr_db(whole, Pqmf().synthesis(Pqmf().analysis(audio))) > 60


@pytest.mark.parametrize("band", range(4))
def test_a_tone_lies_in_its_band(band: int) -> None:
    tone = np.sin(2 * np.pi * (2 * band + 1) / 16 * np.arange(4000)).astype(np.float32)
    energy = (Pqmf().analysis(tone)[50:-50] ** 2).sum(0)
    assert np.argmax(energy) == band
    assert energy[band] / energy.sum() > 0.999


@settings(max_examples=20, deadline=None)
@given(length=st.integers(4, 400))
def test_length(length: int) -> None:
    bands = Pqmf().analysis(np.zeros(length, dtype=np.float32))
    assert bands.shape == (length // 4, 4)
    assert Pqmf().synthesis(bands).shape == (length // 4 * 4,)


def test_equals_a_plain_sum() -> None:
    bands = np.random.default_rng(1).standard_normal((30, 4))
    filters = Pqmf().synthesis_filters
    plain = np.zeros(120)
    for step in range(30):
        for band in range(4):
            for tap in range(64):
                if 4 * step + tap < 120:
                    plain[4 * step + tap] += bands[step, band] * filters[band, tap]
    np.testing.assert_allclose(Pqmf().synthesis(bands), plain, atol=1e-6)
