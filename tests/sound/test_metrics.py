"""Values of the metrics: known ones, slow references, and reasons where there is no value."""

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from bench.measure.sound import dnsmos, logf0_rmse, mcd_db, mrstft, pesq_wb, visqol, voicing_error, world
from bench.measure.sound.metric import NotComputable
from bench.measure.sound.registry import SCORES
from bench.measure.sound.scoring import score_pair

from .conftest import FS, voice

Audio = npt.NDArray[np.float64]


def test_clean_against_itself(speech: Audio) -> None:
    scores, reasons = score_pair(speech, speech)
    assert reasons.keys() == {"si_sdr", "sdr"}
    assert all("not defined, the degraded audio is the reference" in reason for reason in reasons.values())
    assert scores["pesq_wb"] == pytest.approx(4.644, abs=1e-3)
    assert scores["stoi"] == pytest.approx(1, abs=1e-6)
    assert scores["estoi"] == pytest.approx(1, abs=1e-6)
    for key in ("mcd_db", "logf0_rmse", "voicing_error", "mrstft"):
        assert scores[key] == 0
    assert scores["visqol"] == pytest.approx(4.44, abs=0.1)


def test_more_noise_is_never_better(speech: Audio) -> None:
    noise = np.random.default_rng(2).standard_normal(len(speech))
    rows = [score_pair(speech, speech + level * noise)[0] for level in (0.001, 0.008, 0.05)]
    for key in ("pesq_wb", "stoi", "estoi", "mcd_db", "voicing_error", "mrstft", "si_sdr", "sdr", "dnsmos_bak"):
        values = [row[key] for row in rows]
        assert None not in values
        assert values == sorted(values, reverse=SCORES[key].higher_is_better), key
        assert values[0] != values[-1]
    # ViSQOL reaches its floor early on a voice this clean.
    assert rows[0]["visqol"] < 2  # type: ignore[operator]


def test_scores_are_finite_python_numbers_and_repeat(speech: Audio, noisy: Audio) -> None:
    np.random.seed(5)
    first = score_pair(speech, noisy)
    drawn = np.random.standard_normal()
    assert score_pair(speech, noisy) == first
    assert all(type(value) is float and np.isfinite(value) for value in first[0].values())
    np.random.seed(5)
    assert np.random.standard_normal() == drawn, "scoring must leave numpy's global random numbers alone"


def test_silence_is_missing_with_a_reason(speech: Audio) -> None:
    silence = np.zeros_like(speech)
    for reference, degraded in ((speech, silence), (silence, silence)):
        scores, reasons = score_pair(reference, degraded)
        assert set(scores.values()) == {None}
        assert reasons.keys() == scores.keys()
        assert all("silent" in reason for reason in reasons.values())
    scores, reasons = score_pair(silence, speech)
    assert [key for key, value in scores.items() if value is not None] == ["dnsmos_sig", "dnsmos_bak", "dnsmos_ovr"]
    assert "reference audio is silent" in reasons["pesq_wb"]


