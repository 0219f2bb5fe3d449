"""Pairs, pools and reference systems."""

import os
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from bench.data.features import log_mel
from bench.errors import LanewiseError, UsageError
from bench.measure.sound import references
from bench.measure.sound.pool import Pair, SoundPool
from bench.measure.sound.registry import SCORES
from bench.measure.sound.scoring import score_pair

from .conftest import voice

Audio = npt.NDArray[np.float64]


def test_lengths_must_agree(speech: Audio) -> None:
    with pytest.raises(LanewiseError, match=r"48000 samples .* 47000"):
        score_pair(speech, speech[:47000])


def test_wrong_rate_is_refused_not_resampled(speech: Audio) -> None:
    with pytest.raises(LanewiseError, match="defined at 16000 Hz, got 22050 Hz"):
        score_pair(speech, speech, sample_rate_hz=22_050)


@pytest.mark.parametrize("bad", [np.zeros(0), np.zeros((2, 100)), np.array([0.1, np.nan]), np.array([np.inf])])
def test_bad_audio_is_refused(bad: Audio) -> None:
    with pytest.raises(LanewiseError, match="audio has"):
        score_pair(bad, bad)


class _Deadly:
    """Ends the process that unpickles it, as a crash in a C library would."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (11,)


def test_pool_keeps_order_and_survives_bad_clips(speech: Audio, noisy: Audio) -> None:
    metrics = ["pesq_wb", "mrstft"]
    pairs = [
        Pair("long", voice(6.0), voice(6.0, seed=3)),
        Pair("crash", _Deadly(), speech),  # type: ignore[arg-type]
        Pair("uneven", speech, speech[:1000]),
        Pair("noisy", speech, noisy),
        Pair("clean", speech, speech),
    ]
    with SoundPool(2) as pool:
        rows = pool.score_many(pairs, metrics)
        assert pool.score_many(pairs[3:], metrics) == rows[3:]
        assert pool.score_many([], metrics) == []
        with pytest.raises(UsageError):
            pool.score_many(pairs, ["pesk"])
    assert [row.id for row in rows] == ["long", "crash", "uneven", "noisy", "clean"]
    assert rows[1].scores == {"pesq_wb": None, "mrstft": None}
    assert "exit code 11" in rows[1].reasons["pesq_wb"]
    assert "1000" in rows[2].reasons["mrstft"]
    assert (rows[3].scores, rows[3].reasons) == score_pair(speech, noisy, metrics)
    assert rows[4].scores["mrstft"] == 0


def test_reference_systems(speech: Audio) -> None:
    scale = np.array([0.5, 0.3, 0.2, 0.1])
    systems = references.reference_systems(speech[:-7], scale)
    assert list(systems) == ["recording", "copy-synthesis", "griffin-lim"]
    recording = systems["recording"]
    scored = {}
    for name, audio in systems.items():
        assert audio.dtype == np.float32
        assert audio.shape == (len(speech[:-7]) // 160 * 160,)
        assert np.isfinite(audio).all()
        scored[name] = score_pair(recording, audio, ["pesq_wb", "estoi", "mrstft"])[0]
    for key in ("pesq_wb", "estoi", "mrstft"):
        values = [row[key] for row in scored.values()]
        assert values == sorted(values, reverse=SCORES[key].higher_is_better), key
    np.testing.assert_array_equal(systems["griffin-lim"], references.griffin_lim(log_mel(recording)))


def test_copy_synthesis_loses_only_the_quantiser(speech: Audio) -> None:
    copied = references.copy_synthesis(speech, np.full(4, 0.7))
    snr_db = 10 * np.log10(np.square(speech).sum() / np.square(speech - copied).sum())
    assert 25 < snr_db < 50


def test_linear_magnitude_explains_the_mel_frames(speech: Audio) -> None:
    from bench.data.features import mel_filterbank

    frames = log_mel(speech.astype(np.float32))
    magnitude = references.linear_magnitude(frames)
    assert (magnitude >= 0).all()
    mel = np.exp(frames)
    assert np.linalg.norm(magnitude @ mel_filterbank().T - mel) < 0.01 * np.linalg.norm(mel)


def test_griffin_lim_refuses_what_is_no_mel() -> None:
    with pytest.raises(LanewiseError, match="shape"):
        references.griffin_lim(np.zeros(80))
