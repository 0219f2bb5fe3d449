"""Preparing corpora: the Debian package in miniature, and 16 kHz copies."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from bench.data.allison import clip_id, place
from bench.data.audio import read_wav
from bench.data.corpus import load_corpus
from bench.data.prepare import decode_g722, prepare
from bench.data.resample import resample, resample_folder
from bench.errors import LanewiseError

av = pytest.importorskip("av")

CLIPS = {
    "vm-login": 1.2,
    "letters/at": 1.0,
    "dir-intro": 1.5,
    "queue-holdtime": 1.1,
    "dictate/play_help": 1.3,
    "goodbye": 0.8,
    "beep": 1.4,
    "silence/2": 2.0,
    "tt-monkeys": 2.0,
    "seconds": 1.2,
}
KEPT = ["dictate.play_help", "dir-intro", "letters.at", "queue-holdtime", "vm-login"]


def g722(seconds: float, hz: float) -> bytes:
    samples = (8000 * np.sin(2 * np.pi * hz * np.arange(round(seconds * 16_000)) / 16_000)).astype(np.int16)
    out = io.BytesIO()
    with av.open(out, "w", format="g722") as container:
        stream = container.add_stream("g722", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = 16_000
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    return out.getvalue()


@pytest.fixture(scope="module")
def package() -> dict[str, bytes]:
    folder = "usr/share/asterisk/sounds/en_US_f_Allison"
    return {f"{folder}/{name}.g722": g722(s, 150 + 40 * i) for i, (name, s) in enumerate(CLIPS.items())}


@pytest.fixture
def unpacked(package: dict[str, bytes], tmp_path: Path) -> Path:
    for name, data in package.items():
        path = tmp_path / "unpacked" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "unpacked"


@pytest.fixture
def deb(package: dict[str, bytes], tmp_path: Path) -> Path:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:xz") as tar:
        for name, data in package.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    path = tmp_path / "sounds.deb"
    members = {"debian-binary": b"2.0\n", "control.tar.xz": b"odd", "data.tar.xz": archive.getvalue()}
    with path.open("wb") as file:
        file.write(b"!<arch>\n")
        for name, data in members.items():
            file.write(f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode() + data)
            file.write(b"\n" * (len(data) % 2))
    return path


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_same_bytes_from_package_and_folder_and_twice(unpacked: Path, deb: Path, tmp_path: Path) -> None:
    done = prepare(unpacked, tmp_path / "a")
    assert [row["id"] for row in done.rows] == KEPT
    assert done.left_out["goodbye"] == "shorter than 1 s"
    assert done.left_out["beep"] == done.left_out["silence/2"] == done.left_out["tt-monkeys"] == "not speech"
    assert done.left_out["seconds"] == "same recording as another clip"
    first = contents(tmp_path / "a")
    prepare(deb, tmp_path / "b")
    assert contents(tmp_path / "b") == first
    prepare(deb, tmp_path / "b")
    assert contents(tmp_path / "b") == first
    prepare(unpacked / "usr/share/asterisk/sounds/en_US_f_Allison", tmp_path / "c")
    assert contents(tmp_path / "c") == first


def test_prepared_samples_are_the_decoded_ones(package: dict[str, bytes], unpacked: Path, tmp_path: Path) -> None:
    prepare(unpacked, tmp_path / "a")
    name = next(name for name in package if name.endswith("vm-login.g722"))
    decoded = decode_g722(package[name])
    np.testing.assert_array_equal(read_wav(tmp_path / "a/audio/vm-login.flac") * 32768, decoded)
    assert np.abs(decoded).max() > 5000


def test_prepared_folder_loads_with_its_splits(unpacked: Path, tmp_path: Path) -> None:
    prepare(unpacked, tmp_path / "a")
    corpus = load_corpus(f"folder:{tmp_path / 'a'}")
    assert {clip.id: clip.split for clip in corpus.clips} == {
        "dictate.play_help": "test",
        "dir-intro": "valid",
        "letters.at": "train",
        "queue-holdtime": "test",
        "vm-login": "train",
    }


def test_other_recordings_are_never_mixed_in(unpacked: Path, tmp_path: Path) -> None:
    mine = tmp_path / "a/audio/mine.flac"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"precious")
    with pytest.raises(LanewiseError, match=r"holds mine\.flac"):
        prepare(unpacked, tmp_path / "a")
    assert contents(tmp_path / "a") == {"audio/mine.flac": b"precious"}


def test_wrong_sources(deb: Path, tmp_path: Path) -> None:
    with pytest.raises(LanewiseError, match="no such file or folder"):
        prepare(tmp_path / "none.deb", tmp_path / "out")
    (tmp_path / "text.deb").write_text("hello")
    with pytest.raises(LanewiseError, match="not a Debian package"):
        prepare(tmp_path / "text.deb", tmp_path / "out")
    (tmp_path / "cut.deb").write_bytes(deb.read_bytes()[:-300])
    with pytest.raises(LanewiseError, match="truncated or damaged"):
        prepare(tmp_path / "cut.deb", tmp_path / "out")
    damaged = bytearray(deb.read_bytes())
    damaged[-400:-300] = bytes(100)
    (tmp_path / "bad.deb").write_bytes(damaged)
    with pytest.raises(LanewiseError, match="cannot be unpacked"):
        prepare(tmp_path / "bad.deb", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(LanewiseError, match="expected the Debian package"):
        prepare(tmp_path / "empty", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_doubles_of_other_families_go_with_them() -> None:
    assert place("dictate/forhelp").split == "train"
    assert place("queue-less-than").family == place("letters/ascii60").family
    assert place("something-terribly-wrong") == place("tt-somethingwrong")
    assert place("conf-adminmenu") == place("conf-adminmenu-18") == place("conf-adminmenu-162")
    assert clip_id("letters/at") == "letters.at"


def test_resample_keeps_a_tone_and_removes_what_would_alias() -> None:
    time_s = np.arange(48_000) / 48_000
    kept = resample((0.5 * np.sin(2 * np.pi * 1000 * time_s)).astype(np.float32), 48_000)
    expected = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000)
    np.testing.assert_allclose(kept[200:-200], expected[200:-200], atol=1e-4)
    gone = resample((0.5 * np.sin(2 * np.pi * 11_000 * time_s)).astype(np.float32), 48_000)
    assert np.abs(gone[200:-200]).max() < 1e-4


def test_resampled_copy_keeps_the_layout(tmp_path: Path) -> None:
    source = tmp_path / "LJSpeech-1.1"
    (source / "wavs").mkdir(parents=True)
    loud = np.sign(np.sin(2 * np.pi * 440 * np.arange(22_050) / 22_050))
    for index in range(3):
        soundfile.write(source / "wavs" / f"LJ-{index}.wav", loud * (0.3, 0.3, 0.99)[index], 22_050)
    (source / "metadata.csv").write_text("LJ-0|a|a\nLJ-1|b|b\nLJ-2|c|c\n")
    out = tmp_path / "copy"
    done = resample_folder(source, out)
    assert done.attenuated == ["wavs/LJ-2.wav"]
    corpus = load_corpus(f"ljspeech:{out}")
    assert [clip.seconds for clip in corpus.clips] == [1.0, 1.0, 1.0]
    assert np.abs(corpus.clips[2].audio()).max() == pytest.approx(0.999, abs=1e-4)
    with pytest.raises(LanewiseError, match="exists already"):
        resample_folder(source, out)


def test_failed_copy_leaves_nothing(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    soundfile.write(source / "a.wav", np.zeros(4800), 48_000)
    soundfile.write(source / "b.wav", np.zeros((4800, 2)), 48_000)
    with pytest.raises(LanewiseError, match=r"b\.wav: has 2 channels"):
        resample_folder(source, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
