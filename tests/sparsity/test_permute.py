"""Orders of hidden units: never worse, found again where they were hidden, near the best of all."""

from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bench.config.matrices import Layer, Slice, unit_layers
from bench.sparsity.groups import TileGroups
from bench.sparsity.permute import best_order
from bench.sparsity.shrink import take_units
from bench.sparsity.tile import Tile

from .strategies import seeds


def recurrent(hidden: int) -> Layer:
    """The GRU's units, in the recurrent matrix alone."""
    return Layer("gru", hidden, tuple(s for s in unit_layers(hidden)[0].slices if s.state_key == "gru.w_hh"))


def retained(w: Tensor, groups: TileGroups, order: Tensor, sparsity: float) -> float:
    """Share of the norm that pruning by magnitude leaves."""
    now = take_units({"gru.w_hh": w}, [recurrent(len(order))], [order])
    mask = groups.expand(groups.keep(groups.scores(now), sparsity))["gru.w_hh"]
    return float(now["gru.w_hh"][mask].double().norm() / w.double().norm())


@settings(max_examples=40)
@given(
    st.integers(4, 13),
    st.sampled_from(["2x1", "4x1", "3x1", "1x2", "1x3", "2x2", "4x2"]),
    st.sampled_from([0.0, 0.5, 0.8, 1.0]),
    st.sampled_from(["matrix", "gate", "global"]),
    seeds,
)
def test_never_worse_and_says_what_it_retains(hidden: int, tile: str, sparsity: float, scope: str, seed: int) -> None:
    w = torch.randn(3 * hidden, hidden, generator=torch.Generator().manual_seed(seed))
    before = w.clone()
    groups = TileGroups({"gru.w_hh": (3 * hidden, hidden)}, Tile.parse(tile), {"gru.w_hh": 3}, scope)
    best = best_order({"gru.w_hh": w}, groups, unit_layers(hidden)[0], sparsity)
    assert torch.equal(w, before)
    assert sorted(best.order.tolist()) == list(range(hidden))
    assert best.before == pytest.approx(retained(w, groups, torch.arange(hidden), sparsity), abs=1e-6)
    assert best.after == pytest.approx(retained(w, groups, best.order, sparsity), abs=1e-6)
    assert best.after >= best.before
    assert torch.equal(best.order, best_order({"gru.w_hh": w}, groups, unit_layers(hidden)[0], sparsity).order)


@pytest.mark.parametrize("tile", ["4x1", "1x4"])
def test_finds_rows_that_share_their_inputs(tile: str) -> None:
    generator = torch.Generator().manual_seed(0)
    needs = (torch.rand(3, 8, 8, generator=generator) < 0.25).repeat_interleave(4, 1).repeat_interleave(4, 2)
    w = (torch.randn(3, 32, 32, generator=generator).abs() + 0.5) * needs
    hidden_order = torch.randperm(32, generator=generator)
    shuffled = w[:, hidden_order][:, :, hidden_order].reshape(96, 32)
    groups = TileGroups({"gru.w_hh": (96, 32)}, Tile.parse(tile), {"gru.w_hh": 3})
    sparsity = 1 - float(needs.double().mean())
    best = best_order({"gru.w_hh": shuffled}, groups, unit_layers(32)[0], sparsity)
    assert best.before < 0.87
    assert best.after > 0.98


@pytest.mark.parametrize("seed", range(4))
def test_near_the_best_of_all_orders(seed: int) -> None:
    w = torch.randn(18, 6, generator=torch.Generator().manual_seed(seed))
    groups = TileGroups({"gru.w_hh": (18, 6)}, Tile.parse("2x1"), {"gru.w_hh": 3})
    best = best_order({"gru.w_hh": w}, groups, unit_layers(6)[0], 0.6)
    of_all = max(retained(w, groups, torch.tensor(order), 0.6) for order in permutations(range(6)))
    assert best.after >= 0.99 * of_all


def test_two_layers_and_several_matrices() -> None:
    w = {key: torch.randn(shape, generator=torch.Generator().manual_seed(1)) for key, shape in (
        ("hh", (32, 8)), ("ih1", (48, 8)), ("out", (5, 8))
    )}  # fmt: skip
    layer = Layer("0", 8, (Slice("hh", 0, 4), Slice("hh", 1), Slice("ih1", 1)))
    groups = TileGroups({key: (v.shape[0], v.shape[1]) for key, v in w.items()}, Tile.parse("2x1"), {"hh": 4, "ih1": 4})
    best = best_order(w, groups, layer, 0.7)
    assert best.after > best.before
