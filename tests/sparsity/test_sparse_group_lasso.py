"""Sparse group Lasso: penalty, steps, the pull that zeroes a group, and lambda controlled on it."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from bench.errors import UsageError
from bench.learn.arm import ArmPlan, Regularization, build_methods, train_arm
from bench.learn.fit import Optimisation
from bench.sparsity import catalogue
from bench.sparsity.grid import Grid
from bench.sparsity.groups import TileGroups
from bench.sparsity.regularizer import GroupLasso
from bench.sparsity.sparse_group import SparseGroupLasso
from bench.sparsity.tile import Tile

from .arms import speech
from .strategies import grids, seeds, weights

alphas = st.sampled_from([0.0, 0.2, 0.5, 0.9])
strengths = st.sampled_from([0.0, 0.3, 4.0, 30.0])
LR = 0.1


def groups(grid: Grid) -> TileGroups:
    return TileGroups({"w": grid.shape}, grid.tile, {"w": grid.gates})


def blocks(grid: Grid, w: Tensor) -> list[Tensor]:
    return [w[grid.bounds(g)] for g in range(grid.n_groups)]


@given(grids(), seeds, strengths, alphas)
def test_penalty_equals_a_loop_and_its_gradient_is_right(grid: Grid, seed: int, lam: float, alpha: float) -> None:
    w = weights(grid, seed).double().requires_grad_()
    regularizer = SparseGroupLasso(groups(grid), lam=lam, alpha=alpha)
    slow = lam * sum(
        (1 - alpha) * math.sqrt(b.numel()) * float(b.norm()) + alpha * float(b.abs().sum())
        for b in blocks(grid, w.detach())
    )
    assert regularizer.penalty({"w": w}).item() == pytest.approx(slow)
    assert torch.autograd.gradcheck(lambda v: regularizer.penalty({"w": v}), w, fast_mode=True)


@given(grids(), seeds, strengths, alphas)
def test_proximal_step_equals_the_closed_form(grid: Grid, seed: int, lam: float, alpha: float) -> None:
    w = weights(grid, seed).double()
    stepped = w.clone()
    SparseGroupLasso(groups(grid), lam=lam, alpha=alpha).proximal_({"w": stepped}, LR)
    for before, after in zip(blocks(grid, w), blocks(grid, stepped), strict=True):
        soft = before.sign() * (before.abs() - LR * lam * alpha).clamp_min(0)
        threshold = LR * lam * (1 - alpha) * before.numel() ** 0.5
        expected = soft * max(0.0, 1 - threshold / float(soft.norm())) if soft.any() else soft
        torch.testing.assert_close(after, expected)


@given(grids(), seeds, alphas)
def test_proximal_step_meets_the_optimality_condition(grid: Grid, seed: int, alpha: float) -> None:
    """(w - v) / lr is a subgradient of the penalty at the result v, group by group."""
    w = weights(grid, seed).double()
    v, lam = w.clone(), 5.0
    SparseGroupLasso(groups(grid), lam=lam, alpha=alpha).proximal_({"w": v}, LR)
    for before, after in zip(blocks(grid, w), blocks(grid, v), strict=True):
        slope = (before - after) / LR
        group, l1 = (1 - alpha) * lam * before.numel() ** 0.5, alpha * lam
        if after.any():
            rest = slope - group * after / after.norm()
            on = after != 0
            torch.testing.assert_close(rest[on], l1 * after[on].sign())
            assert bool((rest[~on].abs() <= l1 + 1e-9).all())
        else:  # slope = group * u + l1 * s for some ||u|| <= 1, |s| <= 1
            assert float((slope.abs() - l1).clamp_min(0).norm()) <= group + 1e-9


@given(grids(), seeds, strengths, alphas)
def test_decay_is_a_step_down_the_penalty_gradient(grid: Grid, seed: int, lam: float, alpha: float) -> None:
    w = weights(grid, seed).double().requires_grad_()
    regularizer = SparseGroupLasso(groups(grid), "subgradient", lam, alpha)
    (gradient,) = torch.autograd.grad(regularizer.penalty({"w": w}), w)
    stepped = w.detach().clone()
    regularizer.decay_({"w": stepped}, LR)
    torch.testing.assert_close(stepped, w.detach() - LR * gradient)


@given(grids(), seeds, strengths)
def test_alpha_zero_is_group_lasso(grid: Grid, seed: int, lam: float) -> None:
    ours, plain = weights(grid, seed), weights(grid, seed)
    SparseGroupLasso(groups(grid), lam=lam, alpha=0.0).step_({"w": ours}, LR)
    GroupLasso(groups(grid), lam=lam).step_({"w": plain}, LR)
    assert torch.equal(ours, plain)


@given(grids(), seeds, alphas, st.floats(0.01, 3))
def test_reach_says_which_groups_a_pull_zeroes(grid: Grid, seed: int, alpha: float, pull: float) -> None:
    w = weights(grid, seed).double()
    regularizer = SparseGroupLasso(groups(grid), lam=pull / LR, alpha=alpha)
    reach = regularizer.reach({"w": w}, pull)
    stepped = w.clone()
    regularizer.proximal_({"w": stepped}, LR)
    zero = grid.norms(stepped) == 0
    clear = (reach - pull).abs() > 1e-9
    assert torch.equal(zero[clear], (reach < pull)[clear])
    assert bool((regularizer.reach({"w": w}, 0.0) <= grid.norms(w, "max") + 1e-9).all())


def test_zero_and_subnormal_groups_stay() -> None:
    w = torch.tensor([[0.0, 1e-44, 1.0], [0.0, 1e-44, -1.0]])
    grid = Tile.parse("2x1").grid((2, 3), 1)
    regularizer = SparseGroupLasso(groups(grid), lam=1.0)
    for step in (regularizer.proximal_, regularizer.decay_):
        stepped = w.clone()
        step({"w": stepped}, LR)
        assert bool(torch.isfinite(stepped).all())
        assert not stepped[:, 0].any()
    assert regularizer.reach({"w": w}, 0.1).tolist() == pytest.approx([0, 0, 1])


def test_bad_alpha() -> None:
    made = groups(Tile.parse("1x1").grid((2, 2), 1))
    for alpha in (-0.1, 1.0, float("nan")):
        with pytest.raises(UsageError, match=r"reg\.options\.alpha"):
            SparseGroupLasso(made, alpha=alpha)


@pytest.mark.parametrize("tile", ["8x1", "column", "unit"])
@pytest.mark.parametrize("form", ["proximal", "subgradient"])
def test_a_controlled_lambda_ends_on_its_target(tile: str, form: str) -> None:
    options = catalogue.info("regularizer", "sparse_group_lasso").complete(
        {"form": form, "lambda": "controlled", "target": 0.5}
    )
    reg = Regularization(Tile.parse(tile), "sparse_group_lasso", options)
    model, task = speech()
    arm = ArmPlan(Optimisation(24, rate=2e-2, warmup=2, final=1.0), reg=reg, reg_steps=24)
    result = train_arm(model, task, arm, seed=1)
    groups = build_methods(model, task, arm, 1)[0].target.groups  # type: ignore[union-attr]
    weights = {key: model.get_parameter(key).detach() for key in groups.keys}
    rms = groups.rms(weights)
    zero, wanted = int((rms <= (4e-2 if form == "subgradient" else 0)).sum()), groups.n // 2
    if form == "proximal":
        assert zero == wanted
        outside = groups.expand(rms > 0)["gru.w_hh"]
        assert 0 < int((weights["gru.w_hh"][outside] == 0).sum()) < int(outside.sum())  # within groups that stay too
    else:
        assert zero == pytest.approx(wanted, rel=0.2)
    assert result.lambda_ is not None
    assert result.lambda_ > 0