@pytest.mark.parametrize(("samples", "reason"), [(2 * FS, "No utterances"), (FS // 10, "1/4 of a second")])
def test_pesq_says_why_it_has_no_value(samples: int, reason: str) -> None:
    with pytest.raises(NotComputable, match=f"^PESQ: .*{reason}"):
        pesq_wb.compute(np.zeros(samples), np.zeros(samples))


def test_short_clip_has_reasons_not_numbers() -> None:
    clip = voice(0.1)
    scores, reasons = score_pair(clip, clip)
    assert "0.4 s of speech" in reasons["stoi"]
    assert "0.4 s of speech" in reasons["estoi"]
    assert {key for key, value in scores.items() if value is None} == reasons.keys()
    with pytest.raises(NotComputable, match="at least 1025"):
        mrstft.compute(clip[:1024], clip[:1024])


def test_noise_has_no_pitch() -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal(2 * FS)
    assert not world.analyse(noise).voiced.all()
    unvoiced = np.where(np.arange(2 * FS) % 4000 < 40, noise, 0)
    for compute in (logf0_rmse.compute, voicing_error.compute):
        with pytest.raises(NotComputable, match="no frame is voiced"):
            compute(unvoiced, unvoiced)


def test_logf0_rmse_is_natural_log() -> None:
    low, high = voice(base_hz=180), voice(base_hz=198)
    assert logf0_rmse.compute(low, high)["logf0_rmse"] == pytest.approx(np.log(1.1), rel=0.05)


def _freqt(cepstrum: Audio, order: int, alpha: float) -> Audio:
    """Frequency warping as SPTK's manual gives it, one input coefficient at a time."""
    warped = np.zeros(order + 1)
    for value in cepstrum[::-1]:
        before = warped.copy()
        warped[0] = value + alpha * before[0]
        warped[1] = (1 - alpha**2) * before[0] + alpha * before[1]
        for m in range(2, order + 1):
            warped[m] = before[m - 1] + alpha * (before[m] - warped[m - 1])
    return warped


def test_mel_cepstrum_equals_recursion() -> None:
    envelope = np.exp(np.random.default_rng(0).standard_normal((3, 129)))
    fast = world.mel_cepstrum(envelope)
    for row, power in zip(fast, envelope, strict=True):
        cepstrum = np.fft.irfft(np.log(power))[:129]
        cepstrum[[0, -1]] /= 2
        np.testing.assert_allclose(row, _freqt(cepstrum, world.ORDER, world.ALPHA), atol=1e-12)


def test_mcd_of_a_known_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    """A unit step in one coefficient is 10 sqrt(2) / ln 10 = 6.14 dB; c0 and quiet frames do not count."""
    frames = np.zeros((4, 25))
    moved = frames.copy()
    moved[:, 7] = 1.0
    moved[:, 0] = 5.0
    moved[3] = 9.0
    power_db = np.array([0.0, -10.0, -39.0, -41.0])
    analyses = {0.0: frames, 1.0: moved}
    monkeypatch.setattr(mcd_db, "analyse", lambda audio: world.WorldAnalysis(np.zeros(4), analyses[audio[0]], power_db))
    distance_db = mcd_db.compute(np.zeros(1), np.ones(1))["mcd_db"]
    assert distance_db == pytest.approx(10 * np.sqrt(2) / np.log(10))


def test_mrstft_equals_torch(speech: Audio, noisy: Audio) -> None:
    """The definition in the words of auraloss: torch.stft, power floored at 1e-8, natural logarithms."""
    import torch

    total = 0.0
    for n_fft, hop, window in mrstft.RESOLUTIONS:
        ref, deg = (
            torch.stft(
                torch.tensor(audio, dtype=torch.float32),
                n_fft, hop, window, torch.hann_window(window), return_complex=True,
            ).abs().square().clamp(min=1e-8).sqrt()
            for audio in (speech, noisy)
        )  # fmt: skip
        total += float((ref - deg).norm() / ref.norm() + (ref.log() - deg.log()).abs().mean())
    assert mrstft.compute(speech, noisy)["mrstft"] == pytest.approx(total / 3, rel=1e-4)


def test_dnsmos_equals_speechmos() -> None:
    """On audio of more than one window the value is the package's own (its second network is left out here)."""
    import onnxruntime
    from speechmos import dnsmos as original

    class Plain(original.DNSMOS):  # type: ignore[misc]
        def audio_melspec(self, audio: Audio, **_: object) -> Audio:
            return np.zeros((900, 120))

    models = Path(original.__file__).parent / "dnsmos_models"
    onnxruntime.set_default_logger_severity(3)
    audio = voice(12.2)
    expected = Plain(str(models / "sig_bak_ovr.onnx"), str(models / "model_v8.onnx"))(audio, FS, False)
    got = dnsmos.compute(audio, audio)
    assert len(dnsmos.windows(audio)) == 3
    for key, name in (("dnsmos_sig", "sig_mos"), ("dnsmos_bak", "bak_mos"), ("dnsmos_ovr", "ovrl_mos")):
        assert got[key] == pytest.approx(expected[name], abs=1e-4)


def test_dnsmos_repeats_a_short_clip(speech: Audio) -> None:
    (window,) = dnsmos.windows(speech)
    assert len(window) == dnsmos.WINDOW
    np.testing.assert_array_equal(window[len(speech) : 2 * len(speech)], speech)


def test_visqol_without_lattice_refuses(monkeypatch: pytest.MonkeyPatch, speech: Audio) -> None:
    visqol._api.cache_clear()
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    scores, reasons = score_pair(speech, speech, ["visqol"])
    visqol._api.cache_clear()
    assert scores == {"visqol": None}
    assert "visqol-python[lattice]" in reasons["visqol"]


def test_missing_package_is_a_reason(monkeypatch: pytest.MonkeyPatch, speech: Audio) -> None:
    monkeypatch.setitem(sys.modules, "pesq", None)
    scores, reasons = score_pair(speech, speech, ["pesq_wb"])
    assert scores == {"pesq_wb": None}
    assert "pesq" in reasons["pesq_wb"]
