"""Weight unification and bit sharing: what coarse weights are, what gates learn, and whole arms of both."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_arm import plan, run
from torch import Tensor, nn

from bench.sparsity import catalogue
from bench.sparsity.count import kept_count
from bench.sparsity.groups import TileGroups
from bench.sparsity.latent import LatentPruner
from bench.sparsity.method import Phases, Target
from bench.sparsity.methods.bit_sharing import BITS, BitSharing, quantised
from bench.sparsity.methods.unify import Unify
from bench.sparsity.schedule import Schedule
from bench.sparsity.tile import Tile

TILES = ["1x1", "4x1", "3x2", "1x5", "column", "row"]
METHODS = ["unify", "bit_sharing"]


def made(kind: type[LatentPruner], tile: str, sparsity: float = 0.5, seed: int = 0, **options: Any) -> LatentPruner:
    generator = torch.Generator().manual_seed(seed)
    weights = {
        "a": nn.Parameter(torch.randn(18, 7, generator=generator)),
        "b": nn.Parameter(torch.randn(9, 11, generator=generator)),
    }
    weights["a"].data[:4, 0] = 0.0
    groups = TileGroups({key: tuple(w.shape) for key, w in weights.items()}, Tile.parse(tile), {"a": 3})
    schedule = Schedule("cubic", sparsity, 0, 10)
    return kind(Target(nn.Module(), weights, groups, Phases(0, 10, 20), schedule, options={"penalty": 0.1} | options))


def stepped(method: LatentPruner, steps: int, seed: int = 1) -> LatentPruner:
    """Train on random slopes, as an optimiser of rate 0.01 would."""
    generator = torch.Generator().manual_seed(seed)
    method.begin()
    for step in range(steps):
        for weight in method.target.weights.values():
            weight.grad = torch.randn(weight.shape, generator=generator)
            weight.data -= 0.01 * weight.grad
        method.after_step(step, 0.01)
    return method


def per_tile(method: LatentPruner, values: dict[str, Tensor]) -> list[Tensor]:
    """Return the values of every tile by itself."""
    number = {
        key: index.long() for key, index in method.target.groups.expand(torch.arange(method.target.groups.n)).items()
    }
    return [torch.cat([values[k][number[k] == tile] for k in values]) for tile in range(method.target.groups.n)]


@settings(max_examples=30, deadline=None)
@given(tile=st.sampled_from(TILES), seed=st.integers(0, 2**31))
def test_a_unified_tile_has_one_magnitude_and_its_signs(tile: str, seed: int) -> None:
    method = made(Unify, tile, seed=seed)
    latent = {key: weight.detach() for key, weight in method.target.weights.items()}
    coarse = method.coarse(latent)
    for before, after in zip(per_tile(method, latent), per_tile(method, coarse), strict=True):
        assert torch.allclose(after.abs(), before.abs().mean(), rtol=1e-5)
        assert torch.equal(after < 0, (before < 0) & bool(before.any()))
    again = method.coarse(coarse)
    assert all(torch.allclose(again[key], coarse[key], rtol=1e-5) for key in coarse)


@given(bits=st.sampled_from(BITS), seed=st.integers(0, 2**31), top=st.floats(1e-6, 1e3))
def test_a_grid_is_near_closed_and_inside_the_finer_one(bits: int, seed: int, top: float) -> None:
    w = (torch.rand(200, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1) * top
    tops = torch.full_like(w, top)
    q = quantised(w, tops, bits)
    assert float((q - w).abs().max()) <= top / (2**bits - 1) * (1 + 1e-9)
    assert torch.allclose(quantised(q, tops, bits), q, rtol=1e-12)
    assert len(q.unique()) <= 2**bits
    if bits < 8:
        assert torch.allclose(quantised(q, tops, bits * 2), q, rtol=1e-9)
    assert not quantised(torch.zeros(3), torch.zeros(3), bits).any()


@pytest.mark.parametrize("kind", [Unify, BitSharing])
@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.83, 1.0])
def test_masks_are_exact_and_weights_coarse(kind: type[LatentPruner], tile: str, sparsity: float) -> None:
    method = stepped(made(kind, tile, sparsity), 13)
    for key, grid in method.target.groups.grids.items():  # type: ignore[attr-defined]
        mask = method.masks.get(key, torch.ones(grid.shape, dtype=torch.bool))
        assert int(grid.reduce(mask).sum()) == kept_count(grid.n_groups, sparsity)
        assert not method.target.weights[key][~mask].any()
    weights = {key: weight.detach() for key, weight in method.target.weights.items()}
    assert all(torch.equal(weights[key], method.coarse(method.latent)[key]) for key in weights)
    if isinstance(method, BitSharing):
        assert torch.equal(method.bits() > 0, method.present)
        for width, tile_weights in zip(method.bits().tolist(), per_tile(method, weights), strict=True):
            assert len(tile_weights.unique()) <= max(1, 2 ** int(width))


@pytest.mark.parametrize("after", [0, 6])
def test_gates_follow_the_gradient_of_the_single_path(after: int) -> None:
    method = made(BitSharing, "3x2", penalty=0.7)
    assert isinstance(method, BitSharing)
    stepped(method, after)
    method.logits[1:] = torch.randn(method.logits[1:].shape, generator=torch.Generator().manual_seed(5))
    method.apply_()
    slopes = {key: torch.randn_like(weight) for key, weight in method.target.weights.items()}
    for key, weight in method.target.weights.items():
        weight.grad = slopes[key]

    logits = method.logits.clone().requires_grad_()
    p = logits.sigmoid()
    present = torch.ones(method.target.groups.n) if method.kept is None else method.kept.float()
    hard = torch.stack([present, *(method.logits[1:] > 0).float()])
    g2, g4, g8 = (method.target.groups.expand(gate) for gate in hard + p - p.detach())
    q2, q4, q8 = method.grids(method.latent)
    loss = torch.zeros(())
    for key, slope in slopes.items():
        w = g2[key] * (q2[key] + g4[key] * (q4[key] - q2[key] + g8[key] * (q8[key] - q4[key])))
        assert torch.allclose(w, method.used[key], atol=1e-6)
        loss = loss + (slope * w).sum()
    bits = p[0] * (2 + p[1] * (2 + p[2] * 4)) * present
    (loss + 0.7 * (bits * method.shares).sum()).backward()
    assert logits.grad is not None
    assert torch.allclose(method.gradient(), logits.grad, atol=1e-5)


def test_a_penalty_closes_gates_and_frozen_gates_stay() -> None:
    cheap, dear = (stepped(made(BitSharing, "4x1", penalty=penalty), 10) for penalty in (0.0, 1e6))
    assert isinstance(cheap, BitSharing)
    assert isinstance(dear, BitSharing)
    assert cheap.facts()["bits_per_weight"] > dear.facts()["bits_per_weight"]
    assert set(dear.bits().tolist()) == {0.0, 2.0}
    before = cheap.logits.clone()
    for weight in cheap.target.weights.values():
        weight.grad = torch.ones_like(weight)
    cheap.after_step(10, 0.01)
    assert torch.equal(cheap.logits, before)


def test_storage_is_counted() -> None:
    method = stepped(made(Unify, "4x1", 0.5), 10)
    tiles = 3 * 2 * 7 // 2 + round(3 * 11 / 2 - 0.5)
    facts = method.facts()
    sizes = method.target.groups.sizes[method.present]
    assert facts["tiles"] == tiles
    assert facts["bytes_f32"] == 2 * tiles + 4 * int(sizes.sum())
    assert facts["bytes_unified"] == tiles * (4 + 2 + 1)
    shared = stepped(made(BitSharing, "4x1", 0.5), 10).facts()
    assert sum(shared["tiles_by_bits"].values()) == method.target.groups.n
    assert shared["tiles_by_bits"]["0"] == method.target.groups.n - tiles
    assert shared["bytes_shared"] < shared["bytes_f32"]


@pytest.mark.parametrize("kind", METHODS)
@pytest.mark.parametrize("tile", ["16x1", "4x4"])
def test_an_interrupted_arm_ends_as_an_undisturbed_one(tmp_path: Path, kind: str, tile: str) -> None:
    options = catalogue.info("pruner", kind).complete({})
    arm = plan(tile, 0.7, kind)
    assert arm.prune is not None
    arm = replace(arm, prune=replace(arm.prune, options=options))
    whole = run(arm)
    for stop_at in (3, 6, 10):  # before pruning, while it prunes, in recovery

        def stop(step: int, bits: float, at: int = stop_at) -> None:
            if step == at:
                raise KeyboardInterrupt

        folder = tmp_path / str(stop_at)
        with pytest.raises(KeyboardInterrupt):
            run(arm, folder, stop)
        resumed = run(arm, folder)
        assert torch.equal(whole.masks["gru.w_hh"], resumed.masks["gru.w_hh"])
        assert all(torch.equal(a, b) for a, b in zip(whole.model.parameters(), resumed.model.parameters(), strict=True))
        assert whole.facts == resumed.facts
    grid = Tile.parse(tile).grid((96, 32), 3)
    mask = whole.masks["gru.w_hh"]
    assert int(grid.reduce(mask).sum()) == kept_count(grid.n_groups, 0.7)
    if kind == "unify":
        weight = whole.model.state_dict()["gru.w_hh"]
        assert torch.allclose(grid.norms(weight, "max"), grid.norms(weight, "l1") / grid.sizes, rtol=1e-5)


@pytest.mark.parametrize("kind", [Unify, BitSharing])
def test_weights_drawn_anew_forget_the_former_ones(kind: type[LatentPruner]) -> None:
    method = stepped(made(kind, "4x1"), 10)
    fresh = {key: torch.randn_like(weight) for key, weight in method.target.weights.items()}
    for key, weight in method.target.weights.items():
        weight.data.copy_(fresh[key])
    method.apply_()
    method.after_step(10, 0.0)
    for key, mask in method.masks.items():
        torch.testing.assert_close(method.latent[key], fresh[key] * mask)


def test_neither_works_on_hidden_units() -> None:
    assert not any(catalogue.info("pruner", kind).units for kind in METHODS)
