"""RigL: constant exact counts, what is dropped and grown, budgets, resumption."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.learn.arm import Pruning
from bench.sparsity.count import kept_count
from bench.sparsity.groups import TileGroups
from bench.sparsity.layers import layers
from bench.sparsity.methods.rigl import Rigl
from bench.sparsity.tile import Tile

from .arms import PRUNE, assert_same, interrupted, plan, target, train
from .strategies import seeds

RATE = 1e-2


def made(**options: Any) -> Rigl:
    method = Rigl(target("rigl", **options)[1])
    method.begin()
    return method


def counts(method: Rigl) -> list[int]:
    groups = method.target.groups
    assert isinstance(groups, TileGroups)
    assert method.kept is not None
    return [int(method.kept[budget.groups].sum()) for budget in groups.budgets()]


def move(method: Rigl, step: int) -> None:
    """Give the weights random gradients and a random update, as if trained."""
    generator = torch.Generator().manual_seed(step)
    for weight in method.target.weights.values():
        weight.grad = torch.randn(weight.shape, generator=generator)
        with torch.no_grad():
            weight.add_(torch.randn(weight.shape, generator=generator), alpha=0.1)
    method.after_step(step, RATE)


@given(
    st.sampled_from(["1x1", "4x1", "3x2", "column", "row"]),
    st.sampled_from([0.0, 0.3, 0.55, 0.9, 1.0]),
    st.sampled_from(["matrix", "global"]),
    st.sampled_from(["magnitude", "random"]),
    seeds,
)
def test_counts_are_exact_after_every_step(tile: str, sparsity: float, scope: str, start: str, seed: int) -> None:
    method = made(tile=tile, sparsity=sparsity, scope=scope, start=start, seed=seed, every=1, alpha=0.5)
    groups = method.target.groups
    assert isinstance(groups, TileGroups)
    wanted = [kept_count(budget.size, sparsity) for budget in groups.budgets()]
    for step in range(10):
        move(method, step)
        assert counts(method) == wanted
        for key, mask in method.masks.items():
            assert not method.target.weights[key][~mask].any()
        assert torch.equal(groups.reduce(method.masks), method.kept)


def test_gates_of_different_sparsity_and_a_kept_diagonal() -> None:
    key = "lstm.weight_hh_l0"
    method = made(tile="1x1", sparsity=0.75, scope="matrix", keep_diagonal=[key], every=1, alpha=0.5)
    eye = torch.eye(16, dtype=torch.bool).repeat(4, 1)
    for step in range(7):
        move(method, step)
        assert bool(method.masks[key][eye].all())
    shares = (0.9, 0.9, 0.9, 0.5)
    method = made(tile="4x1", sparsity=0.8, scope="gate", gate_sparsity=shares, every=1, alpha=0.5)
    first = method.kept
    for step in range(7):
        move(method, step)
        assert counts(method) == [kept_count(64, s) for s in shares] + [kept_count(24, s) for s in shares]
    assert first is not None
    assert not torch.equal(first, method.kept)


def test_drops_the_smallest_and_grows_the_steepest() -> None:
    method = made(tile="4x1", sparsity=0.5, scope="matrix", every=2, alpha=0.4)
    groups, weights = method.target.groups, method.target.weights
    before = method.kept
    assert before is not None
    for weight in weights.values():
        weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(5))
    method.after_step(0, RATE)
    assert torch.equal(method.kept, before)  # not yet
    old = {key: weight.detach().clone() for key, weight in weights.items()}
    for key, mask in method.masks.items():  # as Adam does, which knows no masks
        weights[key].detach()[~mask] = 0.1
    rms, slope = groups.rms(old), groups.rms({key: w.grad for key, w in weights.items()})  # type: ignore[misc]
    method.after_step(1, RATE)
    after = method.kept
    assert after is not None
    share = 0.4 / 2 * (1 + math.cos(math.pi * 2 / 8))
    part = groups.parts  # type: ignore[attr-defined]
    for layer in part.values():
        kept = [g for g in range(layer.start, layer.stop) if before[g]]
        dropped = sorted(kept, key=lambda g: float(rms[g]))[: len(kept) - kept_count(len(kept), share)]
        free = [g for g in range(layer.start, layer.stop) if not before[g]] + dropped
        grown = sorted(free, key=lambda g: -float(slope[g]))[: len(dropped)]
        assert sorted((set(kept) - set(dropped)) | set(grown)) == [
            g for g in range(layer.start, layer.stop) if after[g]
        ]
    fresh = groups.expand(after & ~before)
    for key, weight in weights.items():
        assert not weight[fresh[key]].any()  # grown weights start at zero
        stayed = groups.expand(after & before)[key]
        assert torch.equal(weight[stayed], old[key][stayed])
    assert method.facts() == {"step": [2], "replaced": [int((before & ~after).sum())]}


def test_stops_when_pruning_ends_and_starts_when_it_begins() -> None:
    method = made(every=1, alpha=1.0, end=3)
    for step in range(8):
        move(method, step)
    assert [step for step, _ in method.swaps] == [1, 2]


def test_layers() -> None:
    weights = {"a": torch.zeros(4, 6), "b": torch.zeros(4, 2)}
    groups = TileGroups({"a": (4, 6), "b": (4, 2)}, Tile.parse("2x2"))
    layer, names = layers(groups, weights)
    assert [names[index] for index in layer] == ["a"] * 6 + ["b"] * 2


@pytest.mark.parametrize(
    ("task", "tile", "scope", "sparsity"),
    [("vocoder", "4x1", "matrix", 0.6), ("vocoder", "1x1", "2:4", 0.5), ("vocoder", "unit", "matrix", 0.6),
     ("lstm", "4x1", "global", 0.6)],
)  # fmt: skip
@pytest.mark.parametrize("start", ["magnitude", "random", "schedule"])
def test_an_interrupted_arm_ends_as_an_undisturbed_one(
    task: str, tile: str, scope: str, sparsity: float, start: str, tmp_path: Path
) -> None:
    options = {"every": 2, "start": start}
    arm = plan(task, Pruning(Tile.parse(tile), sparsity, "rigl", scope=scope, options=options))
    whole = train(task, arm)
    assert_same(whole, interrupted(task, arm, tmp_path, 5, PRUNE + 1))
    sparsities = whole.curves.sparsity
    assert sparsities[-1] == pytest.approx(sparsity, abs=0.02)
    if start != "schedule":
        assert sparsities == pytest.approx([sparsity] * len(sparsities), abs=0.02)
    assert tile == "unit" or sum(whole.facts["prune"]["replaced"]) > 0
