"""A voice made of arithmetic: syllables of a gliding pulse train through formants, with pauses."""

import numpy as np
import numpy.typing as npt
import pytest
from scipy.signal import lfilter

FS = 16_000
Audio = npt.NDArray[np.float64]


def voice(seconds: float = 3.0, base_hz: float = 180.0, seed: int = 0) -> Audio:
    """Speech-like audio (seconds * 16000,), peak 0.5."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(int(seconds * FS)) / FS
    phase = np.cumsum(base_hz * (1 + 0.15 * np.sin(2 * np.pi * 0.7 * time_s)) / FS)
    pulses = np.diff(np.floor(phase), prepend=0.0)
    audio = pulses + 0.01 * rng.standard_normal(len(time_s))
    for centre_hz, width_hz in ((700, 90), (1300, 110), (2600, 160), (3700, 250)):
        radius = np.exp(-np.pi * width_hz / FS)
        audio = lfilter([1.0], [1, -2 * radius * np.cos(2 * np.pi * centre_hz / FS), radius**2], audio)
    syllables = np.clip(1.6 * np.sin(2 * np.pi * 1.6 * time_s) + 0.4, 0, 1)
    audio = audio * syllables
    return np.asarray(0.5 * audio / np.abs(audio).max() + 1e-5 * rng.standard_normal(len(time_s)))


@pytest.fixture(scope="session")
def speech() -> Audio:
    return voice()


@pytest.fixture(scope="session")
def noisy(speech: Audio) -> Audio:
    return speech + 0.01 * np.random.default_rng(1).standard_normal(len(speech))
