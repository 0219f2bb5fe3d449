"""Noise sets and mixtures: the embedded one apart by recording and voice, a folder of one's own, lists of mixtures."""

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile

from bench.data.corpus import load_corpus
from bench.data.mixture_list import read_mixture_list
from bench.data.mixtures import KINDS, mixtures, unseen_speakers, utterances_of
from bench.data.noise import EMBEDDED_NOISE_ROOT, FIELDS, NoiseSet, load_noise
from bench.data.noise_prepare import samples_sha256
from bench.errors import LanewiseError, UsageError


@pytest.fixture(scope="module")
def embedded() -> NoiseSet:
    return load_noise("embedded")


def hiss(path: Path, seconds: float = 1.0, scale: float = 0.05, rate_hz: int = 16_000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = scale * np.random.default_rng(len(str(path))).standard_normal(round(seconds * rate_hz))
    soundfile.write(path, np.clip(samples, -1, 1), rate_hz)
    return path


def test_embedded_set_is_what_its_table_says(embedded: NoiseSet) -> None:
    with (EMBEDDED_NOISE_ROOT / "noise.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == FIELDS
    assert sum(clip.path.stat().st_size for clip in embedded.clips) < 16e6
    by_path = {f"{row['kind']}/{row['id']}": row for row in rows}
    for clip in embedded.clips:
        row = by_path[f"{clip.kind}/{clip.id}"]
        assert samples_sha256(clip.path) == row["sha256"]
        assert clip.seconds == pytest.approx(float(row["seconds"]), abs=1e-3)


def test_no_recording_and_no_test_voice_lies_in_two_splits(embedded: NoiseSet) -> None:
    with (EMBEDDED_NOISE_ROOT / "noise.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len({row["source"] for row in rows}) == len(rows)
    speakers = {split: {clip.speaker for clip in embedded.select("voice", split)} for split in ("train", "test")}
    assert speakers == {"train": {"june"}, "test": {"carlo", "ivrvoice"}}
    assert embedded.kinds == ("environment", "music", "voice")
    for kind in embedded.kinds:
        assert all(embedded.select(kind, split) for split in ("train", "valid", "test"))


def test_mixtures_repeat_and_hit_their_ratio_whatever_else_is_mixed(embedded: NoiseSet) -> None:
    heard = utterances_of(load_corpus("embedded").split("test")[:2], "allison")
    pairs = mixtures(heard, embedded, "test", "seen speaker", snrs_db=(-5.0, 20.0))
    assert len(pairs) == 2 * len(KINDS) * 2
    assert len({pair.id for pair in pairs}) == len(pairs)
    alone = {pair.id: pair for pair in mixtures(heard[1:], embedded, "test", "x", ("babble",), (-5.0,))}
    for pair in pairs:
        noisy, clean = pair.load()
        added = noisy - clean
        assert 10 * np.log10(np.sum(clean**2) / np.sum(added**2)) == pytest.approx(pair.snr_db, abs=0.01)
        if pair.id in alone:
            np.testing.assert_array_equal(noisy, alone.pop(pair.id).load()[0])
    assert not alone


def test_babble_never_holds_the_speaker_himself(embedded: NoiseSet) -> None:
    own = [clip for clip in embedded.clips if clip.speaker == "carlo" or clip.kind != "voice"]
    carlo = [utterance for utterance in unseen_speakers(embedded) if utterance.speaker == "carlo"][:1]
    pair = mixtures(carlo, NoiseSet("carlo only", embedded.root, own), "test", "x", ("babble",), (0.0,))[0]
    with pytest.raises(LanewiseError, match=r"carlo only has no babble in split test"):
        pair.load()


def test_a_folder_of_ones_own(tmp_path: Path) -> None:
    for index in range(4):
        hiss(tmp_path / "traffic" / f"{index}.wav")
    found = load_noise(f"folder:{tmp_path}")
    assert found.kinds == ("traffic",)
    assert {clip.split for clip in found.clips} == {"train", "valid", "test"}
    (tmp_path / "noise.csv").write_text("id,kind,split\n0,traffic,train\n")
    with pytest.raises(LanewiseError, match="traffic/1 lacks a line"):
        load_noise(f"folder:{tmp_path}")
    (tmp_path / "noise.csv").write_text("id,kind,split\n0,traffic,tune\n")
    with pytest.raises(LanewiseError, match=r"noise.csv, line 2: unknown split 'tune'"):
        load_noise(f"folder:{tmp_path}")
    hiss(tmp_path / "traffic" / "4.wav", rate_hz=8000)
    (tmp_path / "noise.csv").unlink()
    with pytest.raises(LanewiseError, match=r"4\.wav: sample rate is 8000 Hz, expected 16000 Hz"):
        load_noise(f"folder:{tmp_path}")
    with pytest.raises(LanewiseError, match="no such folder"):
        load_noise("folder:/nowhere")
    with pytest.raises(UsageError, match="unknown noise set 'rain'"):
        load_noise("rain")


def test_mixture_list(tmp_path: Path) -> None:
    hiss(tmp_path / "speech" / "a.wav", 1.5)
    hiss(tmp_path / "rain.wav")
    table = tmp_path / "list.csv"
    table.write_text("id,speech,noise,start_s,snr_db,level_db\na0,speech/a.wav,rain.wav,0.25,0,-30\n")
    (pair,) = read_mixture_list(table)
    noisy, clean = pair.load()
    assert noisy.shape == clean.shape == (24_000,)
    assert 20 * np.log10(np.sqrt(np.mean(clean**2))) == pytest.approx(-30, abs=1e-3)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("x,gone.wav,rain.wav,0,0", r"line 2: .*gone\.wav: no such audio file"),
        ("x,a.wav,gone.wav,0,0", r"line 2: .*gone\.wav: no such audio file"),
        ("x,a.wav,slow.wav,0,0", r"line 2: .*slow\.wav: sample rate is 8000 Hz"),
        ("x,a.wav,rain.wav,7,0", r"line 2: start_s is 7, but .*rain\.wav lasts 1\.00 s"),
        ("x,a.wav,rain.wav,0,loud", r"line 2: snr_db is 'loud'; expected a number from -100 to 100"),
        ("x,a.wav,rain.wav,0,nan", r"line 2: snr_db is 'nan'"),
        ("x/y,a.wav,rain.wav,0,0", r"line 2: id 'x/y'; expected a new name"),
    ],
)
def test_a_list_that_is_wrong_says_where(tmp_path: Path, line: str, says: str) -> None:
    hiss(tmp_path / "a.wav")
    hiss(tmp_path / "rain.wav")
    hiss(tmp_path / "slow.wav", rate_hz=8000)
    table = tmp_path / "list.csv"
    table.write_text(f"id,speech,noise,start_s,snr_db\n{line}\n")
    with pytest.raises(LanewiseError, match=says):
        read_mixture_list(table)


def test_silence_and_clipping_in_a_list_name_the_mixture(tmp_path: Path) -> None:
    hiss(tmp_path / "a.wav", scale=0.2)
    soundfile.write(tmp_path / "zero.wav", np.zeros(16_000), 16_000)
    table = tmp_path / "list.csv"
    lines = ["quiet,zero.wav,a.wav,0,0", "mute,a.wav,zero.wav,0,0", "loud,a.wav,a.wav,0,-20"]
    table.write_text("\n".join(["id,speech,noise,start_s,snr_db", *lines]))
    for pair, says in zip(
        read_mixture_list(table), ("quiet: the speech is silent", "mute: the noise is silent", "loud: .* would clip"),
        strict=True,
    ):  # fmt: skip
        with pytest.raises(LanewiseError, match=says):
            pair.load()
    for text, says in (
        ("id,speech\n", "no column noise, snr_db, start_s"),
        ("id,speech,noise,start_s,snr_db\n", "no mix"),
    ):
        table.write_text(text)
        with pytest.raises(LanewiseError, match=says):
            read_mixture_list(table)
    with pytest.raises(LanewiseError, match="cannot be read as a mixture list"):
        read_mixture_list(tmp_path / "none.csv")
