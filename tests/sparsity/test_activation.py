"""Activation-aware pruning: scores, counts, how often inputs are measured."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from torch import Tensor

from bench.sparsity.count import kept_count
from bench.sparsity.grid import Grid
from bench.sparsity.groups import TileGroups
from tests.sparsity.magnitude import magnitude_masks

from .calibrating import pruner
from .strategies import grids, seeds, sparsities


@given(grids(), seeds, sparsities)
def test_ranks_by_weight_times_input(grid: Grid, seed: int, sparsity: float) -> None:
    """Against a loop over tiles and weights."""
    made, moments = pruner("activation", {"w": grid.shape}, grid.tile.name, sparsity, seed, {"w": grid.gates})
    before = made.target.weights["w"].detach().clone()
    sizes = moments["w"].diagonal().sqrt()
    scores = made.scores()
    for group in range(grid.n_groups):
        rows, columns = grid.bounds(group)
        expected = sum(float((before[row, columns].double() * sizes[columns]).square().sum()) for row in _numbers(rows))
        assert float(scores[group]) == pytest.approx(expected, rel=1e-9)
    made.begin()
    assert int(grid.reduce(made.masks["w"]).sum()) == kept_count(grid.n_groups, sparsity)
    assert torch.equal(made.target.weights["w"].detach(), torch.where(made.masks["w"], before, 0.0))


def _numbers(rows: slice) -> range:
    return range(rows.start, rows.stop)


def test_equal_inputs_leave_magnitude() -> None:
    made, moments = pruner("activation", {"w": (12, 9)}, "5x2", 0.6)
    moments["w"].fill_diagonal_(0.25)
    groups = made.target.groups
    assert isinstance(groups, TileGroups)
    expected = magnitude_masks(groups, made.target.weights, 0.6)["w"]
    made.begin()
    assert torch.equal(made.masks["w"], expected)


def test_inputs_are_measured_at_each_nth_pruning_also_after_a_restart() -> None:
    made, moments = pruner("activation", {"w": (12, 9)}, "1x1", 0.9, schedule="linear", end=9, every=4)
    calls = []

    def calibrate() -> dict[str, Tensor]:
        calls.append(1)
        return moments

    made = type(made)(replace(made.target, calibrate=calibrate))
    for step in range(6):
        made.after_step(step, 1e-3)
    assert len(calls) == 2
    again = type(made)(replace(made.target, calibrate=calibrate))
    again.restore(made.state(), made.tensors())
    assert torch.equal(again.scores(), made.scores())
    for step in range(6, 9):
        again.after_step(step, 1e-3)
    assert len(calls) == 3
    assert int(again.masks["w"].sum()) == kept_count(12 * 9, 0.9)
