"""Kept tiles: exact counts, ties, idempotence, nesting, alignment, diagonals, budgets."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from bench.errors import LanewiseError, UsageError
from bench.sparsity.count import kept_count
from bench.sparsity.grid import Grid
from bench.sparsity.groups import TileGroups
from bench.sparsity.masks import achieved_sparsity, apply_masks_, density_map, gate_sparsities, summarise
from bench.sparsity.method import Phases, Target
from bench.sparsity.methods.random import Random
from bench.sparsity.schedule import KINDS, Schedule
from bench.sparsity.select import Budget, select
from bench.sparsity.tile import Tile
from tests.sparsity.magnitude import magnitude_masks

from .strategies import grids, seeds, sparsities, weights

scores = st.sampled_from(["l2", "l1", "max", "l2-mean"])
scopes = st.sampled_from(["gate", "matrix", "global"])


def tiles_of(grid: Grid, scope: str = "gate", keep_diagonal: bool = False) -> TileGroups:
    diagonal = ["w"] if keep_diagonal else []
    return TileGroups({"w": grid.shape}, grid.tile, {"w": grid.gates}, scope, keep_diagonal=diagonal)


def random_scores(groups: TileGroups, seed: int) -> Tensor:
    """Those of the random control."""
    schedule = Schedule("one-shot", 0.5)
    return Random(Target(torch.nn.Module(), {}, groups, Phases(0, 0, 1), schedule, seed=seed)).scores()


def slow_mask(grid: Grid, w: Tensor, sparsity: float, score: str, per_gate: bool) -> Tensor:
    """Sort the budget's tiles by (score falling, index rising), keep the first."""
    mask = torch.zeros(grid.shape, dtype=torch.bool)
    budgets = grid.bands if per_gate else 1
    size = grid.n_groups // budgets
    for b in range(budgets):
        ranked = []
        for g in range(b * size, (b + 1) * size):
            block = w[grid.bounds(g)].double().abs()
            value = {
                "l2": block.square().sum().sqrt(),
                "l1": block.sum(),
                "max": block.max(),
                "l2-mean": block.square().mean().sqrt(),
            }[score]
            ranked.append((-float(value), g))
        for _, g in sorted(ranked)[: kept_count(size, sparsity)]:
            mask[grid.bounds(g)] = True
    return mask


def prune(
    grid: Grid,
    w: Tensor,
    sparsity: float,
    score: str = "l2",
    scope: str = "gate",
    keep_diagonal: bool = False,
    previous: Tensor | None = None,
) -> Tensor:
    groups = tiles_of(grid, scope, keep_diagonal)
    before = None if previous is None else groups.reduce({"w": previous})
    kept = groups.keep(groups.scores({"w": w}, score), sparsity, before)  # type: ignore[arg-type]
    return groups.expand(kept)["w"]


def counts(grid: Grid, mask: Tensor, budgets: int) -> list[int]:
    return [int(part) for part in grid.reduce(mask).reshape(budgets, -1).sum(dim=1)]


@given(grids(), seeds, sparsities, scores, scopes)
def test_equals_a_sorted_loop(grid: Grid, seed: int, sparsity: float, score: str, scope: str) -> None:
    w = weights(grid, seed)
    expected = slow_mask(grid, w, sparsity, score, scope == "gate")
    assert torch.equal(prune(grid, w, sparsity, score=score, scope=scope), expected)


