"""Snapshots of training: at the right steps, of the right weights, of every pruner, the same after a resumption."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_arm import OPTIMISATION, plan, run

from bench.learn.arm import ArmPlan, ArmResult
from bench.learn.snapshots import BINS, moments
from bench.sparsity import catalogue
from bench.sparsity.method import Phases

KEY, SIZE = "gru.w_hh", 96 * 32


def kept(result: ArmResult) -> Any:
    return np.unpackbits(result.snapshots.kept[KEY].numpy(), axis=1, count=SIZE).reshape(-1, 96, 32).astype(bool)


@pytest.mark.parametrize(
    ("phases", "expected"),
    [
        (Phases(40, 140, 200), [0, 40, 60, 80, 100, 120, 140, 200]),
        (Phases(0, 0, 200), [0, 200]),  # dense
        (Phases(40, 40, 200), [0, 40, 200]),  # at once
        (Phases(200, 200, 200), [0, 200]),  # offline
        (Phases(1, 3, 4), [0, 1, 2, 3, 4]),
    ],
)
def test_moments_are_the_start_the_way_and_the_end(phases: Phases, expected: list[int]) -> None:
    assert moments(phases) == expected


@pytest.mark.parametrize("kind", sorted(set(catalogue.names("pruner")) - {"none"}))
def test_every_pruner_leaves_a_trace(kind: str) -> None:
    arm = plan("16x1", 0.5)
    assert arm.prune is not None
    options = catalogue.info("pruner", kind).complete({})
    result = run(replace(arm, reg=None, prune=replace(arm.prune, kind=kind, options=options)))
    shots, facts = kept(result), result.snapshots.facts()
    assert facts["steps"] == moments(arm.phases) == [0, *range(4, 9), 12]
    assert shots[0].all()
    assert np.array_equal(shots[-1], (result.model.gru.w_hh != 0).numpy())
    assert not (shots[-1] & ~result.masks[KEY].numpy()).any()
    assert shots[-1].mean() < 0.75
    found = facts["matrices"][KEY]
    assert (found["shape"], found["gates"]) == ([96, 32], 3)
    assert found["zeros"] == [int(SIZE - shot.sum()) for shot in shots]
    assert {len(counts) for counts in found["counts"]} == {BINS}
    assert [zeros + sum(counts) for zeros, counts in zip(found["zeros"], found["counts"], strict=True)] == [SIZE] * 7


def test_histograms_are_those_of_numpy() -> None:
    result = run(plan(None))
    found = result.snapshots.facts()["matrices"][KEY]
    weights, limit = result.model.gru.w_hh.detach().numpy(), found["limit"]
    counts, _ = np.histogram(np.clip(weights, -limit, limit), BINS, (-limit, limit))
    assert np.abs(counts - found["counts"][-1]).sum() <= 4, "a weight on a bin's edge may fall to either side"


def test_looking_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = run(plan())
    monkeypatch.setattr("bench.learn.arm.moments", lambda phases: [0])
    unseen = run(plan())
    assert all(torch.equal(a, b) for a, b in zip(seen.model.parameters(), unseen.model.parameters(), strict=True))
    assert vars(seen.curves) == vars(unseen.curves)


@pytest.mark.parametrize("at", [3, 7, 11])
def test_an_interrupted_arm_has_the_same_snapshots(tmp_path: Path, at: int) -> None:
    def stop(step: int, bits: float) -> None:
        if step == at:
            raise KeyboardInterrupt

    arm = ArmPlan(OPTIMISATION, reg=plan().reg, prune=plan().prune, reg_steps=4, prune_steps=4, checkpoint_every=2)
    with pytest.raises(KeyboardInterrupt):
        run(arm, tmp_path, stop)
    whole, resumed = run(arm), run(arm, tmp_path)
    assert whole.snapshots.facts() == resumed.snapshots.facts()
    assert np.array_equal(kept(whole), kept(resumed))
