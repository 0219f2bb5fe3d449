"""Penalty and steps of the group Lasso against closed forms, autograd and a numeric minimiser."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch import Tensor

from bench.errors import UsageError
from bench.sparsity.grid import Grid
from bench.sparsity.groups import TileGroups
from bench.sparsity.regularizer import GroupLasso
from bench.sparsity.tile import Tile

from .strategies import grids, seeds, tile_groups, weights

strengths = st.sampled_from([0.0, 0.1, 1.0, 5.0, 1e3])
LR = 0.1


def slow_penalty(grid: Grid, w: Tensor, lam: float) -> float:
    blocks = [w[grid.bounds(g)] for g in range(grid.n_groups)]
    return lam * sum(math.sqrt(block.numel() * float((block * block).sum())) for block in blocks)


@given(grids(), seeds, strengths)
def test_penalty_equals_a_loop(grid: Grid, seed: int, lam: float) -> None:
    w = weights(grid, seed).double()
    penalty = GroupLasso(tile_groups(grid), lam=lam).penalty({"w": w})
    assert penalty.item() == pytest.approx(slow_penalty(grid, w, lam))


@given(grids(), seeds)
def test_penalty_gradient_equals_finite_differences(grid: Grid, seed: int) -> None:
    w = weights(grid, seed).double().requires_grad_()
    regularizer = GroupLasso(tile_groups(grid), lam=0.7)
    assert torch.autograd.gradcheck(lambda v: regularizer.penalty({"w": v}), w, fast_mode=True)


def test_named_special_cases() -> None:
    w = torch.randn(12, 5, dtype=torch.float64)
    lasso = GroupLasso(TileGroups({"w": (12, 5)}, Tile.parse("1x1"), {"w": 3}), lam=0.3).penalty({"w": w})
    columns = GroupLasso(TileGroups({"w": (12, 5)}, Tile.parse("column"), {"w": 3}), lam=0.3).penalty({"w": w})
    torch.testing.assert_close(lasso, 0.3 * w.abs().sum())
    torch.testing.assert_close(columns, 0.3 * 12**0.5 * w.norm(dim=0).sum())


@given(grids(), seeds, strengths)
def test_proximal_step_equals_the_closed_form(grid: Grid, seed: int, lam: float) -> None:
    w = weights(grid, seed).double()
    stepped = w.clone()
    GroupLasso(tile_groups(grid), lam=lam).proximal_({"w": stepped}, LR)
    for g in range(grid.n_groups):
        block = w[grid.bounds(g)]
        threshold = LR * lam * block.numel() ** 0.5
        expected = block * max(0.0, 1 - threshold / float(block.norm()))
        torch.testing.assert_close(stepped[grid.bounds(g)], expected)


def test_proximal_step_of_lasso_is_soft_thresholding() -> None:
    w = torch.randn(6, 7)
    stepped = w.clone()
    GroupLasso(TileGroups({"w": (6, 7)}, Tile.parse("1x1"), {"w": 3}), lam=5.0).proximal_({"w": stepped}, LR)
    torch.testing.assert_close(stepped, torch.nn.functional.softshrink(w, 5.0 * LR))


@settings(max_examples=25)  # a numeric minimiser is slow
@given(st.sampled_from(["1x1", "2x1", "1x3", "2x2", "column", "gate-column", "row"]), seeds)
def test_proximal_step_minimises_its_objective(name: str, seed: int) -> None:
    grid = Tile.parse(name).grid((4, 3), 2)
    w = weights(grid, seed).double()
    regularizer = GroupLasso(tile_groups(grid), lam=4.0)
    stepped = w.clone()
    regularizer.proximal_({"w": stepped}, LR)

    def objective(v: Tensor, smoothing: float = 0.0) -> Tensor:
        blocks = [v[grid.bounds(g)] for g in range(grid.n_groups)]
        lengths = [(block.numel() * (block.square().sum() + smoothing**2)).sqrt() for block in blocks]
        return (v - w).square().sum() / 2 + LR * regularizer.lam * torch.stack(lengths).sum()

    def smooth(flat: np.ndarray) -> tuple[float, np.ndarray]:  # differentiable at zero, else quasi-Newton stalls there
        v = torch.from_numpy(flat).reshape(4, 3).requires_grad_()
        value = objective(v, smoothing=1e-4)
        (gradient,) = torch.autograd.grad(value, v)
        return value.item(), gradient.numpy().ravel()

    found = minimize(smooth, w.numpy().ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 2000, "ftol": 1e-15})
    at_found = torch.from_numpy(found.x).reshape(4, 3)
    best = objective(stepped).item()
    assert best <= objective(at_found).item() + 1e-12
    assert found.fun - best < 12 * LR * regularizer.lam * 1e-4  # no more than the smoothing adds
    torch.testing.assert_close(stepped, at_found, atol=0.02, rtol=0)


@given(grids(), seeds, strengths)
def test_decay_is_a_step_down_the_penalty_gradient(grid: Grid, seed: int, lam: float) -> None:
    w = weights(grid, seed).double().requires_grad_()
    regularizer = GroupLasso(tile_groups(grid), "subgradient", lam)
    (gradient,) = torch.autograd.grad(regularizer.penalty({"w": w}), w)
    stepped = w.detach().clone()
    regularizer.decay_({"w": stepped}, LR)
    torch.testing.assert_close(stepped, w.detach() - LR * gradient)


@given(grids(), seeds)
def test_a_step_lowers_every_rms_by_the_same(grid: Grid, seed: int) -> None:
    w = weights(grid, seed).double()
    regularizer = GroupLasso(tile_groups(grid), lam=3.0)
    before = regularizer.rms({"w": w})
    regularizer.step_({"w": w}, LR)
    torch.testing.assert_close(regularizer.rms({"w": w}), (before - 0.3).clamp_min(0))


@pytest.mark.parametrize("form", ["proximal", "subgradient"])
@given(grids(), seeds)
def test_zero_groups_stay_and_nothing_is_nan(form: str, grid: Grid, seed: int) -> None:
    w = weights(grid, seed, levels=3) * 1e-44  # zeros and subnormal numbers
    zero = w == 0
    regularizer = GroupLasso(tile_groups(grid), form, 1.0)  # type: ignore[arg-type]
    regularizer.step_({"w": w}, LR)
    assert bool(torch.isfinite(w).all())
    assert bool((w[zero] == 0).all())


def test_lambda_zero_changes_nothing() -> None:
    w = torch.randn(6, 4)
    stepped = w.clone()
    GroupLasso(TileGroups({"w": (6, 4)}, Tile.parse("2x1"), {"w": 3})).step_({"w": stepped}, LR)
    assert torch.equal(stepped, w)


def test_steps_take_a_parameter_in_place_and_leave_no_gradient() -> None:
    parameter = torch.nn.Parameter(torch.randn(6, 4))
    before = parameter.detach().clone()
    GroupLasso(TileGroups({"w": (6, 4)}, Tile.parse("2x1"), {"w": 3}), lam=1.0).step_({"w": parameter}, LR)
    assert parameter.grad is None
    assert parameter.is_leaf
    assert not torch.equal(parameter.detach(), before)


def test_bad_values() -> None:
    groups = TileGroups({"w": (2, 2)}, Tile.parse("1x1"))
    with pytest.raises(UsageError, match=r"reg\.form"):
        GroupLasso(groups, "prox")  # type: ignore[arg-type]
    for lam in (-1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError, match=r"reg\.lambda"):
            GroupLasso(groups, lam=lam)
    regularizer = GroupLasso(groups)
    regularizer.lam = -1.0
    with pytest.raises(UsageError, match=r"reg\.lambda"):
        regularizer.step_({"w": torch.zeros(2, 2)}, LR)
    with pytest.raises(ValueError, match="negative"):
        GroupLasso(groups).step_({"w": torch.zeros(2, 2)}, -1.0)
    with pytest.raises(ValueError, match="shape"):
        GroupLasso(groups).penalty({"w": torch.zeros(2)})