@given(grids(), seeds, sparsities, scopes, st.integers(1, 3))
def test_exact_counts_with_ties(grid: Grid, seed: int, sparsity: float, scope: str, levels: int) -> None:
    w = weights(grid, seed, levels)
    budgets = grid.bands if scope == "gate" else 1
    wanted = [kept_count(grid.n_groups // budgets, sparsity)] * budgets
    mask = prune(grid, w, sparsity, score="max", scope=scope)
    assert counts(grid, mask, budgets) == wanted
    assert torch.equal(mask, slow_mask(grid, w, sparsity, "max", scope == "gate"))
    groups = tiles_of(grid, scope)
    random = groups.expand(groups.keep(random_scores(groups, seed), sparsity))["w"]
    assert counts(grid, random, budgets) == wanted


def test_all_equal_keeps_the_first() -> None:
    mask = prune(Tile.parse("1x1").grid((2, 4), 2), torch.ones(2, 4), 0.5)
    assert mask.tolist() == [[True, True, False, False]] * 2


def test_zero_and_one() -> None:
    w = torch.randn(6, 4)
    grid = Tile.parse("2x1").grid((6, 4), 3)
    assert bool(prune(grid, w, 0.0).all())
    assert bool(prune(grid, w, 1e-9).all())
    assert not bool(prune(grid, w, 1.0).any())


@given(grids(), seeds, sparsities, scopes, st.sampled_from([None, 2, 3]))
def test_idempotent(grid: Grid, seed: int, sparsity: float, scope: str, levels: int | None) -> None:
    w = weights(grid, seed, levels)
    mask = prune(grid, w, sparsity, scope=scope)
    apply_masks_({"w": w}, {"w": mask})
    assert torch.equal(prune(grid, w, sparsity, scope=scope), mask)
    assert torch.equal(prune(grid, w, sparsity, scope=scope, previous=mask), mask)


@given(grids(), seeds, st.sampled_from(KINDS), st.floats(0, 1), st.booleans())
def test_no_resurrection_over_a_schedule(grid: Grid, seed: int, kind: str, final: float, at_random: bool) -> None:
    schedule = Schedule(kind, final, start=1, end=8)  # type: ignore[arg-type]
    groups = tiles_of(grid)
    previous = torch.ones(grid.n_groups, dtype=torch.bool)
    for step in range(10):
        w = {"w": weights(grid, seed + step)}  # as if training had moved every weight
        scores = random_scores(groups, seed + step) if at_random else groups.scores(w)
        kept = groups.keep(scores, schedule.sparsity_at(step), previous)
        assert not bool((kept & ~previous).any())
        previous = kept
    mask = groups.expand(previous)["w"]
    assert counts(grid, mask, grid.bands) == [kept_count(grid.groups_per_band, final)] * grid.bands


@given(grids(), seeds, sparsities, sparsities)
def test_random_masks_of_one_seed_are_nested(grid: Grid, seed: int, a: float, b: float) -> None:
    groups = tiles_of(grid)
    more, less = (groups.keep(random_scores(groups, seed), s) for s in (min(a, b), max(a, b)))
    assert not bool((less & ~more).any())


def test_random_masks_are_uniform() -> None:
    groups = TileGroups({"w": (4, 6)}, Tile.parse("2x1"), {"w": 2})
    total = torch.zeros(groups.n)
    for seed in range(2000):
        total += groups.keep(random_scores(groups, seed), 0.5)
    assert float((total / 2000 - 0.5).abs().max()) < 0.06  # 5 standard deviations


@given(st.sampled_from(["1x1", "2x1", "4x1", "1x2", "1x4", "3x2", "gate-column"]), seeds, st.floats(0, 1))
def test_the_diagonal_is_spared(name: str, seed: int, sparsity: float) -> None:
    grid = Tile.parse(name).grid((21, 7), 3)
    w = weights(grid, seed) * (1 - torch.eye(7)).repeat(3, 1)  # a diagonal that magnitude would prune first
    eye = torch.eye(7, dtype=torch.bool).repeat(3, 1)
    held = len({int(g) for g in grid.index()[:7][eye[:7]]})
    if held > kept_count(grid.groups_per_band, sparsity):
        with pytest.raises(UsageError, match="hold the diagonal"):
            prune(grid, w, sparsity, keep_diagonal=True)
        return
    mask = prune(grid, w, sparsity, keep_diagonal=True)
    assert bool(mask[eye].all())
    assert counts(grid, mask, 3) == [kept_count(grid.groups_per_band, sparsity)] * 3
    assert torch.equal(prune(grid, w, sparsity, keep_diagonal=True, previous=mask), mask)


def test_diagonal_of_named_matrices_only() -> None:
    w = {"hh": torch.zeros(6, 2), "ih": torch.ones(6, 5)}
    shapes, tile, gates = {"hh": (6, 2), "ih": (6, 5)}, Tile.parse("1x1"), dict.fromkeys(w, 3)
    groups = TileGroups(shapes, tile, gates, "gate", keep_diagonal=["hh"])
    assert magnitude_masks(groups, w, 0.5)["hh"].tolist() == [[True, False], [False, True]] * 3
    with pytest.raises(UsageError, match="gate of ih is 2 x 5, which is not square"):
        TileGroups(shapes, tile, gates, keep_diagonal=["hh", "ih"])
    with pytest.raises(UsageError, match="other not among"):
        TileGroups(shapes, tile, gates, keep_diagonal=["other"])
    with pytest.raises(UsageError, match="previous masks pruned tiles on the diagonal"):
        groups.keep(groups.scores(w), 0.5, groups.reduce({k: v > 0 for k, v in w.items()}))


def test_budgets() -> None:
    w = {"a": torch.full((4, 5), 3.0), "b": torch.full((2, 5), 1.0)}
    w["a"][:2] = 2.0
    shapes = {"a": (4, 5), "b": (2, 5)}

    def kept(scope: str) -> list[list[int]]:
        groups = TileGroups(shapes, Tile.parse("1x5"), {"a": 2}, scope)
        return [mask.sum(dim=1).tolist() for mask in magnitude_masks(groups, w, 0.5).values()]

    assert kept("gate") == [[5, 0, 5, 0], [5, 0]]
    assert kept("matrix") == [[0, 0, 5, 5], [5, 0]]
    assert kept("global") == [[5, 0, 5, 5], [0, 0]]


def test_bad_arguments() -> None:
    shapes, tile, gates = {"a": (4, 4), "b": (4, 4)}, Tile.parse("2x1"), {"a": 2}
    w = {"a": torch.ones(4, 4), "b": torch.ones(4, 4)}
    with pytest.raises(UsageError, match=r"prune\.scope: got 'all'"):
        TileGroups(shapes, tile, gates, "all")
    with pytest.raises(UsageError, match="a: tile 3x1 is larger than one gate"):
        TileGroups(shapes, Tile.parse("3x1"), gates)
    with pytest.raises(UsageError, match="a: tile unit: a hidden unit spans several matrices"):
        TileGroups(shapes, Tile.parse("unit"), gates)
    groups = TileGroups(shapes, tile, gates)
    scores = groups.scores(w)
    with pytest.raises(UsageError, match=r"within 0\.\.1"):
        groups.keep(scores, 1.5)
    with pytest.raises(UsageError, match=r"prune\.score"):
        groups.scores(w, "l0")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"a: 4 of 8 tiles .* left only 0; sparsity may not fall"):
        groups.keep(scores, 0.5, torch.zeros(groups.n, dtype=torch.bool))
    with pytest.raises(ValueError, match="shape"):
        groups.norms(w | {"b": torch.ones(4)})
    with pytest.raises(LanewiseError, match="1 of 16 groups have a score that is not a number"):
        groups.keep(torch.where(torch.arange(16) == 3, torch.nan, scores), 0.5)
    w["a"][1, 1] = float("nan")
    with pytest.raises(LanewiseError, match=r"a: .* NaN"):
        groups.scores(w)


def test_infinite_scores_obey_what_must_and_may_be_kept() -> None:
    scores = torch.tensor([torch.inf, torch.inf, 0.0, -torch.inf, -torch.inf])
    spared = torch.tensor([False, False, False, False, True])
    allowed = torch.tensor([True, True, True, False, True])
    budget = [(Budget("w", slice(0, 5)), 2)]
    assert select(scores, budget, allowed, spared).tolist() == [True, False, False, False, True]
    assert select(-scores, [(budget[0][0], 4)], allowed).tolist() == [True, True, True, False, True]


@given(grids(), seeds, sparsities)
def test_masks_applied_and_summarised(grid: Grid, seed: int, sparsity: float) -> None:
    w = weights(grid, seed)
    mask = prune(grid, w, sparsity)
    parameter = torch.nn.Parameter(w.clone())
    apply_masks_({"w": parameter, "free": torch.ones(2, 2)}, {"w": mask})
    assert torch.equal(parameter.detach(), torch.where(mask, w, 0.0))
    summary = summarise(mask, grid.tile, grid.gates)
    assert summary.nonzeros == sum(summary.strip_nonzeros) == int(mask.sum())
    assert summary.kept_tiles == sum(summary.strip_tiles) == grid.bands * kept_count(grid.groups_per_band, sparsity)
    assert summary.sparsity == pytest.approx(1 - float(mask.double().mean())) == achieved_sparsity({"w": mask})
    assert summary.gate_densities == pytest.approx([1 - s for s in gate_sparsities(mask, grid.gates)])
    first = mask[grid.bounds(0)[0]]
    assert summary.strip_nonzeros[0] == int(first.sum())
    picture = density_map(mask, 2, 3)
    assert [len(row) for row in picture] == [3, 3]
    assert density_map(mask, *mask.shape) == mask.double().tolist()


def test_sparsity_without_masks_is_zero() -> None:
    assert achieved_sparsity({}) == 0.0
    with pytest.raises(ValueError, match="does not fit"):
        density_map(torch.ones(2, 2, dtype=torch.bool), 3, 1)
