"""Training an enhancer: it learns, an interrupted run goes on bit by bit, and its scores treat silence as missing."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from scipy.signal import lfilter

from bench.data.mixtures import Pair
from bench.errors import LanewiseError
from bench.learn import enhancer_loss
from bench.learn.enhancement import EnhancerPlan, enhance, train_enhancer
from bench.learn.fit import Optimisation
from bench.measure.enhancement import by_condition, score_enhancer
from bench.models.checkpoint import load_enhancer
from bench.models.enhancer import Enhancer, EnhancerArch

ARCH = EnhancerArch(hidden=16, fc=8, mels=24)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A voice of tones and a hiss, in the layout of two folders."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for index in range(6):
        time_s = np.arange(24_000) / 16_000
        tone = np.sin(2 * np.pi * (200 + 60 * index) * time_s) * (np.sin(2 * np.pi * 3 * time_s) > 0)
        for part, audio in (
            ("voice", 0.2 * tone),
            ("noise/hiss", 0.05 * lfilter([1, 0.9], [1], rng.normal(size=24_000))),
        ):
            (root / part).mkdir(parents=True, exist_ok=True)
            soundfile.write(root / part / f"{index}.wav", audio, 16_000)
    return root


def plan(data: Path, steps: int, loss: str = "snr") -> EnhancerPlan:
    optimisation = Optimisation(steps=steps, rate=5e-3, warmup=2, average=0.9)
    return EnhancerPlan(f"folder:{data / 'voice'}", f"folder:{data / 'noise'}", ARCH, optimisation, loss, 1, 4, 0.5)


@pytest.mark.parametrize("loss", ["snr", "si-sdr"])
def test_training_improves_validation_and_is_recorded(data: Path, tmp_path: Path, loss: str) -> None:
    out = train_enhancer(plan(data, 60, loss), tmp_path / "model.safetensors", validate_every=20)
    model, meta = load_enhancer(out)
    assert model.arch == ARCH
    gains = [gains["hiss"] for _, gains in meta["valid_si_sdr_improvement_db"]]
    assert len(gains) == 3
    assert gains[-1] > max(gains[0], 3.0)
    assert meta["plan"]["loss"] == loss
    assert meta["train_loss"][0][0] == 60


def test_an_interrupted_run_goes_on_as_if_nothing_had_been(data: Path, tmp_path: Path) -> None:
    whole = train_enhancer(plan(data, 8), tmp_path / "whole.safetensors", save_every=100)
    steps = 0

    def stop_at_5() -> None:
        nonlocal steps
        steps += 1
        if steps == 5:
            raise KeyboardInterrupt

    out = tmp_path / "parts.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train_enhancer(plan(data, 8), out, save_every=100, before_step=stop_at_5)
    assert not out.exists()
    with pytest.raises(LanewiseError, match="another training plan"):
        train_enhancer(plan(data, 4), out)
    train_enhancer(plan(data, 8), out, save_every=100)
    first, again = load_enhancer(whole)[0].state_dict(), load_enhancer(out)[0].state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)


def test_losses_know_clean_from_noisy() -> None:
    torch.manual_seed(0)
    clean = torch.randn(2, 8000)
    slight, strong = (clean + level * torch.randn(2, 8000) for level in (0.1, 1.0))
    for name, loss in enhancer_loss.LOSSES.items():
        values = [loss(clean, estimate).item() for estimate in (clean, slight, strong)]
        assert values == sorted(values), name
        assert all(np.isfinite(values)), name
        assert np.isfinite(loss(clean, torch.zeros(2, 8000)).item()), name
    torch.testing.assert_close(enhancer_loss.si_sdr(clean, 0.1 * strong), enhancer_loss.si_sdr(clean, strong))
    assert enhancer_loss.snr(clean, 0.1 * slight) > enhancer_loss.snr(clean, slight)


def test_scores_before_and_after_treat_silence_as_missing() -> None:
    rng = np.random.default_rng(0)
    clean = (0.1 * rng.standard_normal(16_000)).astype(np.float32)
    noisy = clean + (0.1 * rng.standard_normal(16_000)).astype(np.float32)
    zeros = np.zeros_like(clean)
    pairs = [
        Pair("a", "seen", "hiss", 0.0, lambda: (noisy, clean)),
        Pair("b", "seen", "hiss", 0.0, lambda: (0.5 * (noisy + clean), clean)),
        Pair("silent", "seen", "hiss", 0.0, lambda: (noisy, zeros)),
        Pair("perfect", "seen", "hiss", 5.0, lambda: (clean, clean)),
    ]
    scores = score_enhancer(lambda audio: 0.5 * audio, pairs, ["si_sdr", "sdr"], workers=1)
    assert [score.pair.id for score in scores] == ["a", "b", "silent", "perfect"]
    assert scores[0].gain("si_sdr") == pytest.approx(0, abs=1e-4)
    assert scores[2].noisy == {"si_sdr": None, "sdr": None}
    assert "reference audio is silent" in scores[2].reasons["enhanced.si_sdr"]
    at_0_db, at_5_db = by_condition(scores)
    assert (at_0_db.gain["si_sdr"].n, at_0_db.gain["si_sdr"].n_failed) == (2, 1)
    assert at_0_db.noisy["si_sdr"].mean == pytest.approx(3, abs=0.5)
    assert (at_5_db.gain["sdr"].mean, at_5_db.gain["sdr"].n_failed) == (None, 1)


def test_enhance_keeps_length() -> None:
    model = Enhancer(ARCH).eval()
    for samples in (1, 255, 256, 1000):
        assert enhance(model, np.full(samples, 0.1, np.float32)).shape == (samples,)
