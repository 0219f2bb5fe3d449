"""What is refused before anything runs, and where: the host that plans a study need not be the one that runs it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.cli.main import main
from bench.config.yaml_lines import ConfigError
from studies.checks import check_host
from studies.folder import StudyFolder
from studies.plan import plan
from studies.rehearsal import light_trial
from studies.run import Options, open_store, run_study
from studies.study_file import load
from tests.engine.models import ABSENT_ISA

Write = Callable[..., Path]

QUIET = Options(recordings=False, tracking_uri="none")
GPU = "  train.device: cuda\narms: {dense-continued: {}, other: {train.steps: 10}}\nbaselines: false\n"
REFUSED = "tiny.yaml:5: train.device: got 'cuda', but torch sees no CUDA device on this host"


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_a_login_node_plans_for_others(
    study_file: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = ["sweep", "run", str(study_file(GPU))]
    for more in ([], ["--dry-run"]):
        with pytest.raises(SystemExit) as ended:
            main([*asked, *more])
        assert ended.value.code == 2
        assert capsys.readouterr().err.count(REFUSED) == 1
    assert not (tmp_path / "runs").exists()
    with pytest.raises(SystemExit) as ended:
        main([*asked, "--dry-run", "--launcher", "slurm"])
    assert ended.value.code == 0


def test_workers_elsewhere_are_started_and_look_for_themselves(
    study_file: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study, folder, commands = load(study_file(GPU)), StudyFolder(tmp_path / "run"), []

    def launch(command: list[str], *_: object) -> None:
        commands.append(command)

    monkeypatch.setattr("studies.run.launcher", lambda _: launch)
    rows = run_study(study, folder, Options(recordings=False, tracking_uri="none", launcher="slurm"))
    assert [row.state for row in rows] == ["waiting", "waiting"]
    assert len(commands) == 1
    with pytest.raises(SystemExit) as ended:
        main(["worker", str(folder.root), "--tracking-uri", "none"])
    assert ended.value.code == 2
    assert "train.device: got 'cuda'" in capsys.readouterr().err
    assert [row.state for row in open_store(study, folder).rows()] == ["waiting", "waiting"], "nothing was claimed"


def test_a_host_that_only_times_or_has_nothing_left_to_run_needs_no_gpu(
    study_file: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    study, folder = load(study_file(GPU)), StudyFolder(tmp_path / "run")
    trials = plan(study, None)
    check_host(study, trials, (), "only")
    with pytest.raises(ConfigError, match="no CUDA device"):
        check_host(study, trials, (), "later")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [row.state for row in run_study(study, folder, QUIET, light_trial)] == ["complete", "complete"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert [row.state for row in run_study(study, folder, QUIET, light_trial)] == ["complete", "complete"]


def test_what_a_search_draws_for_another_host_is_infeasible(study_file: Write, tmp_path: Path) -> None:
    axes = f"search: {{simd.isa: {{choice: [scalar, {ABSENT_ISA}]}}}}\nmode: random\ntrials: 12\nbaselines: false\n"
    study, folder = load(study_file(axes)), StudyFolder(tmp_path / "run")
    rows = run_study(study, folder, QUIET, light_trial)
    assert {row.state for row in rows} == {"complete", "infeasible"}
    reasons = [str(row.reason) for row in rows if row.state == "infeasible"]
    assert all(f"simd.isa: this host cannot run '{ABSENT_ISA}'" in reason for reason in reasons), reasons
