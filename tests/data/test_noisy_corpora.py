"""VoiceBank-DEMAND and DNS in miniature: their layouts, and what an incomplete one says."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from bench.data.noisy_corpora import load_noisy
from bench.errors import LanewiseError
from bench.learn.noisy import training_mixtures


def record(path: Path, seed: int, seconds: float = 1.0, rate_hz: int = 16_000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.05 * np.random.default_rng(seed).standard_normal(round(seconds * rate_hz)), rate_hz)


@pytest.fixture
def voicebank(tmp_path: Path) -> Path:
    names = {"trainset_28spk": ["p226_001", "p287_001", "p228_001", "p228_002"], "testset": ["p232_001", "p257_001"]}
    for part, clips in names.items():
        for index, name in enumerate(clips):
            record(tmp_path / f"clean_{part}_wav" / f"{name}.wav", index)
            record(tmp_path / f"noisy_{part}_wav" / f"{name}.wav", index + 10)
    (tmp_path / "log_testset.txt").write_text("p232_001 bus 2.5\np257_001 cafe 17.5\n")
    return tmp_path


@pytest.fixture
def dns(tmp_path: Path) -> Path:
    for index in range(10):
        record(tmp_path / "datasets/clean/book" / f"reader_{index}.wav", index, 1.2)
        record(tmp_path / "datasets/noise" / f"noise_{index}.wav", index + 100, 1.2)
    test = tmp_path / "datasets/test_set/synthetic/no_reverb"
    for index in range(2):
        record(test / "clean" / f"clean_fileid_{index}.wav", index)
        record(test / "noisy" / f"clnsp9_x_snr{5 * index}_tl-21_fileid_{index}.wav", index + 50)
    return tmp_path


def test_voicebank(voicebank: Path) -> None:
    corpus = load_noisy(f"voicebank:{voicebank}")
    assert [pair.id for pair in corpus.train] == ["trainset_28spk.p228_001", "trainset_28spk.p228_002"]
    assert [pair.id for pair in corpus.valid] == ["trainset_28spk.p226_001", "trainset_28spk.p287_001"]
    assert [(pair.kind, pair.snr_db) for pair in corpus.test] == [("bus", 2.5), ("cafe", 17.5)]
    noisy, clean = corpus.test[0].load()
    assert noisy.shape == clean.shape == (16_000,)
    mixtures = training_mixtures(corpus, seconds=1.5, batch=4)
    for first, again in zip(mixtures(3, seed=1), mixtures(3, seed=1), strict=True):
        assert first.shape == (4, 24_000)
        np.testing.assert_array_equal(first, again)
    assert not np.array_equal(mixtures(3, seed=1)[0], mixtures(4, seed=1)[0])


def test_incomplete_voicebank(voicebank: Path) -> None:
    (voicebank / "log_testset.txt").write_text("p232_001 bus\n")
    with pytest.raises(LanewiseError, match=r"log_testset.txt, line 1: got 'p232_001 bus'"):
        load_noisy(f"voicebank:{voicebank}")
    (voicebank / "log_testset.txt").unlink()
    assert [pair.snr_db for pair in load_noisy(f"voicebank:{voicebank}").test] == [None, None]
    record(voicebank / "noisy_testset_wav/p232_001.wav", 1, 0.5)
    with pytest.raises(LanewiseError, match=r"8000 samples, .* 16000; they must be one recording"):
        load_noisy(f"voicebank:{voicebank}")
    record(voicebank / "noisy_testset_wav/p232_001.wav", 1, rate_hz=48_000)
    with pytest.raises(LanewiseError, match=r"48000 Hz, expected 16000 Hz; make a copy first"):
        load_noisy(f"voicebank:{voicebank}")
    (voicebank / "noisy_testset_wav/p232_001.wav").unlink()
    with pytest.raises(LanewiseError, match="p232_001 of testset is only in one of noisy and clean"):
        load_noisy(f"voicebank:{voicebank}")
    with pytest.raises(LanewiseError, match="no such folder"):
        load_noisy("voicebank:/nowhere")
    with pytest.raises(LanewiseError, match="noisy_trainset_28spk_wav: missing"):
        load_noisy(f"voicebank:{voicebank / 'clean_testset_wav'}")


def test_dns(dns: Path) -> None:
    corpus = load_noisy(f"dns:{dns}")
    assert [(pair.condition, pair.snr_db) for pair in corpus.test] == [("no_reverb", 0.0), ("no_reverb", 5.0)]
    assert len(corpus.voices["dns"]) == 8
    assert corpus.valid[0].load()[0].shape == (19_200,)
    noisy, clean = training_mixtures(corpus, seconds=1.0, batch=3)(0, seed=1)
    assert noisy.shape == clean.shape == (3, 16_000)
    (dns / "datasets/test_set/synthetic/no_reverb/clean/clean_fileid_1.wav").unlink()
    with pytest.raises(LanewiseError, match="fileid_1 is only in one"):
        load_noisy(f"dns:{dns}")
    record(dns / "datasets/test_set/synthetic/no_reverb/clean/other.wav", 1)
    with pytest.raises(LanewiseError, match=r"does not end in fileid_<number>"):
        load_noisy(f"dns:{dns}")


def test_embedded_mixtures_are_apart() -> None:
    corpus = load_noisy("embedded")
    assert {pair.condition for pair in corpus.test} == {"seen speaker", "unseen speaker"}
    assert {pair.kind for pair in corpus.test} == {"environment", "babble", "music", "coloured"}
    assert {pair.snr_db for pair in corpus.test} == {-5.0, 0.0, 5.0, 10.0, 15.0, 20.0}
    assert not {pair.id for pair in corpus.valid} & {pair.id for pair in corpus.test}
