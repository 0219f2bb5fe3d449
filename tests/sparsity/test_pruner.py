"""Pruned masks: exact counts, ties, idempotence, nesting, alignment, diagonals, budgets."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from bench.errors import LanewiseError, UsageError
from bench.sparsity.count import kept_count
from bench.sparsity.grid import Grid
from bench.sparsity.masks import achieved_sparsity, apply_masks_, density_map, gate_sparsities, summarise
from bench.sparsity.pruner import magnitude_masks, random_masks
from bench.sparsity.schedule import KINDS, Schedule
from bench.sparsity.tile import Tile

from .strategies import grids, seeds, sparsities, weights

scores = st.sampled_from(["l2", "l1", "max", "l2-mean"])
scopes = st.sampled_from(["gate", "matrix", "global"])


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


def prune(grid: Grid, w: Tensor, sparsity: float, **options: object) -> Tensor:
    masks = magnitude_masks({"w": w}, {"w": grid.tile}, {"w": grid.gates}, sparsity, **options)  # type: ignore[arg-type]
    return masks["w"]


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
    generator = torch.Generator().manual_seed(seed)
    options = ({"w": grid.tile}, {"w": grid.gates}, sparsity, generator)
    random = random_masks({"w": w}, *options, scope=scope)  # type: ignore[arg-type]
    assert counts(grid, random["w"], budgets) == wanted


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
    assert torch.equal(prune(grid, w, sparsity, scope=scope, previous={"w": mask}), mask)


@given(grids(), seeds, st.sampled_from(KINDS), st.floats(0, 1), st.booleans())
def test_no_resurrection_over_a_schedule(grid: Grid, seed: int, kind: str, final: float, at_random: bool) -> None:
    schedule = Schedule(kind, final, start=1, end=8)  # type: ignore[arg-type]
    previous = {"w": torch.ones(grid.shape, dtype=torch.bool)}
    arguments = ({"w": grid.tile}, {"w": grid.gates})
    for step in range(10):
        w = {"w": weights(grid, seed + step)}  # as if training had moved every weight
        sparsity = schedule.sparsity_at(step)
        if at_random:
            generator = torch.Generator().manual_seed(seed + step)
            masks = random_masks(w, *arguments, sparsity, generator, previous=previous)
        else:
            masks = magnitude_masks(w, *arguments, sparsity, previous=previous)
        assert not bool((masks["w"] & ~previous["w"]).any())
        previous = masks
    assert counts(grid, previous["w"], grid.bands) == [kept_count(grid.groups_per_band, final)] * grid.bands


@given(grids(), seeds, sparsities, sparsities)
def test_random_masks_of_one_seed_are_nested(grid: Grid, seed: int, a: float, b: float) -> None:
    def draw(sparsity: float) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        w = {"w": torch.zeros(grid.shape)}
        return random_masks(w, {"w": grid.tile}, {"w": grid.gates}, sparsity, generator)["w"]

    assert not bool((draw(max(a, b)) & ~draw(min(a, b))).any())


def test_random_masks_are_uniform() -> None:
    generator = torch.Generator().manual_seed(1)
    total = torch.zeros(4, 6)
    for _ in range(2000):
        total += random_masks({"w": torch.empty(4, 6)}, {"w": Tile.parse("2x1")}, {"w": 2}, 0.5, generator)["w"]
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
    assert torch.equal(prune(grid, w, sparsity, keep_diagonal=True, previous={"w": mask}), mask)


def test_diagonal_of_named_matrices_only() -> None:
    w = {"hh": torch.zeros(6, 2), "ih": torch.ones(6, 5)}
    tiles = dict.fromkeys(w, Tile.parse("1x1"))
    gates = dict.fromkeys(w, 3)
    masks = magnitude_masks(w, tiles, gates, 0.5, keep_diagonal=["hh"])
    assert masks["hh"].tolist() == [[True, False], [False, True]] * 3
    with pytest.raises(UsageError, match="gate of ih is 2 x 5, which is not square"):
        magnitude_masks(w, tiles, gates, 0.5, keep_diagonal=True)
    with pytest.raises(UsageError, match="other not among"):
        magnitude_masks(w, tiles, gates, 0.5, keep_diagonal=["other"])
    with pytest.raises(UsageError, match="previous masks pruned tiles on the diagonal"):
        magnitude_masks(w, tiles, gates, 0.5, keep_diagonal=["hh"], previous={k: v > 0 for k, v in w.items()})


def test_budgets() -> None:
    w = {"a": torch.full((4, 5), 3.0), "b": torch.full((2, 5), 1.0)}
    w["a"][:2] = 2.0
    tiles, gates = dict.fromkeys(w, Tile.parse("1x5")), {"a": 2}
    kept = {
        scope: [m.sum(dim=1).tolist() for m in magnitude_masks(w, tiles, gates, 0.5, scope=scope).values()]
        for scope in ("gate", "matrix", "global")
    }
    assert kept["gate"] == [[5, 0, 5, 0], [5, 0]]
    assert kept["matrix"] == [[0, 0, 5, 5], [5, 0]]
    assert kept["global"] == [[5, 0, 5, 5], [0, 0]]
    per_gate = magnitude_masks(w, tiles, gates, {"a": [1.0, 0.0], "b": 0.5})
    assert per_gate["a"].sum(dim=1).tolist() == [0, 0, 5, 5]
    assert magnitude_masks({}, {}, {}, 0.5, scope="global") == {}


def test_bad_arguments() -> None:
    w = {"a": torch.ones(4, 4), "b": torch.ones(4, 4)}
    tiles, gates = {"a": Tile.parse("2x1"), "b": Tile.parse("1x1")}, {"a": 2}
    cases: list[tuple[dict[str, object], str]] = [
        ({"sparsity": 1.5}, r"within 0\.\.1"),
        ({"scope": "all"}, r"prune\.scope"),
        ({"scope": "global"}, r"same prune\.tile"),
        ({"score": "l0"}, r"prune\.score"),
        ({"sparsity": {"a": 0.5}}, r"given for a, the pruned matrices are a, b"),
        ({"sparsity": {"a": [0.5], "b": 0.5}}, "a has 2 budgets .* got 1"),
        ({"sparsity": {"a": 0.5, "b": 0.5}, "scope": "global", "tiles": dict.fromkeys(w, tiles["a"])}, "one number"),
        ({"tiles": {"a": tiles["a"]}}, r"prune\.tile: none given for b"),
        ({"tiles": tiles | {"a": Tile.parse("3x1")}}, "a: tile 3x1 is larger than one gate"),
        ({"weights": w | {"b": torch.ones(4)}}, "b: only matrices"),
        ({"previous": {"a": w["a"] > 0}}, "previous masks are of a"),
        ({"previous": {k: v > 2 for k, v in w.items()}}, "sparsity may not fall"),
    ]
    for options, message in cases:
        arguments = {"weights": w, "tiles": tiles, "gates": gates, "sparsity": 0.5} | options
        with pytest.raises(UsageError, match=message):
            magnitude_masks(**arguments)  # type: ignore[arg-type]
    w["a"][1, 1] = float("nan")
    with pytest.raises(LanewiseError, match=r"a: .* NaN"):
        magnitude_masks(w, tiles, gates, 0.5)


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
