"""Preparing the noise set from packages in miniature: what is taken, cut, scaled, and what a missing package says."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from bench.data import noise_table
from bench.data.noise import EMBEDDED_NOISE_ROOT, load_noise
from bench.data.noise_prepare import HIGH_PASS_HZ, prepare_noise
from bench.errors import LanewiseError

from .test_prepare import g722

pytest.importorskip("av")


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    sources = [
        noise_table.Source(f"rain-{split}", "environment", split, noise_table.GAME, f"{split}/rain.ogg", 2.0)
        for split in ("train", "valid", "test")
    ]
    music = noise_table.Source("tune", "music", "test", noise_table.HOLD_MUSIC, "tune.g722", 1.0, start_s=0.5)
    voice = noise_table.Voice("june", "asterisk-core-sounds-fr-g722", "fr_CA_f_June", {"train": 6.0, "valid": 2.0})
    monkeypatch.setattr(noise_table, "SOURCES", (*sources, music))
    monkeypatch.setattr(noise_table, "VOICES", (voice,))


@pytest.fixture
def packages(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    game, hold, june = (tmp_path / name for name in ("game", "hold", "june"))
    for index, split in enumerate(("train", "valid", "test")):
        path = game / "usr/share" / split / "rain.ogg"
        path.parent.mkdir(parents=True)
        hum = 0.5 * np.sin(2 * np.pi * 10 * np.arange(132_300) / 44_100)
        samples = np.stack([hum + 0.05 * rng.standard_normal(132_300)] * 2, axis=1)
        soundfile.write(path, samples[: 132_300 - 44_100 * index], 44_100, format="OGG", subtype="VORBIS")
    for path, seconds in [
        (hold / "moh/tune.g722", 3.0),
        *((june / f"fr_CA_f_June/vm-{index}.g722", 2.0) for index in range(6)),
        *((june / f"fr_CA_f_June/dir-{index}.g722", 2.0) for index in range(2)),
        (june / "fr_CA_f_June/vm-short.g722", 1.0),
        (june / "fr_CA_f_June/beep.g722", 2.0),
    ]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(g722(seconds, 440))
    return [june, game, hold]


@pytest.mark.usefixtures("table")
def test_what_is_taken(packages: list[Path], tmp_path: Path) -> None:
    done = prepare_noise(packages, tmp_path / "noise")
    noises = load_noise(f"folder:{tmp_path / 'noise'}")
    assert [clip.id for clip in noises.clips] == [row["id"] for row in done.rows]
    seconds = {clip.id: clip.seconds for clip in noises.clips}
    assert (seconds["rain-train"], seconds["rain-test"], seconds["tune"]) == (2.0, 1.0, 1.0)
    voices = {clip.id: clip.split for clip in noises.clips if clip.kind == "voice"}
    assert sum(split == "train" for split in voices.values()) == 3
    assert sum(split == "valid" for split in voices.values()) == 1
    assert {clip.speaker for clip in noises.clips} == {"june", ""}
    rain = next(clip for clip in noises.clips if clip.id == "rain-train").audio()
    spectrum = np.abs(np.fft.rfft(rain)) ** 2
    assert spectrum[: round(HIGH_PASS_HZ / 2 * len(rain) / 16_000)].sum() < 1e-3 * spectrum.sum()
    assert done.seconds()["environment", "train"] == 2.0


@pytest.mark.usefixtures("table")
def test_a_package_that_is_missing_is_named(packages: list[Path], tmp_path: Path) -> None:
    june, game, hold = packages
    with pytest.raises(LanewiseError, match=r"no train/rain.ogg .*`apt-get download megaglest-data`"):
        prepare_noise([june, hold], tmp_path / "noise")
    with pytest.raises(LanewiseError, match=r"no fr_CA_f_June/\*.g722 .* asterisk-core-sounds-fr-g722"):
        prepare_noise([game, hold], tmp_path / "noise")
    (game / "copy").mkdir()
    (game / "copy/train").mkdir()
    (game / "copy/train/rain.ogg").write_bytes(b"x")
    with pytest.raises(LanewiseError, match=r"train/rain.ogg is there 2 times"):
        prepare_noise(packages, tmp_path / "noise")


def test_the_table_is_that_of_the_set() -> None:
    stored = {(clip.kind, clip.id): clip.split for clip in load_noise("embedded").clips}
    for source in noise_table.SOURCES:
        assert stored.pop((source.kind, source.id)) == source.split
    assert {id_.split(".")[0] for _, id_ in stored} == {voice.speaker for voice in noise_table.VOICES}
    licence = (EMBEDDED_NOISE_ROOT / "LICENCE").read_text(encoding="utf-8")
    for package in noise_table.PACKAGES:
        assert f"{package} {noise_table.PACKAGES[package]}" in licence
