"""`lanewise score` as a user sees it."""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from click.testing import CliRunner, Result

from bench.cli.score import command
from bench.errors import LanewiseError, UsageError

from .conftest import FS

Audio = npt.NDArray[np.float64]
FAST = ["--metrics", "pesq_wb,mrstft", "--workers", "1"]


def _run(*args: str | Path) -> Result:
    return CliRunner().invoke(command, [str(arg) for arg in args], standalone_mode=False, catch_exceptions=False)


@pytest.fixture
def folders(tmp_path: Path, speech: Audio, noisy: Audio) -> tuple[Path, Path]:
    ref, deg = tmp_path / "ref", tmp_path / "deg"
    for folder, audio in ((ref, speech), (deg, noisy)):
        folder.mkdir()
        for name in ("b", "a"):
            soundfile.write(folder / f"{name}.wav", audio, FS)
    soundfile.write(ref / "quiet.wav", speech, FS)
    soundfile.write(deg / "quiet.wav", np.zeros(len(speech)), FS)
    return ref, deg


def test_folders_as_json(folders: tuple[Path, Path]) -> None:
    ref, deg = folders
    result = _run(ref, deg, "--json", *FAST)
    rows = json.loads(result.stdout)
    assert [row["ref"] for row in rows] == [str(ref / f"{name}.wav") for name in ("a", "b", "quiet")]
    assert rows[0].keys() == {"ref", "deg", "pesq_wb", "mrstft", "reasons"}
    assert rows[0]["reasons"] == {}
    assert rows[0]["pesq_wb"] == rows[1]["pesq_wb"]
    assert rows[2]["pesq_wb"] is None
    assert "silent" in rows[2]["reasons"]["pesq_wb"]


def test_folders_for_people(folders: tuple[Path, Path]) -> None:
    out = _run(*folders, *FAST).stdout
    assert "PESQ-wb" in out
    assert "MR-STFT" in out
    assert "missing: quiet.wav: every metric: the degraded audio is silent" in out


def test_two_files(folders: tuple[Path, Path]) -> None:
    result = _run(folders[0] / "a.wav", folders[0] / "a.wav", "--json", *FAST)
    (row,) = json.loads(result.stdout)
    assert row["pesq_wb"] == pytest.approx(4.644, abs=1e-3)
    assert row["mrstft"] == 0


def test_unmatched_files_are_named(folders: tuple[Path, Path]) -> None:
    (folders[1] / "b.wav").unlink()
    with pytest.raises(UsageError, match=r"no file of the same name .* for b\.wav"):
        _run(*folders, *FAST)


def test_lengths_and_rates_are_errors_that_name_the_files(folders: tuple[Path, Path], speech: Audio) -> None:
    short, fast = folders[1] / "short.wav", folders[1] / "fast.wav"
    soundfile.write(short, speech[:40000], FS)
    soundfile.write(fast, speech, 22_050)
    with pytest.raises(LanewiseError, match=r"a\.wav has 48000 samples and .*short\.wav has 40000"):
        _run(folders[0] / "a.wav", short, *FAST)
    with pytest.raises(LanewiseError, match=r"fast\.wav: sample rate is 22050 Hz"):
        _run(folders[0] / "a.wav", fast, *FAST)


def test_usage_errors(folders: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown sound metric: pesk"):
        _run(*folders, "--metrics", "pesk")
    with pytest.raises(UsageError, match="not one of each"):
        _run(folders[0], folders[1] / "a.wav")
    with pytest.raises(UsageError, match="no such file or folder"):
        _run(folders[0], tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no"):
        _run(folders[0], tmp_path / "empty")


def test_list_says_what_each_metric_is() -> None:
    out = CliRunner().invoke(command, ["--list"]).stdout
    assert "ITU-T P.862.2" in out
    assert "lower is better" in out
