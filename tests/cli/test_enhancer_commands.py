"""Commands around the enhancer as a user meets them: train, score, mix; and what wrong input says."""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile

from bench.models.checkpoint import save, save_enhancer
from bench.models.enhancer import Enhancer, EnhancerArch
from bench.models.wavernn import Arch, SubbandWaveRNN

from .conftest import Lanewise


def record(path: Path, scale: float = 0.05, seconds: float = 0.6, rate_hz: int = 16_000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(zlib.crc32(path.name.encode()))
    soundfile.write(path, scale * rng.standard_normal(round(seconds * rate_hz)), rate_hz)
    return path


@pytest.fixture
def folders(tmp_path: Path) -> list[str]:
    """Options that name a voice and a noise of three recordings each."""
    for index in range(3):
        record(tmp_path / "voice" / f"v{index}.wav")
        record(tmp_path / "noise" / "hiss" / f"n{index}.wav")
    return ["--corpus", f"folder:{tmp_path / 'voice'}", "--noise", f"folder:{tmp_path / 'noise'}"]


def test_train_then_score(lanewise: Lanewise, folders: list[str]) -> None:
    words = ["m.safetensors", *folders, "--hidden", 8, "--batch", 2, "--seconds", 0.5, "--threads", 1]
    done = lanewise("train-enhancer", *words, "--steps", 3)
    assert done.code == 0, done.err
    assert "latency 32 ms" in done.err
    assert "step 3: valid SI-SDR improvement coloured" in done.err
    assert lanewise("train-enhancer", *words, "--steps", 4).code == 0
    scored = lanewise("score-enhancer", "m.safetensors", *folders, "--snr", "0,5", "--metrics", "si_sdr", "--json")
    assert scored.code == 0, scored.err
    found = json.loads(scored.out)
    assert {(row["kind"], row["snr_db"]) for row in found["conditions"]} == {
        (kind, snr_db) for kind in ("hiss", "coloured") for snr_db in (0.0, 5.0)
    }
    for row in found["utterances"]:
        assert row["noisy.si_sdr"] == pytest.approx(row["snr_db"], abs=1.5)
        assert row["reasons"] == {}
    table = lanewise("score-enhancer", "m.safetensors", *folders, "--kind", "hiss", "--metrics", "si_sdr")
    assert "95 % interval" in table.out
    assert "coloured" not in table.out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["m.wav"], "must end in .safetensors"),
        (["m.safetensors", "--rate", 3], "expected a learning rate above 0"),
        (["m.safetensors", "--seconds", 0.1], "expected a length from 0.5 to 60 seconds"),
        (["m.safetensors", "--noise", "rain"], "unknown noise set 'rain'"),
        (["m.safetensors", "--corpus", "nothing"], "unknown corpus 'nothing'"),
    ],
)
def test_wrong_training_options(lanewise: Lanewise, words: list[object], says: str) -> None:
    done = lanewise("train-enhancer", *words)
    assert (done.code, done.out) == (2, "")
    assert says in done.err
    assert "Traceback" not in done.err


def test_wrong_scoring_options(lanewise: Lanewise, folders: list[str], tmp_path: Path) -> None:
    save_enhancer(tmp_path / "m.safetensors", Enhancer(EnhancerArch(hidden=8)), {})
    save(tmp_path / "vocoder.safetensors", SubbandWaveRNN(Arch(hidden=32, cond=8, head=8)), {})
    for words, code, says in (
        (["gone.safetensors"], 1, "no such model file"),
        (["vocoder.safetensors"], 1, "not a Lanewise enhancer checkpoint"),
        (["m.safetensors", "--metrics", "sisdr"], 2, "did you mean"),
        (["m.safetensors", "--snr", "7"], 2, "there are coloured, hiss at -5, 0, 5, 10, 15, 20 dB"),
        (["m.safetensors", "--corpus", "voicebank:/nowhere"], 1, "/nowhere: no such folder"),
    ):
        done = lanewise("score-enhancer", *folders, *words)
        assert (done.code, done.out) == (code, ""), done.err
        assert says in done.err


def test_mix(lanewise: Lanewise, tmp_path: Path) -> None:
    record(tmp_path / "a.wav")
    record(tmp_path / "rain.wav")
    table = tmp_path / "list.csv"
    table.write_text("id,speech,noise,start_s,snr_db\nfirst,a.wav,rain.wav,0.1,0\n")
    assert lanewise("data", "mix", table, "--out", "pairs").code == 0
    noisy, clean = (soundfile.read(tmp_path / "pairs" / part / "first.wav")[0] for part in ("noisy", "clean"))
    assert np.sum(clean**2) == pytest.approx(np.sum((noisy - clean) ** 2), rel=0.01)
    again = lanewise("data", "mix", table, "--out", "pairs")
    assert (again.code, "exists already" in again.err) == (2, True)
    table.write_text("id,speech,noise,start_s,snr_db\nfirst,gone.wav,rain.wav,0.1,0\n")
    done = lanewise("data", "mix", table, "--out", "other")
    assert done.code == 1
    assert f"{table}, line 2" in done.err
    assert "gone.wav: no such audio file" in done.err


def test_noise_without_its_packages(lanewise: Lanewise, tmp_path: Path) -> None:
    done = lanewise("data", "noise", tmp_path, "--out", "noise")
    assert done.code == 1
    assert "apt-get download" in done.err
