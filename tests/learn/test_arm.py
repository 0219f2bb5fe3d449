"""Arms: budgets, masks that hold, monotone pruning, resumption, milestones."""

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_fit import ARCH, clips, model
from torch import nn

from bench.learn.arm import ArmPlan, ArmResult, Pruning, Regularization, train_arm
from bench.learn.fit import Optimisation
from bench.learn.task import Task, vocoder
from bench.models.wavernn import SubbandWaveRNN
from bench.sparsity import catalogue
from bench.sparsity.count import kept_count
from bench.sparsity.tile import Tile

OPTIMISATION = Optimisation(12, rate=1e-3, warmup=2)


def plan(tile: str | None = "16x1", sparsity: float = 0.7, kind: str = "magnitude", schedule: str = "cubic") -> ArmPlan:
    reg = lasso(tile, "controlled") if tile else None
    prune = Pruning(Tile.parse(tile), sparsity, kind, schedule) if tile else None  # type: ignore[arg-type]
    return ArmPlan(OPTIMISATION, reg=reg, prune=prune, reg_steps=4, prune_steps=4, validate_every=6)


def lasso(tile: str, strength: float | str) -> Regularization:
    options = {"form": "proximal", "lambda": strength, "target": 0.3}
    return Regularization(Tile.parse(tile), options=options)


def task(start: SubbandWaveRNN, seed: int = 3) -> Task:
    data = clips()
    return vocoder(start, data, data[:1], batch=4, frames=3, seed=seed)


def run(arm: ArmPlan, folder: Path | None = None, on_step: Any = None, seed: int = 3) -> ArmResult:
    start = model(clips())
    return train_arm(start, task(start, seed), arm, seed=seed, checkpoint_dir=folder, on_step=on_step)


@pytest.mark.parametrize("tile", ["1x1", "16x1", "8x1", "1x8", "column"])
@pytest.mark.parametrize("kind", ["magnitude", "random"])
@pytest.mark.parametrize("schedule", ["cubic", "one-shot"])
def test_prunes_exactly_and_keeps_the_masks(tile: str, kind: str, schedule: str) -> None:
    result = run(plan(tile, 0.7, kind, schedule))
    mask = result.masks["gru.w_hh"]
    grid = Tile.parse(tile).grid((96, 32), 3)
    assert int(grid.reduce(mask).sum()) == kept_count(grid.n_groups, 0.7)
    assert not result.model.gru.w_hh[~mask].any()
    assert result.tiles == {"gru.w_hh": tile}
    assert len(result.curves.step) == 12
    assert all(np.diff(result.curves.sparsity) >= 0)
    assert set(result.milestones) == {"start", "penalised", "pruned", "recovered"}
    assert result.curves.lam[-1] == 0.0


@pytest.mark.parametrize(("kind", "schedule"), [("magnitude", "one-shot"), ("rigl", "cubic"), ("unify", "cubic")])
def test_the_penalty_is_judged_before_anything_is_pruned(kind: str, schedule: str) -> None:
    arm = plan("16x1", 0.7, kind, schedule)
    options = catalogue.info("pruner", kind).complete({})
    assert arm.prune is not None
    pruned = run(replace(arm, prune=replace(arm.prune, options=options)))
    only = run(replace(arm, prune=None))
    assert pruned.milestones["penalised"] == only.milestones["penalised"]
    assert pruned.milestones["pruned"] != pruned.milestones["penalised"]


def test_dense_arm_has_no_masks_and_the_same_batches() -> None:
    result = run(plan(None))
    assert result.masks == {}
    assert result.lambda_ is None
    assert result.curves.train_loss[0] == run(plan("1x1")).curves.train_loss[0]


def test_several_matrices_share_what_is_asked() -> None:
    arm = ArmPlan(
        OPTIMISATION, ("gru.recurrent", "head.fc"), None, Pruning(Tile.parse("8x1"), 0.5, scope="global"), 0, 4
    )
    masks = run(arm).masks
    assert set(masks) == {"gru.w_hh", "head.fc.weight"}
    tiles = [
        int(Tile.parse("8x1").grid(tuple(m.shape), g).reduce(m).sum())
        for m, g in zip(masks.values(), (3, 1), strict=True)
    ]
    assert sum(tiles) == kept_count(96 * 32 // 8 + 16 * 32 // 8, 0.5)


def test_interrupted_arm_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    whole = run(plan())

    def stop(step: int, bits: float) -> None:
        if step == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(plan(), tmp_path, stop)
    resumed = run(plan(), tmp_path)
    assert torch.equal(whole.masks["gru.w_hh"], resumed.masks["gru.w_hh"])
    for a, b in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(a, b)
    assert vars(whole.curves) == vars(resumed.curves)
    assert whole.milestones == resumed.milestones


def test_seed_and_data_change_the_result() -> None:
    first, other = run(plan()), run(plan(), seed=4)
    assert first.curves.train_loss != other.curves.train_loss
    assert ARCH.hidden == first.model.arch.hidden


def test_regularizer_raises_group_sparsity_before_pruning() -> None:
    result = run(ArmPlan(OPTIMISATION, reg=lasso("16x1", 40.0), reg_steps=12))
    norms = Tile.parse("16x1").grid((96, 32), 3).norms(result.model.gru.w_hh.detach())
    assert float((norms == 0).double().mean()) > 0.2
    assert result.lambda_ is not None


def test_interrupted_during_a_validation_the_arm_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    whole = run(plan())
    start = model(clips())
    plain = task(start)
    calls = 0

    def interrupted(model: nn.Module) -> float:
        nonlocal calls
        calls += 1
        if calls == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return plain.validate(model)

    with pytest.raises(KeyboardInterrupt):
        train_arm(start, replace(plain, validate=interrupted), plan(), seed=3, checkpoint_dir=tmp_path)
    assert calls == 3
    resumed = run(plan(), tmp_path)
    assert vars(whole.curves) == vars(resumed.curves)
    assert whole.milestones == resumed.milestones
