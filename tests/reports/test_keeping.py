"""Kept studies: nothing bulky, and everything that is shown can be made again from the kept records alone."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.errors import LanewiseError, UsageError
from bench.measure.statistics import paired_difference, seed_interval
from reports.analysis import analyse
from reports.cli import report
from reports.compare import mean_of
from reports.headline import headline
from reports.keeping import keep_study, texts
from reports.loader import BASELINE, load_study
from tests.reports.synthetic import ARMS, StudyFiles, edit_record, folder_of

REFERENCE = Path(__file__).parents[2] / "reports" / "reference"


def test_a_kept_study_gives_the_tables_of_the_whole_one(tmp_path: Path) -> None:
    whole = StudyFiles(tmp_path / "whole").write()
    result = CliRunner().invoke(report, [str(whole), "--keep", str(tmp_path / "kept")])
    assert result.exit_code == 0, result.output
    kept = tmp_path / "kept"
    assert {path.suffix for path in kept.rglob("*") if path.is_file()} == {
        ".json",
        ".yaml",
        ".csv",
        ".md",
        ".tex",
        ".svg",
    }
    for name in ("table.csv", "table.md", "table.tex"):
        assert (kept / name).read_bytes() == (whole / "report" / name).read_bytes()
    assert texts(analyse(load_study(kept))) == {
        name: (kept / name).read_text() for name in texts(analyse(load_study(kept)))
    }
    for path in whole.glob("trials/*/record.json"):
        assert json.loads(path.read_text()) == json.loads((kept / path.relative_to(whole)).read_text())


def test_keeping_again_replaces_records_and_leaves_the_readme(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    keep_study(StudyFiles(tmp_path / "one").write(), kept)
    (kept / "README.md").write_text("what it means")
    keep_study(StudyFiles(tmp_path / "two").write(ARMS[:2]), kept)
    assert load_study(kept).arms == [arm.name for arm in ARMS[:2]]
    assert (kept / "README.md").read_text() == "what it means"
    (tmp_path / "none").mkdir()
    with pytest.raises(LanewiseError, match="no records"):
        keep_study(tmp_path / "none", kept)
    assert load_study(kept).arms == [arm.name for arm in ARMS[:2]]


def test_keeping_never_deletes_a_study(tmp_path: Path) -> None:
    whole = StudyFiles(tmp_path / "whole").write()
    before = sorted(path for path in whole.rglob("*") if path.is_file())
    for study in (whole, StudyFiles(tmp_path / "other").write()):
        with pytest.raises(UsageError, match="more than their records"):
            keep_study(study, whole)
    assert sorted(path for path in whole.rglob("*") if path.is_file()) == before
    kept = keep_study(whole, tmp_path / "kept")
    files = {path: path.read_bytes() for path in kept.rglob("*") if path.is_file()}
    keep_study(kept, kept)  # into itself: everything but the records is made again
    assert {path: path.read_bytes() for path in kept.rglob("*") if path.is_file()} == files


def test_a_trial_that_was_cut_short_counts_as_not_run(tmp_path: Path) -> None:
    about = {"arms": {arm.name: {} for arm in ARMS}, "seeds": {"recover": [1]}}
    root = StudyFiles(tmp_path / "study", about=about).write()
    edit_record(folder_of(root, ARMS[-1].name), lambda record: record.update(state="interrupted"))
    edit_record(folder_of(root, ARMS[-2].name), lambda record: record.update(state="failed"))
    study = load_study(keep_study(root, tmp_path / "kept"))
    assert list(study.not_run) == [ARMS[-1].name]
    assert [(item.arm, item.state) for item in study.left_out] == [(ARMS[-2].name, "failed")]


def test_what_was_not_run_is_said_and_never_filled(tmp_path: Path) -> None:
    about = {"arms": {arm.name: {} for arm in ARMS} | {"never": {}}, "seeds": {"recover": [1, 2, 77]}}
    study = load_study(StudyFiles(tmp_path / "study", about=about).write())
    assert study.not_run["never"] == ["0/1", "0/2", "0/77"]
    assert study.not_run[ARMS[0].name][-1] == "0/77"
    analysis = analyse(study)
    assert any(re.search(r"^Not run: .*never \(seeds 0/1, 0/2, 0/77\)", s.text) for s in headline(analysis))
    row = next(line for line in texts(analysis)["table.md"].splitlines() if line.startswith("| never "))
    assert set(row.split(" | ")[1:-1]) == {"not run"}


@pytest.mark.parametrize("kept", sorted(path.parent for path in REFERENCE.glob("*/study.yaml")), ids=lambda p: p.name)
def test_reference_results_are_those_of_their_records(kept: Path) -> None:
    analysis = analyse(load_study(kept))
    for name, text in texts(analysis).items():
        assert (kept / name).read_text(encoding="utf-8") == text, f"{kept / name}: made of other records"
    assert not analysis.study.left_out
    readme = (kept / "README.md").read_text(encoding="utf-8")
    for tag in ("lanewise.git", "timing.cpu"):
        assert all(str(value)[:12] in readme for value in analysis.study.trials[tag].dropna().unique()), tag


def test_two_runs_of_paper_fast_agree_and_decide_together() -> None:
    """Another dense training, other seeds: the intervals overlap, and six seeds say what three left open."""
    runs = [analyse(load_study(REFERENCE / name)) for name in ("paper-fast", "paper-fast-again")]
    readme = (REFERENCE / "paper-fast-again" / "README.md").read_text(encoding="utf-8")
    pruned = [arm for arm in runs[1].arms if runs[1].is_pruned(arm) and arm in runs[0].arms]
    assert len(pruned) == 2
    for arm in pruned:
        first, again = (run.differences[arm, run.primary] for run in runs)
        assert max(first.ci_low, again.ci_low) <= min(first.ci_high, again.ci_high), arm
        losses = []
        for run in runs:
            ours, dense = run.scores[arm, run.primary], run.scores[BASELINE, run.primary]
            losses += [mean_of({seed: ours[seed]}) - mean_of({seed: dense[seed]}) for seed in sorted(ours)]
        both = seed_interval(losses)
        assert both.mean is not None
        assert f"{both.mean:+.4f} ({both.low:.4f} to {both.high:.4f})" in readme, arm


@pytest.mark.parametrize(
    ("name", "key", "form"), [("scaling", "quality.nll_bits", ".4f"), ("enhancement", "quality.sdr", ".2f")]
)
def test_what_longer_training_changes_is_as_written(name: str, key: str, form: str) -> None:
    short, longer = (analyse(load_study(REFERENCE / folder)) for folder in (name, f"{name}-longer"))
    readme = (REFERENCE / f"{name}-longer" / "README.md").read_text(encoding="utf-8")
    for arm in set(longer.arms) - {BASELINE}:
        (seed,) = longer.scores[arm, key]
        losses = []
        for run in (short, longer):
            ours, dense = run.scores[arm, key][seed], run.scores[BASELINE, key][seed]
            losses.append({clip: float(score) - float(dense[clip]) for clip, score in ours.items()})  # none is missing
        change = paired_difference(losses[1], losses[0])
        assert change.mean is not None
        assert f"{change.mean:+{form}} ({change.low:+{form}} to {change.high:+{form}})" in readme, arm


def test_there_are_reference_results() -> None:
    assert sorted(path.parent.name for path in REFERENCE.glob("*/study.yaml"))
