"""The rule for dominated trials: its confidence holds, it saves steps, and it stops nothing that a person named."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.config.load import from_dict
from bench.config.yaml_lines import ConfigError
from bench.trial.context import StopEarly
from studies.constraints import Limit, broken, excesses
from studies.early import Knowledge, hypervolume, replay, rule
from studies.folder import StudyFolder
from studies.rehearsal import light_trial
from studies.run import Options, run_study
from studies.stopping import LOOKS, DominatedRule, Finished, dominated, finished, lower_end
from studies.study_file import load

Write = Callable[..., Path]
STEPS = 100


def made_up(rng: np.random.Generator) -> Finished:
    """A trial whose curve falls towards its final NLL, which depends on sparsity and luck; its size is what is left."""
    sparsity = float(rng.uniform(0.3, 0.95))
    final = 3 + sparsity**2 + 0.3 * rng.exponential()
    curve = [final + 2 * math.exp(-6 * step / STEPS) + rng.normal(0, 0.05) for step in range(STEPS)]
    params = {"prune.sparsity": sparsity, "prune.tile": "16x1", "model.hidden": 64}
    return finished(params, curve, STEPS, (final + rng.normal(0, 0.02), 1 - sparsity), (1, 1))


def optimistic_nll(known: list[Finished], look: float, trial: Finished, confidence: float) -> float:
    x, y = np.stack([k.features[look] for k in known]), np.array([k.values[0] for k in known])
    return lower_end(x, y, trial.features[look], confidence)


def test_the_confidence_holds() -> None:
    rng = np.random.default_rng(5)
    below, count = 0, 0
    for _ in range(20):
        known = [made_up(rng) for _ in range(24)]
        for _ in range(20):
            trial = made_up(rng)
            below += trial.values[0] < optimistic_nll(known, LOOKS[0], trial, 0.9)
            count += 1
    assert below / count <= 0.1 + 3 * math.sqrt(0.1 * 0.9 / count)


def test_it_saves_steps_and_keeps_the_front() -> None:
    rng = np.random.default_rng(6)
    found = replay([made_up(rng) for _ in range(120)], 0, 0.8)
    assert found.saved > 0.3
    assert found.hypervolume > 0.99


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from((0.6, 0.8, 0.9)))
def test_what_is_stopped_is_dominated_in_what_is_known(seed: int, confidence: float) -> None:
    rng = np.random.default_rng(seed)
    known, trial = [made_up(rng) for _ in range(30)], made_up(rng)
    better = dominated(known, 0.5, trial.features[0.5], trial.shape, 0, confidence)
    if better is not None:
        assert known[better].values[1] <= trial.values[1], "its size is known exactly"
        assert known[better].values[0] <= optimistic_nll(known, 0.5, trial, 1 - (1 - confidence) / 3)


def test_nobody_is_stopped_on_too_little() -> None:
    rng = np.random.default_rng(7)
    known, trial = [made_up(rng) for _ in range(5)], made_up(rng)
    assert optimistic_nll(known, 0.25, trial, 0.9) == -math.inf
    assert dominated(known, 0.25, trial.features[0.25], trial.shape, 0, 0.9) is None


def test_a_hopeless_trial_is_stopped_at_a_look_and_says_why() -> None:
    rng = np.random.default_rng(8)
    known = [(f"trial {n}", made_up(rng)) for n in range(40)]
    params = {"prune.sparsity": 0.5, "prune.tile": "16x1", "model.hidden": 64}
    asked = DominatedRule(lambda: known, params, STEPS, 0, 0.8)
    for step in range(1, 25):
        asked(step, 9.0)
    with pytest.raises(StopEarly, match=r"dominated after 25 of 100 steps: with 80% confidence .* trial \d+"):
        asked(25, 9.0)
    resumed = DominatedRule(lambda: known, params, STEPS, 0, 0.8)
    for step in range(24, 30):
        resumed(step, 9.0)


def test_a_trial_that_tries_several_values_runs_to_its_end(study_file: Write, tmp_path: Path) -> None:
    study = load(study_file("arms: {a: {}}\nstop_dominated: 0.8\n"))
    known = Knowledge(study, StudyFolder(tmp_path), None)  # type: ignore[arg-type]  # no trial is looked up
    assert rule(study, from_dict({}), known) is not None
    assert rule(study, from_dict({"tune": {"size": 3}}), known) is None


def test_hypervolume_of_known_points() -> None:
    assert hypervolume(np.array([[0.0, 1.0], [1.0, 0.0]]), (2.0, 2.0)) == 3.0


def test_limits_in_numbers_and_words() -> None:
    limits = (Limit("speed.rtf", high=0.1), Limit("speed.vs_dense", low=2))
    metrics = {"speed.rtf": 0.12, "speed.vs_dense": 3.0}
    assert excesses(limits, metrics) == {"speed.rtf": pytest.approx(0.02), "speed.vs_dense": -1.0}
    assert broken(limits, metrics) == "speed.rtf must be at most 0.1, got 0.12"
    assert excesses(limits, {"speed.rtf": None}) == {}


def test_a_constraint_makes_arms_infeasible_but_no_baseline(
    study_file: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANEWISE_REHEARSAL", "1")
    arms = """\
arms:
  dense-continued: {}
  half: {prune.kind: magnitude, prune.tile: 16x1, prune.sparsity: 0.5}
  most: {prune.kind: magnitude, prune.tile: 16x1, prune.sparsity: 0.9}
baselines: false
constraints: {speed.rtf: {max: 0.2}}
"""
    folder = StudyFolder(tmp_path / "run")
    rows = run_study(load(study_file(arms)), folder, Options(tracking_uri="none"), runner=light_trial)
    assert [row.state for row in rows] == ["complete", "infeasible", "complete"]
    assert rows[1].reason == "speed.rtf must be at most 0.2, got 0.3"
    assert rows[1].values is not None, "the sampler learns from it"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("constraints: {speed.rft: {max: 1}}", "did you mean 'speed.rtf'"),
        ("constraints: {speed.rtf: 0.1}", "expected {max: 0.1}"),
        ("constraints: [1]", "expected for example"),
        ("stop_dominated: 80", "expected a confidence"),
    ],
)
def test_errors_point_at_the_line(study_file: Write, lines: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(study_file("arms: {a: {}}\n" + lines + "\n"))
