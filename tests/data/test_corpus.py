"""Corpora: the three layouts in miniature, splits, content hash, features cache."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from bench.data.corpus import SPLITS, Corpus, every_nth_split, features, load_corpus
from bench.data.features import log_mel
from bench.errors import LanewiseError, UsageError


def tone(path: Path, seconds: float = 0.5, rate_hz: int = 16_000, hz: float = 200.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * hz * time_s), rate_hz, subtype="PCM_16")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "recordings"
    for index in range(12):
        tone(root / f"day{index % 2}" / f"{index:02d}.wav", hz=100.0 + 20 * index)
    return root


def ljspeech(root: Path, rate_hz: int = 16_000) -> Path:
    ids = [f"LJ001-{index:04d}" for index in range(1, 7)]
    for clip in ids:
        tone(root / "wavs" / f"{clip}.wav", rate_hz=rate_hz)
    lines = [f'{clip}|Text with "quotes" of {clip}|normalised' for clip in ids]
    (root / "metadata.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


def jsut(root: Path, rate_hz: int = 16_000) -> Path:
    for part, prefix in (("basic5000", "BASIC5000"), ("onomatopee300", "ONOMATOPEE300")):
        ids = [f"{prefix}_{index:04d}" for index in range(1, 4)]
        for clip in ids:
            tone(root / part / "wav" / f"{clip}.wav", rate_hz=rate_hz)
        table = root / part / "transcript_utf8.txt"
        table.write_text(
            "".join(f"{clip}:水をマレーシアから買わなくてはならないのです。\n" for clip in ids), encoding="utf-8"
        )
    return root


def assert_partition(corpus: Corpus) -> None:
    ids = [clip.id for split in SPLITS for clip in corpus.split(split)]
    assert sorted(ids) == [clip.id for clip in corpus.clips] == sorted(set(ids))
    assert all(corpus.split(split) for split in SPLITS)


def test_folder(folder: Path) -> None:
    corpus = load_corpus(f"folder:{folder}")
    assert corpus.clips[0].id == "day0.00"
    assert len(corpus.clips) == 12
    assert corpus.clips[0].seconds == 0.5
    assert len(corpus.clips[0].audio()) == 8000
    assert_partition(corpus)


def test_folder_with_split_table(folder: Path) -> None:
    ids = [clip.id for clip in load_corpus(f"folder:{folder}").clips]
    wanted = {clip: SPLITS[index % 3] for index, clip in enumerate(ids)}
    table = folder / "split.csv"
    table.write_text("id,split,note\n" + "".join(f"{clip},{split},x\n" for clip, split in wanted.items()))
    assert {clip.id: clip.split for clip in load_corpus(f"folder:{folder}").clips} == wanted


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda text: text.replace("day0.00,train", "day0.00,dev"), "line 2: unknown split 'dev'"),
        (lambda text: text.replace("day0.02", "day0.00"), "day0.00 occurs twice"),
        (lambda text: text.replace("day0.02", "day0.99"), "day0.02 lacks a line"),
        (lambda text: text + "more,train\n", "more has no recording"),
        (lambda text: text.replace("id,split", "name,split"), "no column id"),
        (lambda text: text.replace("test", "train"), "no clip for test"),
    ],
)
def test_wrong_split_table(folder: Path, edit, message: str) -> None:  # type: ignore[no-untyped-def]
    corpus = load_corpus(f"folder:{folder}")
    text = "id,split\n" + "".join(f"{clip.id},{clip.split}\n" for clip in corpus.clips)
    (folder / "split.csv").write_text(edit(text))
    with pytest.raises(LanewiseError, match=message):
        load_corpus(f"folder:{folder}")


def test_ljspeech(tmp_path: Path) -> None:
    corpus = load_corpus(f"ljspeech:{ljspeech(tmp_path)}")
    assert [clip.id for clip in corpus.clips] == [f"LJ001-{index:04d}" for index in range(1, 7)]
    assert_partition(corpus)


def test_jsut(tmp_path: Path) -> None:
    corpus = load_corpus(f"jsut:{jsut(tmp_path)}")
    assert {clip.id.split("_")[0] for clip in corpus.clips} == {"BASIC5000", "ONOMATOPEE300"}
    assert len(corpus.clips) == 6
    assert_partition(corpus)


@pytest.mark.parametrize(("kind", "make", "rate_hz"), [("ljspeech", ljspeech, 22_050), ("jsut", jsut, 48_000)])
def test_other_rate_names_the_command(tmp_path: Path, kind: str, make, rate_hz: int) -> None:  # type: ignore[no-untyped-def]
    make(tmp_path, rate_hz)
    with pytest.raises(LanewiseError, match=rf"{rate_hz} Hz, expected 16000 Hz.*lanewise data prepare --resample"):
        load_corpus(f"{kind}:{tmp_path}")


def test_layout_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown corpus 'libri:x'; expected embedded, folder:PATH"):
        load_corpus("libri:x")
    with pytest.raises(LanewiseError, match="no such folder"):
        load_corpus(f"folder:{tmp_path / 'none'}")
    with pytest.raises(LanewiseError, match="no recordings"):
        load_corpus(f"folder:{tmp_path}")
    with pytest.raises(LanewiseError, match=r"metadata\.csv: missing"):
        load_corpus(f"ljspeech:{tmp_path}")
    with pytest.raises(LanewiseError, match=r"jsut_ver1\.1"):
        load_corpus(f"jsut:{tmp_path}")
    ljspeech(tmp_path)
    (tmp_path / "wavs" / "LJ001-0003.wav").unlink()
    with pytest.raises(LanewiseError, match=r"line 3: .*LJ001-0003.wav is missing"):
        load_corpus(f"ljspeech:{tmp_path}")


@pytest.mark.parametrize("name", ["../elsewhere", "/etc/elsewhere", "sub/clip"])
def test_a_table_names_recordings_of_its_folder_only(tmp_path: Path, name: str) -> None:
    root = tmp_path / "corpus"
    root.mkdir()
    ljspeech(root)
    with (root / "metadata.csv").open("a", encoding="utf-8") as table:
        table.write(f"{name}|text|text\n")
    with pytest.raises(LanewiseError, match=r"metadata\.csv, line 7: expected a new id"):
        load_corpus(f"ljspeech:{root}")


@given(st.integers(3, 14_000))
def test_every_nth_split(clips: int) -> None:
    ids = [f"{index:05d}" for index in range(clips)]
    splits = every_nth_split(ids)
    sizes = {split: sum(found == split for found in splits.values()) for split in SPLITS}
    assert min(sizes.values()) >= 1
    assert max(sizes["valid"], sizes["test"]) <= 101
    assert sizes["train"] >= clips / 3
    assert every_nth_split(ids[::-1]) == splits


def test_content_hash_follows_the_data(folder: Path) -> None:
    before = load_corpus(f"folder:{folder}").content_hash()
    assert load_corpus(f"folder:{folder}").content_hash() == before
    path = folder / "day0" / "00.wav"
    original = path.read_bytes()
    changed = bytearray(original)
    changed[-1] ^= 1
    path.write_bytes(bytes(changed))
    assert load_corpus(f"folder:{folder}").content_hash() != before
    path.write_bytes(original)
    assert load_corpus(f"folder:{folder}").content_hash() == before
    path.rename(path.with_name("00b.wav"))
    assert load_corpus(f"folder:{folder}").content_hash() != before


def test_features_are_cached_once_and_follow_the_audio(folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    corpus = load_corpus(f"folder:{folder}")
    first = features(corpus, cache)
    for clip in corpus.clips:
        np.testing.assert_array_equal(first[clip.id], log_mel(clip.audio()))
    files = {path: path.stat().st_mtime_ns for path in cache.rglob("*") if path.is_file()}
    assert len(files) == 12
    again = features(corpus, cache)
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*") if path.is_file()} == files
    np.testing.assert_array_equal(again["day0.00"], first["day0.00"])
    tone(folder / "day0" / "00.wav", hz=300.0)
    changed = features(load_corpus(f"folder:{folder}"), cache)
    assert not np.array_equal(changed["day0.00"], first["day0.00"])
    np.testing.assert_array_equal(changed["day0.02"], first["day0.02"])


def test_damaged_cache_entry_is_made_again(folder: Path, tmp_path: Path) -> None:
    corpus = load_corpus(f"folder:{folder}")
    first = features(corpus, tmp_path / "cache")
    entry = next((tmp_path / "cache").rglob(f"{corpus.clips[0].sha256()}.npy"))
    whole = entry.read_bytes()
    entry.write_bytes(whole[: len(whole) // 2])
    np.testing.assert_array_equal(features(corpus, tmp_path / "cache")[corpus.clips[0].id], first[corpus.clips[0].id])
    assert entry.read_bytes() == whole


def test_failure_leaves_no_cache_entry(folder: Path, tmp_path: Path) -> None:
    path = folder / "day0" / "00.wav"
    soundfile.write(path, np.full(8000, np.nan), 16_000, subtype="FLOAT")
    with pytest.raises(LanewiseError, match="NaN"):
        features(load_corpus(f"folder:{folder}"), tmp_path / "cache")
    tone(path, seconds=0.02)
    with pytest.raises(LanewiseError, match=r"00\.wav: .*at least 30 ms"):
        features(load_corpus(f"folder:{folder}"), tmp_path / "cache")
    assert not [entry for entry in (tmp_path / "cache").rglob("*") if entry.is_file()]
