"""The plan: which trials a study file means, in which order, under which names."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.config.matrices import VocoderShape
from bench.config.yaml_lines import ConfigError
from bench.errors import UsageError
from studies.dryrun import plan_rows, plan_text
from studies.folder import StudyFolder
from studies.plan import plan, small_hidden
from studies.study_file import load

Write = Callable[..., Path]

GRID = """\
search:
  structure:
    choice:
      lasso: {reg.kind: lasso, prune.kind: magnitude, prune.tile: 1x1}
      simd-8: {reg.kind: group_lasso, prune.kind: magnitude, prune.tile: 8x1}
      simd-16: {reg.kind: group_lasso, prune.kind: magnitude, prune.tile: 16x1}
  prune.sparsity: {choice: [0.5, 0.7]}
seeds: {recover: [1, 2]}
"""


def test_factorial_is_the_whole_grid_in_every_seed(study_file: Write) -> None:
    trials = plan(load(study_file(GRID + "baselines: false\n")))
    got = [(t.config.prune.tile, t.config.prune.sparsity, t.config.seed.recover) for t in trials if t.config]
    wanted = [(tile, s, seed) for seed, tile, s in itertools.product((1, 2), ("1x1", "8x1", "16x1"), (0.5, 0.7))]
    assert got == wanted
    assert [t.arm for t in trials[:6]] == [
        "lasso-1x1-s50",
        "lasso-1x1-s70",
        "simd-8x1-s50",
        "simd-8x1-s70",
        "simd-16x1-s50",
        "simd-16x1-s70",
    ]
    assert len({t.config_hash for t in trials}) == 12


def test_points_that_share_a_name_get_the_points_own(study_file: Write) -> None:
    trials = plan(load(study_file("search: {train.lr: {choice: [0.1, 0.2]}}\nbaselines: false\n")))
    assert [t.arm for t in trials] == ["lr0.1", "lr0.2"]


def test_baselines_come_first_in_each_seed(study_file: Write) -> None:
    trials = plan(load(study_file(GRID)))
    first = [t.arm for t in trials if t.config and t.config.seed.recover == 1]
    assert first[:4] == ["dense-continued", "small-dense", "random-16x1-s50", "random-16x1-s70"]
    assert [t.arm for t in trials] == first * 2
    random_arm = trials[3].config
    assert random_arm is not None
    assert random_arm.prune.kind == "random"
    assert random_arm.reg.kind == "none"


def test_a_baseline_among_the_arms_is_not_added_again(study_file: Write) -> None:
    trials = plan(
        load(
            study_file("arms:\n  my-dense: {}\n  simd: {prune.kind: magnitude, prune.tile: 8x1, prune.sparsity: 0.7}\n")
        )
    )
    assert [t.arm for t in trials] == ["small-dense", "random-8x1-s70", "my-dense", "simd"]


def test_trials_cuts_a_factorial_study(study_file: Write) -> None:
    study = load(study_file(GRID))
    assert plan(study, 5) == plan(study)[:5]


def test_sampled_study_has_baselines_then_open_trials(study_file: Write) -> None:
    lines = "search:\n  prune.sparsity: {float: [0.5, 0.9]}\nmode: tpe\ntrials: 9\n"
    base = "name: tiny\nbase: {model.init: dense, model.hidden: 64, prune.kind: magnitude, prune.tile: 16x1}\n"
    study = load(study_file(lines, base))
    trials = plan(study)
    assert [t.arm for t in trials[:5]] == [
        "dense-continued",
        "small-dense",
        "random-16x1-s50",
        "random-16x1-s90",
        None,
    ]
    assert len(trials) == 9
    with pytest.raises(UsageError, match="4 arms and baselines come first"):
        plan(study, 4)


def test_a_corner_of_the_space_that_has_no_kernel_is_refused(study_file: Write) -> None:
    lines = "search:\n  prune.tile: {choice: [16x1, 8x1]}\nmode: random\ntrials: 9\nbaselines: false\n"
    settings = "pack.format: int8, model.init: dense, model.hidden: 64, prune.kind: magnitude, prune.sparsity: 0.5"
    base = f"name: tiny\nbase: {{{settings}}}\n"
    with pytest.raises(ConfigError, match=r"tiny.yaml:4: prune.tile: got '8x1'"):
        plan(load(study_file(lines, base)))


@pytest.mark.parametrize("hidden", [64, 256, 512])
def test_small_dense_has_the_pruned_models_weights(hidden: int) -> None:
    def weights(h: int) -> int:
        return sum(m.shape[0] * m.shape[1] for m in VocoderShape(hidden=h).matrices().values())

    wanted = weights(hidden) - 0.7 * 3 * hidden**2
    best = min(range(8, hidden, 8), key=lambda h: abs(weights(h) - wanted))
    assert small_hidden(VocoderShape(hidden=hidden), 0.7) == best < hidden


def test_dry_run_rows_say_what_is_the_same(study_file: Write) -> None:
    study = load(study_file("arms: {a: {}, b: {}, c: {train.lr: 0.01}}\nbaselines: false\n"))
    rows = plan_rows(plan(study), [])
    assert [row["duplicate_of"] for row in rows] == [None, 0, None]
    assert rows[1]["estimate_s"] == 0.0
    assert rows[2]["train.lr"] == 0.01
    text = plan_text(study, StudyFolder(Path("runs/tiny")), rows, workers=1)
    assert "3 trials" in text
    assert "same as 0" in text


MIXED = """\
search:
  structure:
    choice:
      two-of-four: {prune.kind: magnitude, prune.scope: "2:4"}
      simd: {prune.kind: magnitude, prune.tile: 16x1}
  prune.sparsity: {choice: [0.5, 0.7]}
baselines: false
"""


def test_points_of_a_grid_that_cannot_exist_are_skipped_with_the_reason(study_file: Write) -> None:
    trials = plan(load(study_file(MIXED)))
    assert len(trials) == 4
    (skipped,) = (planned for planned in trials if planned.config is None)
    assert skipped.arm == "two-of-four-s70"
    assert skipped.skip == "prune.sparsity: got 0.7, but prune.scope '2:4' prunes exactly 0.5"
    named = "arms: {a: {prune.kind: magnitude, prune.scope: '2:4', prune.sparsity: 0.7}}\n"
    with pytest.raises(ConfigError, match=r"prunes exactly 0\.5"):  # asked for by name, it is a mistake
        plan(load(study_file(named)))
