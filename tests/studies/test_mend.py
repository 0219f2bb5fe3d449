"""Resumed studies: finished trials whose record is damaged, badly timed or incomplete are mended, others left alone."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench import host
from bench.measure.sound import metric
from bench.trial.record import FILE_NAME, Record
from studies import rehearsal
from studies.folder import StudyFolder
from studies.rehearsal import light_trial
from studies.run import Options, run_study
from studies.study_file import load
from studies.worker import finished_record

Write = Callable[..., Path]
QUIET = Options(recordings=False, tracking_uri="none")
ARMS = """\
arms:
  dense-continued: {}
  simd: {reg.kind: group_lasso, prune.kind: magnitude, prune.tile: 16x1, prune.sparsity: 0.7}
  same: {reg.kind: group_lasso, prune.kind: magnitude, prune.tile: 16x1, prune.sparsity: 0.7}
baselines: false
"""


class Timed:
    """A light trial that is timed anew at each run, with the given verdicts and figures one after another."""

    def __init__(self, *timings: tuple[str, float]) -> None:
        self.timings = list(timings)
        self.ran: list[int] = []

    def __call__(self, config: Any, folder: Path, **settings: Any) -> Record:
        self.ran.append(settings["number"])
        record = light_trial(config, folder, **settings)
        verdict, rtf = self.timings.pop(0)
        record.timing = {"verdict": verdict, "cpu": host.cpu_name()}
        record.metrics["speed.rtf"] = rtf
        record.write(folder)
        return record


@pytest.fixture
def ran(study_file: Write, tmp_path: Path) -> tuple[Path, StudyFolder]:
    path, folder = study_file(ARMS), StudyFolder(tmp_path / "run")
    run_study(load(path), folder, QUIET, runner=Timed(("stable", 0.1), ("stable", 0.2)))
    return path, folder


def resume(path: Path, folder: StudyFolder, runner: Any) -> list[Any]:
    return run_study(load(path), folder, QUIET, runner=runner)


def test_a_whole_study_is_left_alone(ran: tuple[Path, StudyFolder]) -> None:
    again = Timed()
    resume(*ran, again)
    assert again.ran == []


@pytest.mark.parametrize("damage", ['{"schema": 1, "study"', None, "[]"])
def test_a_damaged_record_is_rebuilt_and_that_is_said(
    ran: tuple[Path, StudyFolder], damage: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    path, folder = ran
    record = folder.trial(1) / FILE_NAME
    before = Record.read(record)
    record.unlink() if damage is None else record.write_text(damage)
    capsys.readouterr()
    again = Timed(("stable", 0.2))
    rows = resume(path, folder, again)
    assert again.ran == [1]
    assert Record.read(record).metrics == before.metrics
    assert [row.state for row in rows] == ["complete"] * 3
    assert "trial 1 (simd): " in (said := capsys.readouterr().err)
    assert "rebuilt from the stages that it kept" in said


def test_an_unstable_timing_is_measured_again_once_per_resume(study_file: Write, tmp_path: Path) -> None:
    path, folder = study_file(ARMS), StudyFolder(tmp_path / "run")
    resume(path, folder, Timed(("stable", 0.1), ("unstable", 0.9)))
    again = Timed(("unstable", 0.8))
    rows = resume(path, folder, again)
    assert again.ran == [1]
    assert [row.values[1] for row in rows] == [0.1, 0.8, 0.8], "its duplicate follows"
    again = Timed(("stable", 0.2))
    rows = resume(path, folder, again)
    assert again.ran == [1]
    assert [row.values[1] for row in rows] == [0.1, 0.2, 0.2]
    again = Timed()
    assert resume(path, folder, again) == rows
    assert again.ran == []


def test_a_timing_of_another_cpu_is_left_alone(ran: tuple[Path, StudyFolder]) -> None:
    path, folder = ran
    record = Record.read(folder.trial(1))
    record.timing = {"verdict": "unstable", "cpu": "another"}
    record.write(folder.trial(1))
    resume(path, folder, Timed())


@pytest.mark.parametrize("ending", [KeyboardInterrupt(), None])
def test_what_was_complete_stays_when_mending_does_not_succeed(
    ran: tuple[Path, StudyFolder], ending: KeyboardInterrupt | None
) -> None:
    path, folder = ran
    record = Record.read(folder.trial(1))
    record.timing["verdict"] = "unstable"
    record.write(folder.trial(1))

    def fails(config: Any, place: Path, **settings: Any) -> Record:
        lost = Record.read(place)
        lost.state, lost.reason = "interrupted" if ending else "failed", "no luck"
        lost.write(place)
        if ending:
            raise ending
        return lost

    if ending:
        with pytest.raises(KeyboardInterrupt):
            resume(path, folder, fails)
    else:
        resume(path, folder, fails)
    assert Record.read(folder.trial(1)) == record


def test_a_package_that_came_or_changed_has_scores_made_again(
    study_file: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, folder = study_file(ARMS), StudyFolder(tmp_path / "run")
    real = metric.installed

    def pesq(said: str) -> None:
        monkeypatch.setattr(metric, "installed", lambda name: said if name == "pesq" else real(name))

    pesq("pesq (not installed)")
    resume(path, folder, Timed(("stable", 0.1), ("stable", 0.2)))
    assert Record.read(folder.trial(1)).tags["lanewise.metric.pesq_wb"] == "pesq (not installed)"
    for said, expected in (
        ("pesq 0.0.4", [0, 1]),
        ("pesq 0.0.4", []),
        ("pesq 0.0.5", [0, 1]),
        ("pesq (not installed)", []),
    ):
        pesq(said)
        again = Timed(("stable", 0.1), ("stable", 0.2))
        resume(path, folder, again)
        assert again.ran == expected, said
    assert Record.read(folder.trial(1)).tags["lanewise.metric.pesq_wb"] == "pesq 0.0.5"


def test_a_record_of_other_recordings_or_another_checkpoint_is_not_taken_over(ran: tuple[Path, StudyFolder]) -> None:
    _, folder = ran
    record = Record.read(folder.trial(0))
    digest = str(record.trial["config_hash"])
    rests_on = {key: record.tags[key] for key in ("lanewise.data_hash", "lanewise.init_hash")}
    assert finished_record(folder.trial(0), digest, rests_on) == record
    for key in rests_on:
        assert finished_record(folder.trial(0), digest, rests_on | {key: "other"}) is None


def test_equal_settings_on_other_recordings_are_no_duplicate(
    study_file: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = iter(["one", "two", "two"])
    monkeypatch.setattr("bench.trial.corpus.content", lambda spec: next(contents))
    monkeypatch.setattr(rehearsal, "provenance", lambda config: {})
    path, folder = study_file("arms: {a: {}, b: {}, c: {}}\nbaselines: false\n"), StudyFolder(tmp_path / "run")
    rows = run_study(load(path), folder, QUIET, runner=light_trial)
    assert [row.duplicate_of for row in rows] == [None, None, 1]


def test_references_are_made_again_for_another_checkpoint_of_the_same_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.config.load import from_dict
    from bench.data.corpus import EMBEDDED_ROOT
    from bench.models import checkpoint
    from bench.models.wavernn import Arch, SubbandWaveRNN
    from studies import references

    clips, start = tmp_path / "clips", tmp_path / "start.safetensors"
    clips.mkdir()
    for name in ("digits.17", "digits.19", "sorry"):
        shutil.copy(EMBEDDED_ROOT / "audio" / f"{name}.flac", clips)
    model = SubbandWaveRNN(Arch(hidden=16, head=16))
    checkpoint.save(start, model, {})
    measure = {"metrics": ["mrstft"], "audio_clips": 0}
    config = from_dict({"data": {"corpus": f"folder:{clips}"}, "model": {"init": str(start)}, "measure": measure})
    folder = StudyFolder(tmp_path / "run")
    made: list[int] = []
    real = references._synthesise
    monkeypatch.setattr(references, "_synthesise", lambda *given: made.append(1) or real(*given))

    def distance() -> float:
        path = references.ensure_references(config, folder)
        return float(json.loads(path.read_text())["systems"]["copy-synthesis"][0]["mrstft"])

    first = distance()
    assert distance() == first
    assert len(made) == 1
    model.band_scale.mul_(3)
    checkpoint.save(start, model, {})
    assert distance() > first, "a coarser quantiser"
    folder.references.write_text("{")
    assert distance() > first
    assert len(made) == 3


def test_a_study_without_sound_metrics_has_no_reference_systems(ran: tuple[Path, StudyFolder]) -> None:
    from bench.config.load import from_dict
    from studies import references

    _, folder = ran
    config = from_dict({"measure": {"metrics": []}})
    assert not references.ensure_references(config, folder).exists()
