"""Reading and writing recordings: each unusable file is one clear error that names it."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from bench.data.audio import read_wav, write_wav
from bench.errors import LanewiseError


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_round_trip_is_exact_for_16_bit_samples(tmp_path: Path, suffix: str) -> None:
    pcm = np.random.default_rng(0).integers(-32768, 32768, 4000).astype(np.int16)
    path = tmp_path / f"new/clip{suffix}"
    write_wav(path, pcm / np.float32(32768))
    np.testing.assert_array_equal(read_wav(path) * 32768, pcm)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def _write(path: Path, audio: np.ndarray, rate_hz: int = 16_000, subtype: str = "FLOAT") -> None:
    soundfile.write(path, audio, rate_hz, subtype=subtype)


def _stereo(path: Path) -> None:
    _write(path, np.zeros((800, 2)))


def _wrong_rate(path: Path) -> None:
    _write(path, np.zeros(800), rate_hz=22_050)


def _empty(path: Path) -> None:
    _write(path, np.zeros(0))


def _nan(path: Path) -> None:
    _write(path, np.array([0.0, np.nan, 0.5] + [0.1] * 597))


def _infinite(path: Path) -> None:
    _write(path, np.array([0.0, np.inf, 0.5] + [0.1] * 597))


def _short(path: Path) -> None:
    _write(path, np.full(159, 0.1))


def _cut_short(path: Path) -> None:
    _write(path, np.full(1000, 0.1))
    path.write_bytes(path.read_bytes()[:-100])


def _text(path: Path) -> None:
    path.write_text("not audio")


def _nothing(path: Path) -> None:
    path.write_bytes(b"")


def _folder(path: Path) -> None:
    path.mkdir()


def _missing(path: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_stereo, "2 channels, expected mono"),
        (_wrong_rate, r"22050 Hz, expected 16000 Hz.*lanewise data prepare --resample"),
        (_empty, "holds no samples"),
        (_short, "10 ms long .159 samples., expected at least 30 ms"),
        (_cut_short, "is cut short or altered"),
        (_nan, "1 of 600 samples are NaN or infinite"),
        (_infinite, "1 of 600 samples are NaN or infinite"),
        (_text, "cannot be read as audio"),
        (_nothing, "cannot be read as audio"),
        (_folder, "is a folder, expected an audio file"),
        (_missing, "no such audio file"),
    ],
)
def test_bad_recording_is_one_clear_error(tmp_path: Path, make, message: str) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "clip.wav"
    make(path)
    with pytest.raises(LanewiseError, match=message) as caught:
        read_wav(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (np.array([0.0, 1.5]), "peak 1.500"),
        (np.array([np.nan]), "NaN"),
        (np.zeros(0), "not empty"),
        (np.zeros((5, 2)), "mono"),
    ],
)
def test_write_refuses(tmp_path: Path, audio: np.ndarray, message: str) -> None:
    with pytest.raises(LanewiseError, match=message):
        write_wav(tmp_path / "out.wav", audio)
    assert not list(tmp_path.iterdir())


def test_write_refuses_unknown_container(tmp_path: Path) -> None:
    with pytest.raises(LanewiseError, match=r"use one of \.wav, \.flac"):
        write_wav(tmp_path / "out.mp3", np.zeros(10))
