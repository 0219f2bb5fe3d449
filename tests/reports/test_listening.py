"""Stimuli: equally loud, complete, and told apart by the key alone."""

import csv
import math
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml
from hypothesis import given
from hypothesis import strategies as st
from synthetic import ARMS, ENHANCER_ARMS, StudyFiles

from bench.cli.main import main
from reports.analysis import analyse
from reports.levels import CEILING, active_level_db, matching_gains_db
from reports.listening import choose, losses, page
from reports.loader import load_study
from reports.page import render

SHOWN = (ARMS[0], ARMS[4], ARMS[6])


def speech(seed: int, gain: float) -> Any:
    rng = np.random.default_rng(seed)
    return (gain * rng.standard_normal(8000) * np.repeat([1.0, 0.0, 0.5, 0.0, 1.0], 1600)).astype(np.float32)


@given(st.floats(0.001, 0.2), st.integers(0, 99))
def test_level_follows_gain_and_ignores_pauses(gain: float, seed: int) -> None:
    loud, soft = speech(seed, 0.2), speech(seed, gain)
    assert active_level_db(loud) - active_level_db(soft) == pytest.approx(20 * math.log10(0.2 / gain), abs=1e-3)
    padded = np.concatenate([loud, np.zeros(16_000, np.float32)])
    assert active_level_db(padded) == pytest.approx(active_level_db(loud), abs=1e-6)


@given(st.lists(st.floats(0.005, 0.5), min_size=1, max_size=5))
def test_matched_signals_are_equally_loud_and_do_not_clip(gains: list[float]) -> None:
    signals = [np.clip(speech(i, gain), -1, 1) for i, gain in enumerate(gains)]
    found = matching_gains_db(signals)
    levels = [active_level_db(signal) + gain for signal, gain in zip(signals, found, strict=True)]
    assert levels == pytest.approx([levels[0]] * len(levels), abs=1e-6)
    peaks = [np.abs(s).max() * 10 ** (g / 20) for s, g in zip(signals, found, strict=True)]
    assert max(peaks) <= CEILING + 1e-6


def test_silence_is_left_alone() -> None:
    silent = np.zeros(1600, np.float32)
    assert matching_gains_db([silent, silent]) == [0.0, 0.0]
    assert active_level_db(np.zeros(0, np.float32)) == -math.inf


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return StudyFiles(tmp_path_factory.mktemp("study"), audio=4, hidden=32).write(SHOWN)


def test_rows_are_worst_median_best_in_the_metric_of_choice(study: Path) -> None:
    analysis = analyse(load_study(study))
    for key in ("quality.nll_bits", "quality.pesq_wb"):
        found = losses(analysis, key)
        stored = sorted((f"conf-{i:02d}" for i in range(4)), key=lambda name: -found[name])
        chosen = choose(analysis, key)
        assert [choice.utterance for choice in chosen] == [stored[0], stored[2], stored[3]]
        ranks = [1 + sorted(found.values(), reverse=True).index(found[choice.utterance]) for choice in chosen]
        assert len(found) == 12
        assert ranks != [1, 2, 4], "those with audio are not all that were scored"
        for choice, rank, what in zip(chosen, ranks, ("largest", "median", "smallest"), strict=True):
            assert choice.why.startswith(f"{what} loss of the 4 with audio (rank {rank} of 12), ")
    rows = page(analysis).rows
    assert len(rows) == 4
    assert {player.system for player in rows[0].players} >= {"recording", "dense-continued", "simd-8x1-s70"}
    by_label = {column.label: losses(analysis, column.key) for column in analysis.columns}
    assert len(rows[0].losses) > 5
    for label in rows[0].losses:
        mine = sorted(rows, key=lambda row: -row.losses[label])
        assert [row.whys[label].split()[0] for row in mine] == ["largest", "loss", "median", "smallest"]
        for row in mine:
            rank = 1 + sum(loss > row.losses[label] for loss in by_label[label].values())
            assert f"(rank {rank} of 12), {label.split(',')[0]} {row.losses[label]:+.3f}" in row.whys[label]


