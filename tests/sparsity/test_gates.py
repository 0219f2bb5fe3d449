"""Learned gates: thresholds and hard concrete gates against plain computations, their control, their baking."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import parametrize

from bench.learn.arm import Pruning
from bench.sparsity.balance import Balance
from bench.sparsity.count import kept_count
from bench.sparsity.draws import generator
from bench.sparsity.gates import GatedPruner
from bench.sparsity.groups import TileGroups
from bench.sparsity.methods.hard_concrete import BETA, GAMMA, ZETA, HardConcrete
from bench.sparsity.methods.threshold import Threshold
from bench.sparsity.tile import Tile

from .arms import PRUNE, Lstm, assert_same, interrupted, plan, target, train
from .strategies import seeds

KINDS: dict[str, type[GatedPruner]] = {"threshold": Threshold, "hard_concrete": HardConcrete}
RATE = 1e-2
kinds = pytest.mark.parametrize("kind", KINDS)


def made(kind: str, **options: Any) -> tuple[nn.Module, Any]:
    model, what = target(kind, **options)
    method = KINDS[kind](what)
    method.ready(0)
    return model, method


def groups_of(method: GatedPruner) -> TileGroups:
    groups = method.target.groups
    assert isinstance(groups, TileGroups)
    return groups


def open_some(method: GatedPruner, seed: int) -> None:
    """Move the gates about."""
    generator = torch.Generator().manual_seed(seed)
    stored = method.gates.stored
    with torch.no_grad():
        low, high = (-4.0, 4.0) if isinstance(method, HardConcrete) else (0.6, 1.1)
        drawn = low + (high - low) * torch.rand(stored.shape, generator=generator)
        stored.copy_(drawn / method.gates.pace)


@given(st.sampled_from(list(KINDS)), st.sampled_from(["1x1", "4x1", "3x2", "column"]), seeds)
@settings(max_examples=20)
def test_the_network_computes_with_weights_times_factors(kind: str, tile: str, seed: int) -> None:
    model, method = made(kind, tile=tile, seed=seed)
    open_some(method, seed)
    model.eval()
    factors = method.target.groups.expand(method.gates.factors().detach())
    plain = Lstm()
    raw = {key.replace("parametrizations.", "").replace(".original", ""): v for key, v in model.named_parameters()}
    plain.load_state_dict({key: raw[key].detach() * factors.get(key, 1) for key in plain.state_dict()})
    x = torch.randn(2, 5, 6)
    torch.testing.assert_close(model(x), plain(x))


def test_a_threshold_is_a_step_with_the_slope_of_a_sigmoid() -> None:
    _, method = made("threshold", tile="4x1", width=0.5)
    open_some(method, 3)
    gates, groups = method.gates, groups_of(method)
    rms = groups.rms(method.target.weights).detach()
    scale = torch.cat(
        [torch.full((part.stop - part.start,), float(rms[part].median())) for part in groups.parts.values()]
    )
    value = (gates.stored.detach() * gates.pace)[method.layer]
    over = rms / scale - value
    assert torch.equal(gates.factors(), (over >= 0).float())
    assert 0 < int(gates.factors().sum()) < groups.n
    upstream = torch.randn(groups.n)
    (slope,) = torch.autograd.grad(gates.factors(), gates.stored, upstream)
    soft = torch.sigmoid(over / 0.5)
    per_group = -upstream * soft * (1 - soft) / 0.5
    expected = [float(per_group[part].sum()) for part in groups.parts.values()]
    assert slope.tolist() == pytest.approx(expected, rel=1e-4)
    torch.testing.assert_close(gates.taus()[method.layer], value * scale)


def test_the_threshold_penalty_and_its_gradient() -> None:
    _, method = made("threshold", tile="4x1", **{"lambda": 0.3})
    open_some(method, 3)
    weights, groups = method.target.weights, groups_of(method)
    norms, over = groups.norms(weights), method.gates.factors().detach() > 0
    assert method.penalty(0).item() == pytest.approx(0.3 * float((2 * norms)[over].sum().detach()), rel=1e-5)
    # the straight-through gradient is that of the penalty with r = 1 or 0 held, plus slope * penalty of the group
    gradient = torch.autograd.grad(method.penalty(0), list(weights.values()))
    rms = groups.rms(weights)
    scale = method.gates.scale[method.layer]
    soft = torch.sigmoid((rms / scale - method.gates.values()[method.layer]) / method.gates.width).detach()
    surrogate = (
        over.float() * 2 * norms + soft * (1 - soft) / method.gates.width * rms / scale * 2 * norms.detach()
    ).sum()
    for ours, theirs in zip(gradient, torch.autograd.grad(0.3 * surrogate, list(weights.values())), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_hard_concrete_gates_are_those_of_the_paper() -> None:
    _, method = made("hard_concrete", tile="1x1", prior=0.0)
    open_some(method, 1)
    gates = method.gates
    alpha = gates.values().detach().double()
    gates.train()
    gates.draw(5, 7)
    u = torch.rand(len(alpha), generator=generator(5, "gates of step 7"), dtype=torch.float64)
    s = torch.sigmoid((u.log() - (1 - u).log() + alpha) / BETA)
    torch.testing.assert_close(
        gates.factors().detach().double(), (s * (ZETA - GAMMA) + GAMMA).clamp(0, 1), rtol=1e-4, atol=1e-5
    )
    gates.eval()
    expected = (torch.sigmoid(alpha) * (ZETA - GAMMA) + GAMMA).clamp(0, 1)
    torch.testing.assert_close(gates.factors().detach().double(), expected, rtol=1e-5, atol=1e-6)


def test_the_share_of_open_gates_is_the_probability_in_the_penalty() -> None:
    _, method = made("hard_concrete", tile="1x1", start=-1.0, prior=0.0, **{"lambda": 2.0})
    method.gates.train()
    opened = []
    for step in range(30):
        method.gates.draw(0, step)
        opened.append(float((method.gates.factors().detach() > 0).float().mean()))
    present = method.gates.present().detach()
    assert np.mean(opened) == pytest.approx(float(present.mean()), abs=0.01)
    assert method.penalty(0).item() == pytest.approx(2.0 * float(present.mean()), rel=1e-5)


def test_the_hard_concrete_penalty_counts_weights_and_its_gradient_is_right() -> None:
    _, method = made("hard_concrete", tile="3x2", **{"lambda": 2.0})  # with remainders: groups of unequal size
    open_some(method, 2)
    sizes = groups_of(method).sizes.double()
    stored = method.gates.stored.detach().double()

    def slow(stored: Tensor) -> Tensor:
        present = torch.sigmoid(stored * method.gates.pace - BETA * math.log(-GAMMA / ZETA))
        return 2.0 * (present * sizes).sum() / sizes.sum()

    assert method.penalty(0).item() == pytest.approx(float(slow(stored)), rel=1e-5)
    (ours,) = torch.autograd.grad(method.penalty(0), method.gates.stored)
    theirs = torch.autograd.functional.jacobian(slow, stored) / method.gates.pace  # the unit is left out on purpose
    torch.testing.assert_close(ours.double(), theirs, rtol=1e-4, atol=1e-9)


@kinds
@given(
    st.sampled_from(["1x1", "4x1", "3x2", "column", "row"]),
    st.sampled_from([0.0, 0.3, 0.55, 0.9, 1.0]),
    st.sampled_from(["matrix", "global", "gate"]),
    seeds,
)
@settings(max_examples=20)
def test_settles_on_exact_counts_and_plain_weights(
    kind: str, tile: str, sparsity: float, scope: str, seed: int
) -> None:
    model, method = made(kind, tile=tile, sparsity=sparsity, scope=scope, seed=seed)
    open_some(method, seed)
    weights = method.target.weights
    before = {key: weight.detach().clone() for key, weight in weights.items()}
    scores, factors = method.scores(), method.gates.settled().detach()
    method.after_step(7, RATE)
    groups = groups_of(method)
    for budget in groups.budgets():
        assert int(method.kept[budget.groups].sum()) == kept_count(budget.size, sparsity)
    assert torch.equal(groups.keep(scores, sparsity), method.kept)
    spread = groups.expand(factors)
    for key, weight in model.named_parameters():
        assert "parametrizations" not in key
        if key in weights:
            assert weight is weights[key]
            torch.testing.assert_close(weight.detach(), before[key] * spread[key] * method.masks[key])
    assert not any(parametrize.is_parametrized(module) for module in model.modules())
    x = torch.randn(2, 5, 6)
    plain = Lstm()
    plain.load_state_dict(model.state_dict())
    assert torch.equal(plain(x), model(x))
    method.after_step(8, RATE)
    assert method.penalty(8) is None


@kinds
def test_ties_and_a_kept_diagonal(kind: str) -> None:
    key = "lstm.weight_hh_l0"
    _, method = made(kind, tile="1x1", sparsity=0.8, keep_diagonal=[key], end=0)
    with torch.no_grad():
        for weight in method.target.weights.values():
            weight.fill_(0.1)
        if kind == "hard_concrete":
            method.gates.stored.fill_(0.5)
    method.begin()
    eye = torch.eye(16, dtype=torch.bool).repeat(4, 1)
    assert bool(method.masks[key][eye].all())
    rest = ~eye.flatten()
    first = method.masks[key].flatten()[rest]
    assert bool(first[: int(first.sum())].all())  # among equals the first


@kinds
def test_layers_share_a_lambda_if_they_share_a_budget(kind: str) -> None:
    assert len(made(kind, scope="global")[1].lams) == 1
    assert len(made(kind, scope="matrix")[1].lams) == 2
    assert len(made(kind, scope="gate")[1].lams) == 2


def test_balance() -> None:
    balance = Balance(gain=10.0, limit=1.0, inertia=2.0)
    one = torch.ones(2)
    present = torch.tensor([0.5, 0.45])
    lams = balance.update(6 * one, 2 * one, 0.5 * one, present)
    assert lams.tolist() == pytest.approx([3.0, 3 * math.exp(0.5)])
    lams = balance.update(6 * one, 2 * one, 0.5 * one, present + 0.01)  # 0.02 further by the time that it matters
    assert lams.tolist() == pytest.approx([3 * math.exp(-0.3), 3 * math.exp(0.2)])
    assert balance.update(6 * one, 2 * one, one, present).tolist() == pytest.approx([3 * math.e] * 2)
    assert Balance().update(one, 0 * one, one, present).tolist() == [0.0, 0.0]


@kinds
def test_what_is_pruned_follows_the_schedule(kind: str) -> None:
    """Long enough for Adam, on the vocoder: at the end the gates have pruned about what is then cut exactly."""
    steps, prune = 90, 80
    arm = plan("vocoder", Pruning(Tile.parse("8x1"), 0.6, kind), steps, prune)
    facts = train("vocoder", arm).facts["prune"]
    assert facts["layers"] == ["gru.w_hh", "head.fc.weight"]
    assert facts["step"] == list(range(1, prune + 1))
    assert np.array(facts["pruned"])[-1] == pytest.approx([0.6, 0.6], abs=0.15)
    assert np.array(facts["pruned"])[0] == pytest.approx([0, 0], abs=0.1)
    assert (np.array(facts["lambda"])[1:] > 0).all()


@kinds
@pytest.mark.parametrize(
    ("task", "tile", "scope"),
    [
        ("vocoder", "4x1", "matrix"),
        ("vocoder", "4x1", "global"),
        ("vocoder", "1x4", "2:4"),
        ("vocoder", "unit", "matrix"),
        ("lstm", "4x1", "matrix"),
        ("lstm", "4x1", "global"),
    ],
)
def test_an_interrupted_arm_ends_as_an_undisturbed_one(
    kind: str, task: str, tile: str, scope: str, tmp_path: Path
) -> None:
    sparsity = 0.5 if scope == "2:4" else 0.6
    arm = plan(task, Pruning(Tile.parse(tile), sparsity, kind, scope=scope))
    whole = train(task, arm)
    assert_same(whole, interrupted(task, arm, tmp_path, 1, 5, PRUNE, PRUNE + 2))
    assert whole.curves.sparsity[-1] == pytest.approx(sparsity, abs=0.03)
    assert whole.curves.lam[PRUNE - 1] > 0
    assert whole.milestones["start"] == train(task, replace(arm, prune=None, prune_steps=0)).milestones["start"]
    assert whole.curves.lam[-1] == 0
    for key, mask in whole.masks.items():
        assert not whole.model.get_parameter(key)[~mask].any()


@kinds
def test_gates_rest_until_pruning_begins(kind: str) -> None:
    late = KINDS[kind]
    _, what = target(kind)
    object.__setattr__(what, "phases", type(what.phases)(4, 8, 12))
    method = late(what)
    method.begin()
    assert method.penalty(3) is None
    assert not method.gates.stored.requires_grad
    method.after_step(2, RATE)
    assert not method.gates.stored.requires_grad
    method.after_step(3, RATE)
    assert method.gates.stored.requires_grad
    assert method.penalty(4) is not None
