"""Study files: what is read, what is laid over it, and how errors point at the line that was written."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.config.yaml_lines import ConfigError
from bench.errors import UsageError
from studies.plan import plan
from studies.study_file import MARGINS, Study, load

Write = Callable[..., Path]
ARMS = """\
arms:
  dense-continued: {}
  simd: {reg.kind: group_lasso, prune.kind: magnitude, prune.tile: 16x1, prune.sparsity: 0.7}
baselines: false
"""


def values(study: Study) -> dict[str, object]:
    return {key: leaf.value for key, leaf in study.base.items()}


def test_nested_and_dotted_settings_are_the_same(study_file: Write) -> None:
    nested = load(study_file(ARMS))
    dotted = load(
        study_file(
            ARMS, "name: tiny\nbase: {model.init: dense, model.hidden: 64, train.steps: 20, train.dense_steps: 20}\n"
        )
    )
    assert values(nested) == values(dotted)
    assert nested.fingerprint() == dotted.fingerprint()


def test_defaults(study_file: Write) -> None:
    study = load(study_file(ARMS))
    assert study.objectives == ("valid.loss", "speed.rtf")
    assert study.directions == ["minimize", "minimize"]
    assert study.margins == MARGINS["vocoder"]
    assert study.recover_seeds == (0,)
    assert not study.sampled


@pytest.mark.parametrize(
    ("lines", "line", "said"),
    [
        (ARMS + "margin: {nll_bits: 0.1}\n", 9, "margin: unknown key; did you mean 'margins'?"),
        (ARMS + "seeds: {recovery: [1]}\n", 9, "seeds.recovery: unknown key; did you mean 'recover'?"),
        (ARMS + "seeds: {recover: [1, 1]}\n", 9, "expected different whole numbers"),
        (ARMS + "mode: tp\n", 9, "got 'tp', expected one of factorial, random, tpe, nsga2; did you mean 'tpe'?"),
        (ARMS + "mode: tpe\n", 9, "samples from `search:`, which is missing"),
        (ARMS + "objectives: [quality.nll_bits]\n", 9, "test scores choose nothing"),
        (ARMS + "objectives: [size.compression]\n", 9, "task 'vocoder' does not measure it"),
        (ARMS + "constraints: {speed.frame_us: {max: 9}}\n", 9, "no constraint can be on this"),
        (ARMS + "search: {task: {choice: [vocoder, enhancer]}}\n", 9, "tasks are not compared"),
        (ARMS + "objectives: [speed.rft]\n", 9, "did you mean 'speed.rtf'?"),
        (ARMS + "trials: 0\n", 9, "expected a whole number of at least 1"),
        (ARMS + "margins: {nll_bits: none}\n", 9, "expected a number above 0"),
        (ARMS + "search: {prune.sparsity: {choise: [0.5]}}\n", 9, "did you mean 'choice'?"),
        (ARMS + "search: {prune.sparsity: {float: [0.9, 0.5]}}\n", 9, "two numbers, low < high"),
        (ARMS + "search: {reg.lambda: {log: [0, 1]}}\n", 9, "two numbers above 0"),
        (ARMS + "search: {prune.sparsity: {float: [0.5, 0.9]}}\n", 9, "has no grid"),
        (ARMS + "search: {prune.sparsity: {choice: [0.5, 0.5]}}\n", 9, "each choice may stand once"),
        ("arms: {a: {prune.tile: 16x1, prune: {tile: 8x1}}}\n", 5, "prune.tile is set twice"),
        ("arms: {a: {arm: b}}\n", 5, "an arm's name is its key"),
        ("baselines: maybe\narms: {a: {}}\n", 5, "expected true or false"),
        ("arms: {a: {}}\nfast: 3\n", None, None),
    ],
)
def test_errors_name_the_line(study_file: Write, lines: str, line: int | None, said: str | None) -> None:
    path = study_file(lines)
    if said is None:
        load(path)
        return
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert caught.value.exit_code == 2
    matching = [problem for problem in caught.value.problems if said in str(problem)]
    assert matching, str(caught.value)
    assert str(matching[0]).startswith(f"{path}:{line}: ")


@pytest.mark.parametrize(
    ("lines", "line", "said"),
    [
        ("arms:\n  a: {}\n  b: {prune.tyle: 16x1}\n", 7, "prune.tyle: unknown key; did you mean 'tile'?"),
        ("arms:\n  a:\n    prune:\n      kind: magnitud\n", 8, "did you mean 'magnitude'?"),
        ("arms:\n  a: {prune.kind: magnitude, prune.sparsity: 1.5}\n", 6, "prune.sparsity: got 1.5"),
        ("search:\n  prune.sparsity: {choice: [0.5, 7]}\n", 6, "prune.sparsity: got 7"),
        ("arms:\n  bad name: {}\n", 6, "arm: got 'bad name'"),
    ],
)
def test_trial_settings_are_checked_at_their_line(study_file: Write, lines: str, line: int, said: str) -> None:
    path = study_file(lines + "baselines: false\n")
    with pytest.raises(ConfigError) as caught:
        plan(load(path))
    matching = [problem for problem in caught.value.problems if said in str(problem)]
    assert matching, str(caught.value)
    assert str(matching[0]).startswith(f"{path}:{line}: ")


def test_all_problems_at_once_and_a_base_problem_once(study_file: Write) -> None:
    path = study_file(ARMS + "margin: 1\nmode: x\n")
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert len(caught.value.problems) == 2
    path = study_file(ARMS, "name: tiny\nbase: {model.init: dense, train.stepz: 3}\n")
    with pytest.raises(ConfigError) as caught:
        plan(load(path))
    assert len(caught.value.problems) == 1, str(caught.value)


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (
            "arms:\n  a: {prune.tyle: 16x1}\n  b: {prune.kind: magnitude, prune.tile: 512x1, prune.sparsity: 0.5}\n"
            "margin: 1\nmode: x\n",
            [(6, "unknown key"), (7, "larger than one gate"), (8, "unknown key"), (9, "expected one of")],
        ),
        (
            "arms:\n  a: {prune.kind: magnitude, prune: {kind: random}}\n  b: {train.lr: 7}\nseeds: {recover: [x]}\n",
            [(6, "set twice"), (7, "train.lr: got 7"), (8, "different whole numbers")],
        ),
        (
            "arms:\n  a: {prune.sparsity: 0.5}\nsearch:\n  prune.sparsity: {choice: [0.5, 7]}\n",
            [(6, "prune.kind is 'none'"), (8, "prune.sparsity: got 7")],
        ),
        (  # no complaint that an arm or an axis lacks what stands in its own broken part
            "arms:\n  a: 3\nsearch:\n  prune.sparsity: {choise: [0.5]}\n"
            "base: {model.init: dense, prune.kind: magnitude}\n",
            [(3, "trial settings"), (5, "expected one of")],
        ),
    ],
)
def test_structure_and_settings_are_checked_in_one_round(
    study_file: Write, lines: str, found: list[tuple[int, str]]
) -> None:
    own_base = "name: tiny\n" if "base:" in lines else None
    path = study_file(lines, own_base) if own_base else study_file(lines + "baselines: false\n")
    with pytest.raises(ConfigError) as caught:
        plan(load(path))
    told = [(problem.origin.line, problem.message) for problem in caught.value.problems]
    assert len({line for line, _ in told}) == len(found), str(caught.value)
    for line, said in found:
        assert any(
            at == line and said in str(problem) for problem in caught.value.problems for at in [problem.origin.line]
        )


def test_what_is_laid_over_is_checked_in_the_same_round(study_file: Write) -> None:
    with pytest.raises(ConfigError) as caught:
        load(study_file(ARMS + "mode: x\nfast: {bass: {}}\n"), ["train.steps"], fast=True)
    assert len(caught.value.problems) == 3, str(caught.value)


def test_set_overrides_base_and_study(study_file: Write) -> None:
    path = study_file(ARMS + "seeds: {recover: [1]}\n")
    study = load(path, ["train.steps=7", "seeds.recover=[4, 5]", "arms.simd.prune.sparsity=0.9"])
    assert values(study)["train.steps"] == 7
    assert study.recover_seeds == (4, 5)
    assert study.arms["simd"]["prune.sparsity"].value == 0.9
    assert values(load(path))["train.steps"] == 20


def test_set_of_a_section_keeps_its_other_settings(study_file: Write) -> None:
    path = study_file(ARMS, "name: tiny\nbase: {measure: {test_clips: 24, valid_clips: 12}, train.steps: 20}\n")
    study = load(path, ["measure={test_clips: 6, metrics: [estoi]}", "arms.simd.train={steps: 30}"])
    wanted = {"measure.test_clips": 6, "measure.valid_clips": 12, "measure.metrics": ["estoi"]}
    assert {key: values(study)[key] for key in wanted} == wanted
    assert study.arms["simd"]["train.steps"].value == 30
    path.write_text(study.text(), encoding="utf-8")
    assert values(load(path)) == values(study)


def test_set_that_an_arm_would_undo_is_refused(study_file: Write) -> None:
    with pytest.raises(ConfigError, match=r"arms set this key themselves \(simd\)"):
        load(study_file(ARMS), ["prune.sparsity=0.9"])


def test_set_errors_name_the_assignment(study_file: Write) -> None:
    with pytest.raises(ConfigError, match=r"--set train.steps=0: train.steps: got 0"):
        plan(load(study_file(ARMS), ["train.steps=0"]))


def test_fast_lays_over(study_file: Write) -> None:
    fast = "fast:\n  base: {train: {steps: 3}}\n  arms: [simd]\n  seeds: {recover: [9]}\n"
    path = study_file(ARMS + fast)
    study = load(path, fast=True)
    assert study.name == "tiny-fast"
    assert values(study)["train.steps"] == 3
    assert values(study)["model.hidden"] == 64
    assert list(study.arms) == ["simd"]
    assert study.recover_seeds == (9,)
    assert load(path).name == "tiny"


def test_fast_errors(study_file: Write) -> None:
    with pytest.raises(ConfigError, match="no fast form"):
        load(study_file(ARMS), fast=True)
    with pytest.raises(ConfigError, match="no arm 'simt'; did you mean 'simd'"):
        load(study_file(ARMS + "fast: {arms: [simt]}\n"), fast=True)
    with pytest.raises(ConfigError, match=r"fast\.bass: unknown key; did you mean 'base'"):
        load(study_file(ARMS + "fast: {bass: {}}\n"), fast=True)


def test_set_keeps_the_arms_that_it_lists(study_file: Write) -> None:
    path = study_file(ARMS + "fast: {arms: [simd]}\n")
    names = list(load(path).arms)
    others = [name for name in names if name != "simd"]
    assert others
    assert list(load(path, [f"arms=[{others[0]}]"]).arms) == others[:1]
    assert list(load(path, [f"arms=[simd, {others[0]}]"], fast=True).arms) == [
        n for n in names if n in (others[0], "simd")
    ]
    changed = load(path, ["arms.simd.prune.sparsity=0.9", "arms=[simd]"], fast=True)
    assert changed.arms["simd"]["prune.sparsity"].value == 0.9
    with pytest.raises(ConfigError, match=r"--set arms=\[simt\]: arms: no arm 'simt'; did you mean 'simd'"):
        load(path, ["arms=[simt]"])


def test_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load(tmp_path / "none.yaml")


@pytest.mark.parametrize("name", ["demo", "paper", "search", "methods", "scaling", "enhancement"])
def test_shipped_studies_are_valid(name: str) -> None:
    path = Path(__file__).parents[2] / "studies" / f"{name}.yaml"
    for fast in (False, True) if name != "demo" else (False,):
        trials = plan(load(path, fast=fast))
        assert all(planned.config or planned.skip or planned.arm is None for planned in trials)


@pytest.mark.parametrize("base", ["base:\n", "base: [1]\n"])
def test_a_base_that_is_no_section_is_no_traceback(study_file: Write, base: str) -> None:
    path = study_file(ARMS, f"name: tiny\n{base}")
    if "[" in base:
        with pytest.raises(ConfigError, match="expected trial settings"):
            load(path)
    else:
        assert load(path).task == "vocoder"


def test_baselines_of_a_study_that_rewinds_have_nothing_to_rewind(study_file: Write) -> None:
    base = "name: tiny\nbase: {model.init: dense, recover.kind: rewind, prune.kind: magnitude, prune.sparsity: 0.5}\n"
    kinds = {
        planned.arm: planned.config.recover.kind
        for planned in plan(load(study_file("arms: {a: {}}\n", base)))
        if planned.config
    }
    assert kinds.pop("dense-continued") == kinds.pop("small-dense") == "finetune"
    assert set(kinds.values()) == {"rewind"}
    assert len(kinds) == 2
