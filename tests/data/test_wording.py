"""Search for shared wording against a slow reference, the checks of a corpus, and the embedded corpus itself."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bench.cli.data import command
from bench.data.check import check
from bench.data.corpus import EMBEDDED_ROOT, load_corpus
from bench.data.wording import SAME_WORDING, shared_wording, subsequence_distance
from bench.errors import LanewiseError


def slow_distance(cost: np.ndarray) -> np.ndarray:
    rows, columns = cost.shape
    total = np.full((rows, columns), np.inf)
    total[0] = cost[0]
    for i in range(1, rows):
        for j in range(columns):
            ways = [total[i - 1, j - k] for k in (1, 2) if j >= k]
            if i >= 2 and j >= 1:
                ways.append(total[i - 2, j - 1] + cost[i - 1, j])
            total[i, j] = cost[i, j] + min(ways, default=np.inf)
    return total[-1] / rows


@given(
    arrays(
        np.float32,
        st.tuples(st.integers(1, 8), st.integers(6, 20)),
        elements=st.floats(0, 2, width=32),
    )
)
def test_subsequence_distance_is_the_slow_one(cost: np.ndarray) -> None:
    fast, slow = subsequence_distance(cost), slow_distance(cost.astype(np.float64))
    reachable = np.isfinite(slow)
    assert reachable.any()
    np.testing.assert_allclose(fast[reachable], slow[reachable], atol=1e-5)
    assert (fast[~reachable] > 2).all()


def speech_like(seed: int, frames: int) -> np.ndarray:
    """Smooth random features, as unlike each other as different sentences."""
    rng = np.random.default_rng(seed)
    knots = rng.standard_normal((frames // 8 + 2, 80))
    at = np.arange(frames) / 8
    low = at.astype(int)
    weight = (at - low)[:, None]
    return (knots[low] * (1 - weight) + knots[low + 1] * weight).astype(np.float32)


def test_finds_a_phrase_said_more_slowly_inside_another_clip() -> None:
    mels = {f"clip{seed}": speech_like(seed, 400) for seed in range(6)}
    phrase = mels["clip0"][100:300]
    slower = phrase[np.floor(np.arange(0, 200, 0.85)).astype(int)]
    mels["copy"] = np.concatenate([speech_like(50, 120), slower, speech_like(51, 120)])
    splits = dict.fromkeys(mels, "train") | {"copy": "test"}
    best = shared_wording(mels, splits)[0]
    assert {best.clip, best.other_clip} == {"clip0", "copy"}
    assert best.distance < SAME_WORDING
    del mels["copy"]
    splits["clip5"] = "test"
    assert shared_wording(mels, splits)[0].distance > SAME_WORDING


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "recordings"
    root.mkdir()
    rng = np.random.default_rng(1)
    for index in range(6):
        soundfile.write(root / f"{index}.wav", 0.1 * rng.standard_normal(16_000), 16_000)
    (root / "split.csv").write_text("id,split\n0,train\n1,train\n2,train\n3,train\n4,valid\n5,test\n")
    return root


def test_check_names_every_problem(folder: Path) -> None:
    spec = f"folder:{folder}"
    assert check(load_corpus(spec), wording=False).problems == []
    (folder / "5.wav").write_bytes((folder / "0.wav").read_bytes())
    soundfile.write(folder / "1.wav", np.full(16_000, np.nan), 16_000, subtype="FLOAT")
    soundfile.write(folder / "2.wav", np.zeros(16_000), 16_000)
    problems = "\n".join(check(load_corpus(spec), wording=False).problems)
    assert "0 (train), 5 (test)" in problems
    assert "16000 of 16000 samples are NaN" in problems
    assert "2.wav: holds digital silence" in problems
    repeated = "\n".join(check(load_corpus(spec)).problems)
    assert "has wording of" in repeated


def test_check_command(folder: Path) -> None:
    runner = CliRunner()
    result = runner.invoke(command, ["check", f"folder:{folder}", "--no-wording", "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["clips"] == {"train": 4, "valid": 1, "test": 1}
    (folder / "5.wav").write_bytes((folder / "0.wav").read_bytes())
    result = runner.invoke(command, ["check", f"folder:{folder}", "--no-wording"])
    assert isinstance(result.exception, LanewiseError)
    assert "1 problem" in str(result.exception)


def test_other_commands() -> None:
    runner = CliRunner()
    rows = json.loads(runner.invoke(command, ["list", "--json"]).stdout)
    assert [row["name"] for row in rows] == ["embedded", "ljspeech", "jsut", "folder", "noise", "voicebank", "dns"]
    assert "apt-get download asterisk-core-sounds-en-g722" in runner.invoke(command, ["fetch", "embedded"]).stderr
    assert "--out is missing" in str(runner.invoke(command, ["fetch", "embedded", "--deb", "x.deb"]).exception)
    assert "either SOURCE" in str(runner.invoke(command, ["prepare"]).exception)


def test_embedded_corpus_is_whole() -> None:
    findings = check(load_corpus("embedded"))
    assert findings.problems == []
    assert findings.clips["test"] >= 30
    assert findings.clips["valid"] >= 15
    assert 100 <= findings.seconds["test"] <= 150
    assert sum(findings.seconds.values()) > 21 * 60
    assert findings.closest_wording[0].distance > SAME_WORDING
    assert min(clip.seconds for clip in load_corpus("embedded").clips) >= 1.0
    assert sum(path.stat().st_size for path in EMBEDDED_ROOT.rglob("*") if path.is_file()) <= 30e6
    for name, words in (("README.md", "Allison Smith"), ("LICENCE", "ShareAlike")):
        assert words in (EMBEDDED_ROOT / name).read_text(encoding="utf-8")


def test_change_of_one_training_recording_is_noticed(tmp_path: Path) -> None:
    before = load_corpus("embedded")
    clip = before.split("train")[0]
    copy = tmp_path / "audio" / clip.path.name
    copy.parent.mkdir()
    soundfile.write(copy, -clip.audio(), 16_000, subtype="PCM_16")
    changed = [c if c.id != clip.id else type(c)(c.id, copy, c.split, c.seconds) for c in before.clips]
    assert type(before)(before.name, before.root, changed).content_hash() != before.content_hash()
