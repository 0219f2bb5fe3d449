"""Pruners with calibration data in real arms: what they are given, units, N:M, several matrices."""

from typing import Any

import pytest
import torch
from test_arm import OPTIMISATION, task
from test_fit import clips, model

from bench.learn.arm import ArmPlan, ArmResult, Pruning, build_methods, train_arm
from bench.learn.calibration import BATCHES, second_moments
from bench.models.gru_op import plain_gru
from bench.sparsity import catalogue, surgeon
from bench.sparsity.tile import Tile

KINDS = ["second_order", "activation"]


def plan(kind: str, tile: str, sparsity: float, *matrices: str, **prune: Any) -> ArmPlan:
    options = catalogue.info("pruner", kind).complete({})
    pruning = Pruning(Tile.parse(tile), sparsity, kind, "one-shot", options=options, **prune)
    return ArmPlan(OPTIMISATION, matrices or ("gru.recurrent",), prune=pruning)


def run(arm: ArmPlan) -> ArmResult:
    start = model(clips())
    return train_arm(start, task(start), arm, seed=3)


def test_second_moments_are_of_what_each_matrix_meets() -> None:
    start = model(clips())
    data = task(start)
    found = second_moments(start, data, ["gru.w_hh", "gru.w_cond"])()
    assert set(found) == {"gru.w_hh", "gru.w_cond"}
    states_met, frames_met = [], []
    with torch.no_grad():
        for number in range(BATCHES):
            mel, previous, _ = (torch.from_numpy(x) for x in data.batches(10**6 + number))
            frames_met.append(start.cond((mel - start.mel_mean) / start.mel_std, False).reshape(-1, 16))
            cond = start.conditioning(mel, whole=False)
            states = plain_gru(previous, start.tables(), cond, start.gru.w_hh, start.gru.b_hh, torch.zeros(4, 32))
            states_met.append(torch.cat([torch.zeros(4, 1, 32), states[:, :-1]], dim=1).reshape(-1, 32))
    for key, met in (("gru.w_hh", states_met), ("gru.w_cond", frames_met)):
        x = torch.cat(met).double()
        torch.testing.assert_close(found[key], x.T @ x / len(x), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_units(kind: str) -> None:
    start = model(clips())
    arm = plan(kind, "unit", 0.7)
    _, pruner = build_methods(start, task(start), arm, 3)
    assert pruner is not None
    assert pruner.target.calibrate is not None
    before = {key: w.detach().clone() for key, w in pruner.target.weights.items()}
    moments = pruner.target.calibrate()
    assert set(moments) == {"gru.w_hh", "gru.w_embed", "gru.w_cond", "head.fc.weight"}
    pruner.begin()
    kept = pruner.kept
    assert kept is not None
    assert int(kept.sum()) == 18
    for key, w in pruner.target.weights.items():
        mask = pruner.masks[key]
        assert not w[~mask].any()
        assert bool(w[mask].all())
        live = mask.any(dim=1)
        error, plain = (
            surgeon.output_error((new.double() - before[key])[live], moments[key])
            for new in (w.detach(), before[key] * mask)
        )
        assert error <= plain * (1 + 1e-6)
        if kind == "second_order" and key in ("gru.w_hh", "head.fc.weight"):
            assert error < plain  # the remaining columns make up for the pruned ones
        else:
            assert kind == "second_order" or torch.equal(w.detach(), before[key] * mask)


@pytest.mark.parametrize("kind", KINDS)
def test_n_of_m(kind: str) -> None:
    mask = run(plan(kind, "1x1", 0.5, scope="2:4")).masks["gru.w_hh"]
    assert mask.reshape(96, 8, 4).sum(dim=2).eq(2).all()


@pytest.mark.parametrize("kind", KINDS)
def test_several_matrices(kind: str) -> None:
    result = run(plan(kind, "4x1", 0.6, "gru.recurrent", "head.fc", "head.out", scope="global"))
    assert set(result.masks) == {"gru.w_hh", "head.fc.weight", "head.out.weight"}
    assert ("prune" in result.facts) == (kind == "second_order")
    for key, mask in result.masks.items():
        assert not result.model.state_dict()[key][~mask].any()
