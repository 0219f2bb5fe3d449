"""Which arms of a study are trained at once, and why not the others."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bench.errors import UsageError
from studies.dryrun import plan_rows
from studies.folder import StudyFolder
from studies.plan import plan
from studies.rows import Row
from studies.run import Options, run_study
from studies.stacking import plan_stacks, stack_lines
from studies.study_file import load

Write = Callable[..., Path]

ARMS = """\
arms:
  dense-continued: {}
  lasso: {reg.kind: lasso, prune.kind: magnitude, prune.tile: 1x1, prune.sparsity: 0.7}
  simd: {reg.kind: group_lasso, prune.kind: magnitude, prune.tile: 16x1, prune.sparsity: 0.9}
  tuned: {reg.kind: group_lasso, prune.kind: magnitude, prune.tile: 8x1, prune.sparsity: 0.7, tune.size: 2}
  gates: {prune.kind: hard_concrete, prune.tile: 8x1, prune.sparsity: 0.7}
  skips: {reg.kind: skip_update}
  taught: {prune.kind: magnitude, prune.tile: 8x1, prune.sparsity: 0.7, recover.distil: 0.5}
  wider: {model.hidden: 96}
  longer: {train.steps: 30}
baselines: false
"""


def test_arms_of_one_shape_and_budget_are_stacked_and_the_others_say_why(study_file: Write) -> None:
    found = plan_stacks(plan(load(study_file(ARMS))), [], 8)
    (stack,) = found.stacks
    assert [job.number for job in stack] == [0, 1, 2, 3, 3]
    assert {job.config.tune.key for job in stack} == {None}
    reasons = {arm.split()[0]: why for _, arm, why in found.alone}
    assert {arm: why.split()[-1] for arm, why in reasons.items()} == {
        "gates": "network", "skips": "network", "taught": "arm", "wider": "budget", "longer": "budget",
    }  # fmt: skip
    assert "hard_concrete" in reasons["gates"]
    lines = stack_lines(found)
    assert lines[0].startswith("stack 1: 5 arms in turn at every step (GRU 64, 20 steps of 32 x 400, cpu): ")
    assert "tuned seed 0, reg.target" in lines[0]
    assert lines[1:] == [f"not stacked: trial {number}, {arm}: {why}" for number, arm, why in sorted(found.alone)]


def test_seeds_stand_beside_each_other_and_no_stack_is_wider_than_asked(study_file: Write) -> None:
    arms = "arms: {a: {}, b: {train.lr: 0.01}, c: {train.lr: 0.02}}\nbaselines: false\nseeds: {recover: [1, 2]}\n"
    trials = plan(load(study_file(arms)))
    assert [[job.number for job in jobs] for jobs in plan_stacks(trials, [], 6).stacks] == [[0, 1, 2, 3, 4, 5]]
    assert [[job.number for job in jobs] for jobs in plan_stacks(trials, [], 4).stacks] == [[0, 1, 2, 3], [4, 5]]
    cut = plan_stacks(trials, [], 5)
    assert [len(jobs) for jobs in cut.stacks] == [5]
    assert [number for number, _, _ in cut.alone] == [5]


def test_what_has_ended_or_is_the_same_twice_is_left_out(study_file: Write) -> None:
    arms = "arms: {a: {}, same: {}, b: {train.lr: 0.01}, c: {train.lr: 0.02}}\nbaselines: false\n"
    trials = plan(load(study_file(arms)))
    assert [[job.number for job in jobs] for jobs in plan_stacks(trials, [], 6).stacks] == [[0, 2, 3]]
    ended = Row(0, 0, "a", "complete", (1.0,), None, 1.0, None, None, None, {}, None, None, None, 0, 0)
    assert [[job.number for job in jobs] for jobs in plan_stacks(trials, [ended], 6).stacks] == [[1, 2, 3]]
    other = replace(ended, state="running")
    assert [[job.number for job in jobs] for jobs in plan_stacks(trials, [other], 6).stacks] == [[0, 2, 3]]


def test_what_a_sampler_draws_is_not_known_yet(study_file: Write) -> None:
    search = "search:\n  train.lr: {float: [0.001, 0.1]}\nmode: tpe\ntrials: 6\n"
    found = plan_stacks(plan(load(study_file(search))), [], 8)
    assert {why for _, arm, why in found.alone if arm.startswith("(")} == {"its settings are not known yet"}


def test_dry_run_rows_name_the_stack(study_file: Write) -> None:
    trials = plan(load(study_file(ARMS)))
    rows = plan_rows(trials, [], plan_stacks(trials, [], 8))
    assert [row["stack"] for row in rows] == [1, 1, 1, 1, None, None, None, None, None]
    assert [row["alone"] is None for row in rows] == [row["stack"] == 1 for row in rows]
    assert "stack" not in plan_rows(trials, [])[0]


def test_a_launcher_that_trains_elsewhere_is_refused(study_file: Write, tmp_path: Path) -> None:
    study = load(study_file(ARMS))
    with pytest.raises(UsageError, match="--stack trains on this host"):
        run_study(study, StudyFolder(tmp_path / "run"), Options(stack=4, launcher="slurm"))
