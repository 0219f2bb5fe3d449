"""SI-SDR and SDR: known values, the slow definition, and reasons where there is no value."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.measure.sound import sdr, si_sdr
from bench.measure.sound.metric import NotComputable
from bench.measure.sound.scoring import score_pair

Audio = npt.NDArray[np.float64]


@settings(max_examples=30, deadline=None)
@given(
    snr_db=st.floats(-30, 60),
    gain=st.floats(0.01, 100).flatmap(lambda g: st.sampled_from([g, -g])),
    seed=st.integers(0, 2**31),
)
def test_si_sdr_is_the_ratio_of_orthogonal_noise_whatever_the_gain(snr_db: float, gain: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    reference, noise = rng.standard_normal((2, 800))
    noise -= reference * (noise @ reference) / (reference @ reference)
    noise *= np.linalg.norm(reference) / np.linalg.norm(noise) * 10 ** (-snr_db / 20)
    found = si_sdr.compute(reference, gain * (reference + noise))["si_sdr"]
    assert found == pytest.approx(snr_db, abs=1e-6)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_sdr_is_the_least_squares_fit_of_all_delays(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sdr, "TAPS", 16)
    rng = np.random.default_rng(seed)
    reference = rng.standard_normal(300)
    degraded = np.convolve(reference, rng.standard_normal(20))[:300] + 0.5 * rng.standard_normal(300)
    delays = np.stack([np.pad(reference, (delay, 15 - delay)) for delay in range(16)], axis=1)
    padded = np.pad(degraded, (0, 15))
    fit = delays @ np.linalg.lstsq(delays, padded, rcond=None)[0]
    expected = 10 * np.log10(np.sum(fit**2) / np.sum((padded - fit) ** 2))
    assert sdr.compute(reference, degraded)["sdr"] == pytest.approx(expected, abs=1e-9)


def test_sdr_forgives_a_short_filter_that_si_sdr_counts(speech: Audio) -> None:
    noise = 0.003 * np.random.default_rng(1).standard_normal(len(speech))
    filtered = np.convolve(speech, [0.6, 0.0, 0.3, -0.2, 0.0, 0.5])[: len(speech)] + noise
    scores = score_pair(speech, filtered, ["si_sdr", "sdr"])[0]
    assert scores["sdr"] is not None
    assert scores["si_sdr"] is not None
    assert scores["sdr"] > scores["si_sdr"] + 3


def test_no_value_without_speech_or_without_distortion(speech: Audio) -> None:
    for silent in ((speech, np.zeros_like(speech)), (np.zeros_like(speech), speech)):
        scores, reasons = score_pair(*silent, ["si_sdr", "sdr"])
        assert scores == {"si_sdr": None, "sdr": None}
        assert all("silent" in reason for reason in reasons.values())
    scores, reasons = score_pair(speech, 0.5 * speech, ["si_sdr", "sdr"])
    assert scores == {"si_sdr": None, "sdr": None}
    assert "SI-SDR: not defined" in reasons["si_sdr"]
    even, odd = np.tile([1.0, 0.0], 50), np.tile([0.0, 1.0], 50)
    with pytest.raises(NotComputable, match="nothing of the reference"):
        si_sdr.compute(even, odd)
    with pytest.raises(NotComputable, match="at least 512"):
        sdr.compute(even, odd)
