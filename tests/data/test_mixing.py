"""Mixtures: the ratio asked for, what cannot be mixed, and what depends on the seed alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data.mixing import at_level, babble, coloured, lively_stretch, mix, rms, stretch
from bench.errors import LanewiseError


def noise(samples: int, seed: int = 0, scale: float = 0.01) -> np.ndarray:
    return (scale * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


@settings(max_examples=50, deadline=None)
@given(st.integers(100, 4000), st.floats(-20, 40), st.floats(1e-4, 1.0), st.integers(0, 2**31))
def test_the_ratio_is_the_one_asked_for(samples: int, snr_db: float, scale: float, seed: int) -> None:
    speech = noise(samples, seed, 0.01)
    noisy = mix(speech, noise(samples, seed + 1, scale), snr_db)
    assert noisy.dtype == np.float32
    added = noisy.astype(np.float64) - speech
    assert 20 * np.log10(rms(speech) / rms(added)) == pytest.approx(snr_db, abs=0.01)


def test_silence_and_clipping_are_errors() -> None:
    speech, hiss = noise(800), noise(800, 1)
    with pytest.raises(LanewiseError, match="the speech is silent"):
        mix(np.zeros(800, np.float32), hiss, 0.0)
    with pytest.raises(LanewiseError, match="the noise is silent"):
        mix(speech, np.full(800, 1e-6, np.float32), 0.0)
    with pytest.raises(LanewiseError, match=r"would clip at -40 dB .* lower the speech by at least \d"):
        mix(speech, hiss, -40.0)
    with pytest.raises(LanewiseError, match="expected mono of one length"):
        mix(speech, hiss[:-1], 0.0)
    with pytest.raises(LanewiseError, match="no level"):
        at_level(np.zeros(10, np.float32), -26.0)


def test_the_remedy_for_clipping_works() -> None:
    speech, hiss = noise(800, scale=0.2), noise(800, 1)
    with pytest.raises(LanewiseError) as caught:
        mix(speech, hiss, -10.0)
    lower_db = float(str(caught.value).split("at least ")[1].split(" dB")[0])
    mix(speech * np.float32(10 ** (-(lower_db + 0.1) / 20)), hiss, -10.0)


def test_a_stretch_goes_on_at_the_beginning() -> None:
    recording = np.arange(5, dtype=np.float32)
    np.testing.assert_array_equal(stretch(recording, 3, 1), [1, 2, 3])
    np.testing.assert_array_equal(stretch(recording, 12, 3), [3, 4, 0, 1, 2, 3, 4, 0, 1, 2, 3, 4])


def test_pauses_of_a_recording_are_avoided_or_named() -> None:
    song = noise(16_000)
    song[:12_000] = 1e-5
    rng = np.random.default_rng(0)
    for _ in range(20):
        assert rms(lively_stretch(song, 1000, rng)) > 0.1 * rms(song)
    chirp = np.zeros(1_600_000, np.float32)
    chirp[-5:] = 0.9
    with pytest.raises(LanewiseError, match="all near silent"):
        lively_stretch(chirp, 100, rng)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 20_000))
def test_babble_and_coloured_noise_depend_on_the_generator_alone(seed: int, samples: int) -> None:
    voices = [[noise(3000, i) for i in range(3)], [noise(500, 9)]]
    for make in (lambda rng: babble(voices, samples, rng), lambda rng: coloured(max(samples, 200), rng)):
        first, again = (make(np.random.default_rng(seed)) for _ in range(2))
        np.testing.assert_array_equal(first, again)
        assert first.dtype == np.float32
        assert np.isfinite(first).all()
        assert rms(first) > 1e-4
    assert len(babble(voices, samples, np.random.default_rng(seed))) == samples
