"""Tiles given by an index: the same as `Grid` where it gives Grid's index, and of one's own shape."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from torch import Tensor

from bench.engine.layout import pack_matrix
from bench.errors import LanewiseError, UsageError
from bench.sparsity import tile as tile_module
from bench.sparsity.count import kept_count
from bench.sparsity.grid import Grid
from bench.sparsity.groups import TileGroups
from bench.sparsity.index_grid import IndexGrid
from bench.sparsity.masks import summarise
from bench.sparsity.own import register_tile
from bench.sparsity.regularizer import GroupLasso
from bench.sparsity.tile import Tile

from .strategies import grids, seeds, weights


def by_index(grid: Grid) -> IndexGrid:
    return IndexGrid(grid.tile, grid.index(), grid.shape, grid.gates)


@given(grids(), seeds)
def test_equals_grid(grid: Grid, seed: int) -> None:
    slow, w = by_index(grid), weights(grid, seed).double()
    assert (slow.n_groups, slow.bands, slow.groups_per_band) == (grid.n_groups, grid.bands, grid.groups_per_band)
    assert torch.equal(slow.sizes, grid.sizes)
    for order in ("l2", "l1", "max"):
        torch.testing.assert_close(slow.norms(w, order), grid.norms(w, order))  # type: ignore[arg-type]
    torch.testing.assert_close(slow.rms(w), grid.rms(w))
    torch.testing.assert_close(slow.scores(w, "l2-mean"), grid.scores(w, "l2-mean"))
    torch.testing.assert_close(slow.sums(w), grid.sums(w))
    values = torch.rand(grid.n_groups)
    assert torch.equal(slow.expand(values), grid.expand(values))
    assert torch.equal(slow.index(), grid.index())
    mask = grid.expand(values < 0.5)
    assert torch.equal(slow.reduce(mask), grid.reduce(mask))
    assert torch.equal(slow.count(w > 0), grid.count(w > 0))
    assert [slow.bounds(g) for g in range(grid.n_groups)] == [grid.bounds(g) for g in range(grid.n_groups)]


@pytest.mark.parametrize("order", ["l2", "l1", "max"])
@given(grids(), seeds)
def test_gradients_equal_those_of_grid(order: str, grid: Grid, seed: int) -> None:
    w = weights(grid, seed).double()
    w.flatten()[0] = 0.0
    found = []
    for tiling in (grid, by_index(grid)):
        v = w.clone().requires_grad_()
        tiling.norms(v, order).square().sum().backward()  # type: ignore[arg-type, no-untyped-call]
        found.append(v.grad)
    torch.testing.assert_close(*found)


@given(grids(), seeds)
def test_numbers_are_free_and_gates_come_first(grid: Grid, seed: int) -> None:
    order = torch.randperm(grid.n_groups, generator=torch.Generator().manual_seed(seed))
    shuffled = IndexGrid(grid.tile, 7 * order[grid.index()] - 5, grid.shape, grid.gates)
    assert shuffled.bands == grid.bands
    bands = shuffled.index().reshape(grid.bands, -1) // grid.groups_per_band
    assert torch.equal(bands, torch.arange(grid.bands)[:, None].expand_as(bands))
    pairs = torch.stack([shuffled.index().flatten(), grid.index().flatten()]).unique(dim=1)
    assert pairs.shape[1] == grid.n_groups


def diagonals(shape: tuple[int, int], gates: int) -> np.ndarray:
    """Wrapped diagonals of each gate."""
    out, inputs = shape
    i, j = np.indices(shape)
    rows = out // gates
    return i // rows * inputs + (j - i % rows) % inputs


@pytest.fixture
def own() -> Iterator[Tile]:
    yield register_tile("diagonals", diagonals)
    del tile_module._NAMED["diagonals"]


def test_an_own_tile_works_like_any(own: Tile) -> None:
    assert Tile.parse("diagonals") is own
    assert (own.name, own.runs_as, own.simd_width) == ("diagonals", "1x1", None)
    assert own.extent((12, 4), 3) == (3, 1, 1)
    groups = TileGroups({"w": (12, 4)}, own, {"w": 3}, "gate", keep_diagonal=["w"])
    assert groups.n == 12
    assert groups.sizes.tolist() == [4] * 12
    w = {"w": torch.randn(12, 4)}
    before = groups.rms(w)
    GroupLasso(groups, lam=0.5).step_(w, 0.1)
    torch.testing.assert_close(groups.rms(w), (before - 0.05).clamp_min(0))
    kept = groups.keep(groups.scores(w), 0.5)
    mask = groups.expand(kept)["w"]
    assert [int(part.sum()) for part in kept.reshape(3, 4)] == [kept_count(4, 0.5)] * 3
    assert bool(mask[torch.eye(4, dtype=torch.bool).repeat(3, 1)].all())
    assert torch.equal(groups.reduce({"w": mask}), kept)
    assert summarise(mask, own, 3).kept_tiles == 6
    packed = pack_matrix(torch.where(mask, w["w"], 0.0).numpy(), str(own.runs_as), mask.numpy(), 3)
    assert packed.nonzeros == int(mask.sum())
    with pytest.raises(UsageError, match="2:4 needs 4 tiles in a row, but w has 1 of tile diagonals"):
        TileGroups({"w": (12, 4)}, own, {"w": 3}, "2:4")


def test_a_partly_kept_group_is_an_error(own: Tile) -> None:
    mask = torch.ones(12, 4, dtype=torch.bool)
    mask[0, 1] = False
    with pytest.raises(LanewiseError, match="not aligned to tile diagonals: 1 of 12 tiles"):
        own.grid((12, 4), 3).reduce(mask)


def test_bad_tiles(own: Tile) -> None:
    for name in ("diagonals", "4x4", "column", "unit"):
        with pytest.raises(UsageError, match=f"the name '{name}' is taken"):
            register_tile(name, lambda shape, gates: np.zeros(shape, int))
    assert register_tile("diagonals", diagonals) == own  # a module that is loaded twice
    for runs_as in ("diagonals", "unit"):
        with pytest.raises(UsageError, match="tile new: runs_as must name a tile with a kernel"):
            register_tile("new", diagonals, runs_as)
    with pytest.raises(UsageError, match="do not split into 5 equal gates"):
        own.grid((12, 4), 5)

    def tiling(index: object, runs_as: str = "1x1") -> Tile:
        tile = register_tile("new", lambda shape, gates: index, runs_as)
        del tile_module._NAMED["new"]
        return tile

    wrong: list[Tensor] = [torch.zeros(3, 4, dtype=torch.int64), torch.zeros(12, 4), torch.zeros(12, 4) > 0]
    for index in wrong:
        with pytest.raises(
            UsageError, match=r"must give a whole number for each weight of a matrix of shape \(12, 4\)"
        ):
            tiling(index).grid((12, 4), 3)
    with pytest.raises(UsageError, match="12 tiles of 4x1, which it runs as, lie in more than one of its groups"):
        tiling(torch.from_numpy(diagonals((12, 4), 3)), "4x1").extent((12, 4), 3)
    assert tiling(Tile.parse("4x4").grid((12, 4), 3).index(), "4x1").grid((12, 4), 3).n_groups == 3
