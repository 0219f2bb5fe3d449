"""Second-order pruning: exact least squares, exact saliencies, exact counts, never worse than plain magnitude."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bench.errors import LanewiseError, UsageError
from bench.sparsity import surgeon
from bench.sparsity.count import kept_count
from bench.sparsity.grid import Grid
from bench.sparsity.groups import TileGroups
from bench.sparsity.methods.second_order import SecondOrder
from bench.sparsity.tile import Tile
from tests.sparsity.magnitude import magnitude_masks

from .calibrating import moment, pruner
from .strategies import grids, seeds, sparsities

TILES = ["1x1", "4x1", "5x1", "1x4", "1x5", "4x3", "column", "gate-column", "row"]
SHAPES = {"a": (24, 10), "b": (12, 9)}
GATES = {"a": 3}


def half(grid: Grid, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return grid.expand(torch.rand(grid.n_groups, generator=generator) < 0.5)


def matrix(grid: Grid, seed: int) -> Tensor:
    return torch.randn(grid.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_refit_equals_least_squares_row_by_row() -> None:
    rng = np.random.default_rng(0)
    x, w, mask = rng.standard_normal((60, 8)), rng.standard_normal((7, 8)), rng.random((7, 8)) < 0.5
    mask[0], mask[1] = True, False
    found = surgeon.refit(torch.tensor(w), torch.tensor(mask), torch.tensor(x.T @ x / 60)).numpy()
    for row in range(7):
        expected = np.zeros(8)
        expected[mask[row]] = np.linalg.lstsq(x[:, mask[row]], x @ w[row], rcond=None)[0]
        np.testing.assert_allclose(found[row], expected, atol=1e-10)


@given(grids(), seeds, st.sampled_from([1e-6, 1e-2, 1.0]))
def test_refit_is_never_worse_than_the_masked_weights(grid: Grid, seed: int, damping: float) -> None:
    w, mask, h = matrix(grid, seed), half(grid, seed + 1), moment(grid.shape[1], seed)
    fitted = surgeon.refit(w, mask, surgeon.damped(h, damping))
    assert not fitted[~mask].any()
    masked = surgeon.output_error(torch.where(mask, 0.0, w), h)
    assert surgeon.output_error(fitted - w, h) <= masked * (1 + 1e-9)


@settings(max_examples=40)
@given(grids(), seeds)
def test_saliency_is_what_pruning_a_group_costs(grid: Grid, seed: int) -> None:
    """Against pruning each group in turn and refitting all the others."""
    w, mask = matrix(grid, seed), half(grid, seed + 1)
    h = surgeon.damped(moment(grid.shape[1], seed), 0.01)
    width = grid.tile.extent(grid.shape, grid.gates)[2]
    found = grid.sums(surgeon.saliency(w, mask, h, width))
    now = surgeon.output_error(surgeon.refit(w, mask, h) - w, h)
    for group, kept in enumerate(grid.reduce(mask)):
        without = mask.clone()
        without[grid.bounds(group)] = False
        cost = surgeon.output_error(surgeon.refit(w, without, h) - w, h) - now if kept else 0.0
        assert float(found[group]) == pytest.approx(cost, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("seed", range(3))
def test_not_worse_than_magnitude_on_the_same_inputs(tile: str, seed: int) -> None:
    made, moments = pruner("second_order", SHAPES, tile, 0.6, seed, GATES)
    before = {key: w.detach().clone() for key, w in made.target.weights.items()}
    groups = made.target.groups
    assert isinstance(groups, TileGroups)
    plain = magnitude_masks(groups, before, 0.6)
    made.begin()
    for key, w in made.target.weights.items():
        magnitude = surgeon.output_error(torch.where(plain[key], 0.0, before[key]).double(), moments[key])
        assert surgeon.output_error((w.detach() - before[key]).double(), moments[key]) <= magnitude
        lost = made.facts()["lost"][0][key]
        assert lost["refitted"] <= lost["masked"]


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("rounds", [1, 3])
@given(sparsity=sparsities)
@settings(max_examples=8)
def test_exact_counts(tile: str, rounds: int, sparsity: float) -> None:
    made, _ = pruner("second_order", SHAPES, tile, sparsity, gates=GATES, rounds=rounds)
    before = {key: w.detach().clone() for key, w in made.target.weights.items()}
    made.begin()
    for key, w in made.target.weights.items():
        grid = Tile.parse(tile).grid(SHAPES[key], GATES.get(key, 1))
        kept = kept_count(grid.n_groups, sparsity)
        assert int(grid.reduce(made.masks[key]).sum()) == kept
        assert torch.equal(w != 0, made.masks[key])
        if kept == grid.n_groups:
            assert torch.equal(w, before[key])
    assert torch.equal(made.target.groups.reduce(made.masks), made.kept)


def test_matrices_compete_by_what_their_outputs_lose() -> None:
    made, _ = pruner("second_order", SHAPES, "4x1", 0.5, gates=GATES, scope="global", rounds=1)
    with torch.no_grad():
        made.target.weights["b"].mul_(1e-3)
    made.begin()
    assert int(made.kept.sum()) == kept_count(made.target.groups.n, 0.5)  # type: ignore[union-attr]
    assert not made.masks["b"].any()


def test_without_update_the_kept_weights_stay_and_the_mask_is_the_same() -> None:
    updated, _ = pruner("second_order", SHAPES, "1x1", 0.6)
    plain, _ = pruner("second_order", SHAPES, "1x1", 0.6, update=False)
    before = {key: w.detach().clone() for key, w in plain.target.weights.items()}
    updated.begin()
    plain.begin()
    for key, mask in plain.masks.items():
        assert torch.equal(mask, updated.masks[key])
        assert torch.equal(plain.target.weights[key], torch.where(mask, before[key], 0.0))
        assert not torch.equal(updated.target.weights[key], plain.target.weights[key])


def test_stages_are_nested_and_ties_go_to_the_lower_index() -> None:
    made, moments = pruner("second_order", {"w": (8, 4)}, "2x1", 0.75, schedule="staged", end=8)
    with torch.no_grad():
        made.target.weights["w"].fill_(0.5)
    moments["w"].copy_(torch.eye(4))
    before = torch.ones(16, dtype=torch.bool)
    for step in range(8):
        made.after_step(step, 1e-3)
        if made.kept is not None:
            assert not (made.kept & ~before).any()
            before = made.kept
    assert before.tolist() == [True] * 4 + [False] * 12
    assert len(made.facts()["lost"]) == 4


def test_inputs_that_are_always_zero_leave_magnitude() -> None:
    made, moments = pruner("second_order", {"w": (8, 6)}, "2x3", 0.5, rounds=1)
    moments["w"].zero_()
    groups, before = made.target.groups, {key: w.detach().clone() for key, w in made.target.weights.items()}
    assert isinstance(groups, TileGroups)
    made.begin()
    mask = magnitude_masks(groups, before, 0.5)["w"]
    assert torch.equal(made.masks["w"], mask)
    torch.testing.assert_close(made.target.weights["w"].detach(), torch.where(mask, before["w"], 0.0))


@pytest.mark.parametrize("kind", ["second_order", "activation"])
def test_refuses_what_it_cannot_judge(kind: str) -> None:
    made, moments = pruner(kind, SHAPES, "1x1")
    with pytest.raises(UsageError, match=f"^prune.kind: '{kind}' .* no calibration data"):
        type(made)(replace(made.target, calibrate=None))
    moments["b"][0, 0] = torch.inf
    with pytest.raises(LanewiseError, match=f"^b: cannot be pruned by {kind}"):
        made.begin()


def test_state_comes_back() -> None:
    made, _ = pruner("second_order", SHAPES, "1x1", 0.5)
    made.begin()
    again, _ = pruner("second_order", SHAPES, "1x1", 0.5)
    again.restore(made.state(), made.tensors())
    assert isinstance(again, SecondOrder)
    assert again.sparsity == 0.5
    assert again.facts() == made.facts()
    assert torch.equal(again.masks["a"], made.masks["a"])
