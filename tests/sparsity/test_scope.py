"""N:M and a sparsity for each gate, against slow loops."""

import subprocess
import sys

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from bench.errors import UsageError
from bench.sparsity.count import kept_count
from bench.sparsity.grid import Grid
from bench.sparsity.groups import TileGroups
from bench.sparsity.schedule import KINDS, Schedule
from bench.sparsity.scope import Scope, gate_shares
from bench.sparsity.select import select
from bench.sparsity.tile import Tile
from tests.sparsity.magnitude import magnitude_masks

from .strategies import grids, seeds, weights

runs = st.sampled_from([(1, 2), (2, 2), (2, 4), (4, 8), (1, 3), (3, 5)])


def n_of_m(grid: Grid, run: tuple[int, int]) -> TileGroups:
    assume(grid.columns >= run[1])
    return TileGroups({"w": grid.shape}, grid.tile, {"w": grid.gates}, f"{run[0]}:{run[1]}")


@given(grids(), seeds, runs, st.sampled_from([None, 1, 3]), st.floats(0, 1))
def test_n_of_m_equals_one_selection_after_another(
    grid: Grid, seed: int, run: tuple[int, int], levels: int | None, share: float
) -> None:
    groups = n_of_m(grid, run)
    keep, of = run
    scores = groups.scores({"w": weights(grid, seed, levels)}, "max")
    sparsity = share * (1 - keep / of)
    kept = groups.keep(scores, sparsity)
    per_run = kept_count(of, sparsity)
    counts = [(budget, -(-per_run * budget.size // of)) for budget in groups.budgets()]
    assert torch.equal(kept, select(scores, counts))
    assert sum(budget.size for budget, _ in counts) == grid.n_groups
    lines = kept.reshape(-1, grid.columns)
    for line in lines:
        for left in range(0, grid.columns - of + 1, of):
            assert int(line[left : left + of].sum()) == per_run
    assert torch.equal(groups.keep(scores, sparsity, kept), kept)


@given(grids(), seeds, runs, st.sampled_from(KINDS))
def test_n_of_m_ramps_to_its_end_without_resurrection(grid: Grid, seed: int, run: tuple[int, int], kind: str) -> None:
    groups = n_of_m(grid, run)
    end = groups.scope.sparsity
    assert end is not None
    schedule = Schedule(kind, end, start=1, end=8)  # type: ignore[arg-type]
    previous = torch.ones(groups.n, dtype=torch.bool)
    for step in range(10):
        kept = groups.keep(groups.scores({"w": weights(grid, seed + step)}), schedule.sparsity_at(step), previous)
        assert not bool((kept & ~previous).any())
        previous = kept
    wanted = [-(-run[0] * budget.size // run[1]) for budget in groups.budgets()]
    assert [int(previous[budget.groups].sum()) for budget in groups.budgets()] == wanted


def test_two_of_four_by_hand() -> None:
    w = torch.tensor([[1.0, 4.0, 2.0, 3.0, 5.0, 6.0], [1.0, 1.0, 1.0, 1.0, 0.0, 0.0]])
    groups = TileGroups({"w": (2, 6)}, Tile.parse("1x1"), scope="2:4")
    assert magnitude_masks(groups, {"w": w}, 0.5)["w"].tolist() == [
        [False, True, False, True, False, True],
        [True, True, False, False, True, False],
    ]


def test_n_of_m_keeps_the_diagonal() -> None:
    w = {"w": (1 - torch.eye(8)).repeat(3, 1)}
    groups = TileGroups({"w": (24, 8)}, Tile.parse("1x1"), {"w": 3}, "1:4", keep_diagonal=["w"])
    mask = magnitude_masks(groups, w, 0.75)["w"]
    assert bool(mask[torch.eye(8, dtype=torch.bool).repeat(3, 1)].all())
    assert mask.reshape(-1, 4).sum(dim=1).tolist() == [1] * 48
    crowded = TileGroups({"w": (24, 8)}, Tile.parse("4x1"), {"w": 3}, "1:4", keep_diagonal=["w"])
    with pytest.raises(UsageError, match="w, run 0: 1 of 4 tiles are to be kept, but 4 hold the diagonal"):
        crowded.keep(torch.ones(crowded.n), 0.75)


def test_bad_scopes() -> None:
    for name, message in {
        "4:2": "of 2 tiles, 4 cannot be kept",
        "0:4": "got '0:4', allowed: gate, matrix, global, or N:M",
        "rows": "got 'rows', allowed",
        "2:4:8": "allowed",
    }.items():
        with pytest.raises(UsageError, match=message):
            Scope.parse(name)
    with pytest.raises(UsageError, match="2:4 needs 4 tiles in a row, but w has 1 of tile row"):
        TileGroups({"w": (6, 8)}, Tile.parse("row"), scope="2:4")
    groups = TileGroups({"w": (6, 8)}, Tile.parse("1x1"), scope="2:4")
    with pytest.raises(UsageError, match=r"prune\.sparsity: got 0.7, .* 2 of every 4 tiles: a sparsity of 0.5"):
        groups.keep(torch.ones(groups.n), 0.7)
    with pytest.raises(UsageError, match=r"w, run 0: .* left only 0; sparsity may not fall"):
        groups.keep(torch.ones(groups.n), 0.5, torch.zeros(groups.n, dtype=torch.bool))


def test_scopes_are_checked_without_torch() -> None:
    code = "import sys; from bench.sparsity.scope import Scope; Scope.parse('2:4'); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def gated(shares: list[float]) -> TileGroups:
    return TileGroups({"a": (30, 7), "b": (12, 5)}, Tile.parse("2x1"), {"a": 3, "b": 3}, "gate", gate_sparsity=shares)


@given(st.lists(st.floats(0, 1), min_size=3, max_size=3), seeds, st.sampled_from(KINDS))
def test_gates_end_on_their_own_sparsity(shares: list[float], seed: int, kind: str) -> None:
    groups = gated(shares)
    schedule = Schedule(kind, sum(shares) / 3, start=1, end=8)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(seed)
    previous = torch.ones(groups.n, dtype=torch.bool)
    for step in range(10):
        kept = groups.keep(torch.rand(groups.n, generator=generator), schedule.sparsity_at(step), previous)
        assert not bool((kept & ~previous).any())
        previous = kept
    counts = [int(previous[budget.groups].sum()) for budget in groups.budgets()]
    assert counts == [kept_count(size, share) for size in (35, 10) for share in shares]


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=4), st.floats(0, 1))
def test_gates_rise_in_proportion(shares: list[float], part: float) -> None:
    mean = sum(shares) / len(shares)
    assert gate_shares(shares, part * mean) == pytest.approx([part * share for share in shares], abs=5e-6)


def test_bad_gate_sparsities() -> None:
    with pytest.raises(
        UsageError, match=r"at a sparsity of 0.8 the gates would have 1.6, 0.8, 0, expected 0\.\.1; its"
    ):
        gated([1.0, 0.5, 0.0]).keep(torch.ones(45 * 3), 0.8)
    with pytest.raises(UsageError, match="would have inf, inf, inf"):
        gated([0.0, 0.0, 0.0]).keep(torch.ones(45 * 3), 0.1)
    with pytest.raises(UsageError, match=r"got 1.2, expected numbers within 0\.\.1"):
        gated([1.2, 0.5, 0.0])
    with pytest.raises(UsageError, match="got 2 numbers, but a has 3 gates"):
        gated([0.5, 0.0])
    arguments = ({"w": (6, 8)}, Tile.parse("column"), {"w": 3})
    with pytest.raises(UsageError, match="got 3 numbers, but w has 1 gate under this tile"):
        TileGroups(*arguments, "gate", gate_sparsity=[0.1] * 3)
    with pytest.raises(UsageError, match=r"needs prune\.scope 'gate', got 'matrix'"):
        TileGroups(*arguments, gate_sparsity=[0.1] * 3)