def test_the_page_names_what_it_has_no_place_for(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reports.listening.MOST_SYSTEMS", 4)
    monkeypatch.setattr("reports.histories.MOST_ARMS", 1)
    drawn = tmp_path / "masks.svg"
    drawn.write_text('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"></svg>', encoding="utf-8")
    text = render(analyse(load_study(study)), {"masks": drawn})
    assert "Not shown: 2 more systems with audio (simd-8x1-s70, simd-16x1-s90)." in text
    assert "Not shown: 1 more of the pruned arms (simd-16x1-s90)." in text


def lanewise(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["lanewise", "listening-test", *arguments])
    with pytest.raises(SystemExit) as exit_:
        main()
    return int(exit_.value.code or 0)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_listening_test_is_complete_and_blind(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "test"
    assert lanewise(monkeypatch, str(study), "--out", str(out), "--utterances", "2", "--arm", "dense-continued",
                    "--arm", "simd-8x1-s70") == 0  # fmt: skip
    stimuli = rows_of(out / "stimuli.csv")
    assert {row["system"] for row in stimuli} == {"recording", "dense-continued", "simd-8x1-s70"}
    assert len(stimuli) == 6
    for utterance in {row["utterance"] for row in stimuli}:
        levels = [
            active_level_db(soundfile.read(out / row["file"], dtype="float32")[0])
            for row in stimuli if row["utterance"] == utterance
        ]  # fmt: skip
        assert max(levels) - min(levels) < 0.05
    for name, kind in (("mushra", "mushra"), ("pairs", "paired_comparison")):
        content = yaml.safe_load((out / f"{name}.yaml").read_text(encoding="utf-8"))
        trials = next(item for item in content["pages"] if isinstance(item, list))[1:]
        assert [trial["type"] for trial in trials] == [kind] * 2
        for trial in trials:
            files = [trial["reference"], *trial["stimuli"].values()]
            assert all((out / file.removeprefix("configs/test/")).is_file() for file in files)
            assert not any("simd" in file or "dense" in file for file in files)
    dense = next(row["file"] for row in stimuli if row["system"] == "dense-continued")
    assert dense in (out / "pairs-dense.yaml").read_text(encoding="utf-8")
    trials, key = rows_of(out / "abx.csv"), rows_of(out / "abx-key.csv")
    assert len(trials) == len(key) == 6
    for trial, answer in zip(trials, key, strict=True):
        right = trial[answer["x_is"]]
        assert (out / trial["x"]).read_bytes() == (out / right).read_bytes()
        assert trial["x"] not in (trial["a"], trial["b"])


PAGES = {
    "generic": ({"id", "name", "content"}, set()),
    "volume": ({"id", "name", "content", "stimulus", "defaultVolume"}, set()),
    "mushra": ({"id", "name", "content", "reference", "stimuli", "showWaveform", "enableLooping", "createAnchor35",
                "createAnchor70"}, {"strict", "randomize", "showConditionNames"}),
    "paired_comparison": ({"id", "name", "content", "reference", "stimuli", "showWaveform", "enableLooping"},
                          {"unforced"}),
    "finish": ({"name", "content", "showResults", "writeResults"}, set()),
}  # fmt: skip
"""Options of each kind of page, needed and allowed, as webMUSHRA's doc/experimenter.md has them."""


@pytest.mark.parametrize("name", ["mushra", "pairs", "pairs-dense"])
def test_set_ups_are_what_webmushra_documents(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    out = tmp_path / "test"
    assert lanewise(monkeypatch, str(study), "--out", str(out), "--utterances", "3") == 0
    content = yaml.safe_load((out / f"{name}.yaml").read_text(encoding="utf-8"))
    assert set(content) == {
        "testname", "testId", "bufferSize", "stopOnErrors", "showButtonPreviousPage", "remoteService", "pages",
    }  # fmt: skip
    assert content["bufferSize"] in (256, 512, 1024, 2048, 4096, 8192, 16384)
    flat = [one for entry in content["pages"] for one in (entry if isinstance(entry, list) else [entry])]
    assert flat.count("random") == 1
    shown = [one for one in flat if one != "random"]
    assert shown[-1]["type"] == "finish"
    ids = [one["id"] for one in shown[:-1]]
    assert len(set(ids)) == len(ids) == 2 + 3
    for one in shown:
        needed, allowed = PAGES[one["type"]]
        assert needed <= set(one) - {"type"} <= needed | allowed
        assert 0 <= one.get("defaultVolume", 0.5) <= 1
        if "stimuli" in one:
            files = [one["reference"], *one["stimuli"].values()]
            assert len(set(files)) == len(files) <= 13
            shapes = {soundfile.info(out / file.removeprefix("configs/test/")).frames for file in files}
            assert len(shapes) == 1, "webMUSHRA stops at stimuli of different lengths"
            if one.get("strict", one["type"] == "mushra"):
                assert shapes.pop() <= 12 * 16_000


def test_clips_of_any_length_fit_the_reference(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = Path(shutil.copytree(study, tmp_path / "copy"))
    for number, path in enumerate(sorted(copy.glob("trials/*/audio/conf-00.wav"))):
        samples, rate = soundfile.read(path)
        soundfile.write(path, samples[:-37] if number % 2 else np.concatenate([samples, samples[:91]]), rate)
    out = tmp_path / "test"
    assert lanewise(monkeypatch, str(copy), "--out", str(out)) == 0
    frames = {soundfile.info(path).frames for path in out.glob("stimuli/u01-*.wav")}
    assert len(frames) == 1


def test_an_enhancers_input_is_always_among_the_stimuli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = StudyFiles(tmp_path / "study", audio=2, task="enhancer").write(ENHANCER_ARMS[:2])
    assert lanewise(monkeypatch, str(root), "--out", str(tmp_path / "out"), "--arm", "small-dense") == 0
    assert {row["system"] for row in rows_of(tmp_path / "out" / "stimuli.csv")} == {
        "recording", "noisy input", "small-dense",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--arm", "absent"], 2, "no audio of 'absent'; there is audio of recording"),
        (["--by", "beauty"], 2, "no such score; it has nll_bits"),
    ],
)
def test_bad_input_is_one_clear_error(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    arguments: list[str], code: int, says: str,
) -> None:  # fmt: skip
    assert lanewise(monkeypatch, str(study), "--out", str(tmp_path), *arguments) == code
    assert says in capsys.readouterr().err
