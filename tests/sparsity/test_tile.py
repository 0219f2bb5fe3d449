"""Tile geometry against a slow loop over weights."""

import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import LanewiseError, UsageError
from bench.sparsity.grid import Grid
from bench.sparsity.tile import COMMON_NAMES, Tile

from .strategies import NAMES, grids, seeds, weights


def slow_groups(grid: Grid) -> list[list[tuple[int, int]]]:
    """Weights of each group by walking the matrix from top left, band by band."""
    out, inputs = grid.shape
    band_rows = out if grid.tile.stacked else out // grid.gates
    r, c = grid.tile.rows or band_rows, grid.tile.cols or inputs
    groups = []
    for band in range(0, out, band_rows):
        for top in range(band, band + band_rows, r):
            for left in range(0, inputs, c):
                rows = range(top, min(top + r, band + band_rows))
                groups.append([(i, j) for i in rows for j in range(left, min(left + c, inputs))])
    return groups


@given(grids(), seeds)
def test_norms_and_sizes_equal_a_loop(grid: Grid, seed: int) -> None:
    w = weights(grid, seed)
    groups = [torch.stack([w[i, j] for i, j in group]) for group in slow_groups(grid)]
    assert grid.n_groups == len(groups)
    assert grid.sizes.tolist() == [len(g) for g in groups]
    torch.testing.assert_close(grid.norms(w), torch.stack([(g * g).sum().sqrt() for g in groups]))
    torch.testing.assert_close(grid.norms(w, "l1"), torch.stack([g.abs().sum() for g in groups]))
    torch.testing.assert_close(grid.norms(w, "max"), torch.stack([g.abs().max() for g in groups]))
    torch.testing.assert_close(grid.rms(w), torch.stack([(g * g).mean().sqrt() for g in groups]))
    torch.testing.assert_close(grid.scores(w, "l2-mean").float(), grid.rms(w))


@given(grids())
def test_index_and_bounds_equal_a_loop(grid: Grid) -> None:
    index = grid.index()
    for number, group in enumerate(slow_groups(grid)):
        assert {index[i, j].item() for i, j in group} == {number}
        rows, cols = grid.bounds(number)
        assert [(i, j) for i in range(rows.start, rows.stop) for j in range(cols.start, cols.stop)] == group
    assert int(grid.sizes.sum()) == index.numel()


@given(grids())
def test_only_column_crosses_a_gate(grid: Grid) -> None:
    gate_rows = grid.shape[0] // grid.gates
    crossing = [g for g in slow_groups(grid) if len({i // gate_rows for i, _ in g}) > 1]
    assert bool(crossing) == (grid.tile.name == "column" and grid.gates > 1)


@given(grids(), seeds)
def test_reduce_inverts_expand(grid: Grid, seed: int) -> None:
    kept = torch.rand(grid.n_groups, generator=torch.Generator().manual_seed(seed)) < 0.5
    mask = grid.expand(kept)
    assert mask.shape == grid.shape
    assert mask.is_contiguous()
    assert torch.equal(grid.reduce(mask), kept)
    assert torch.equal(grid.count(mask), torch.where(kept, grid.sizes, 0))


@given(grids().filter(lambda g: int(g.sizes.max()) > 1), seeds)
def test_a_partly_kept_tile_is_an_error(grid: Grid, seed: int) -> None:
    mask = torch.ones(grid.shape, dtype=torch.bool)
    group = int(grid.sizes.argmax())
    rows, cols = grid.bounds(group)
    mask[rows.start, cols.start] = False
    with pytest.raises(LanewiseError, match=f"1 of {grid.n_groups} tiles .*rows {rows.start}"):
        grid.reduce(mask)


@pytest.mark.parametrize("order", ["l2", "l1", "max"])
@given(grids(), seeds)
def test_gradient_of_norms(order: str, grid: Grid, seed: int) -> None:
    w = weights(grid, seed).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda v: grid.norms(v, order), w, fast_mode=True)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("order", ["l2", "l1", "max"])
def test_gradient_at_zero_is_zero(name: str, order: str) -> None:
    grid = Tile.parse(name).grid((12, 7), 3)
    w = torch.zeros(12, 7, requires_grad=True)
    grid.norms(w, order).sum().backward()  # type: ignore[arg-type, no-untyped-call]
    assert w.grad is not None
    assert torch.equal(w.grad, torch.zeros(12, 7))


def test_scores_tell_tiny_weights_apart() -> None:
    w = torch.full((1, 4), 1e-30)
    w[0, 2:] = 2e-30
    scores = Tile.parse("1x2").grid((1, 4)).scores(w)
    assert scores[1] > scores[0] > 0


def test_a_non_contiguous_matrix() -> None:
    w = torch.randn(8, 12)
    grid = Tile.parse("4x1").grid((12, 8), 3)
    assert torch.equal(grid.norms(w.T), grid.norms(w.T.contiguous()))


@pytest.mark.parametrize("name", COMMON_NAMES)
def test_names_round_trip(name: str) -> None:
    tile = Tile.parse(name)
    assert tile.name == str(tile) == name
    assert Tile.parse(tile.name) == tile


def test_simd_width() -> None:
    widths = {name: Tile.parse(name).simd_width for name in COMMON_NAMES}
    assert {name: g for name, g in widths.items() if g} == {
        "4x1": 4, "8x1": 8, "16x1": 16, "32x1": 32, "1x4": 4, "1x8": 8, "1x16": 16,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("colum", "unknown name 'colum'; did you mean 'column'"),
        ("16X1", "did you mean '16x1'"),
        ("gate_column", "did you mean 'gate-column'"),
        ("16", "unknown name '16'"),
        ("", "unknown name ''"),
        ("-4x1", "unknown name '-4x1'"),
        ("0x4", "'0x4' is empty"),
        ("4x0", "'4x0' is empty"),
    ],
)
def test_a_bad_name(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Tile.parse(name)


@pytest.mark.parametrize(
    ("name", "shape", "gates", "message"),
    [
        ("16x1", (24, 8), 3, "larger than one gate it tiles: 8 rows x 8 columns"),
        ("1x16", (24, 8), 3, "larger than one gate"),
        ("16x1", (8, 8), 1, "larger than the matrix"),
        ("1x1", (8, 8), 3, "8 output rows do not split into 3 equal gates"),
        ("1x1", (0, 8), 1, "no weights"),
    ],
)
def test_an_impossible_tile(name: str, shape: tuple[int, int], gates: int, message: str) -> None:
    tile = Tile.parse(name)
    with pytest.raises(UsageError, match=message):
        tile.extent(shape, gates)
    with pytest.raises(UsageError, match=message):
        tile.grid(shape, gates)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 4), st.integers(1, 40), st.integers(1, 40))
def test_a_tile_is_accepted_exactly_when_it_fits(rows: int, inputs: int, gates: int, r: int, c: int) -> None:
    tile = Tile.parse(f"{r}x{c}")
    if r <= rows and c <= inputs:
        assert tile.grid((rows * gates, inputs), gates).n_groups == gates * -(-rows // r) * -(-inputs // c)
    else:
        with pytest.raises(UsageError):
            tile.grid((rows * gates, inputs), gates)


def test_a_wrong_matrix_is_refused() -> None:
    grid = Tile.parse("1x1").grid((4, 4))
    with pytest.raises(ValueError, match="shape"):
        grid.norms(torch.zeros(4, 5))
    with pytest.raises(ValueError, match="bool"):
        grid.reduce(torch.zeros(4, 4))
    with pytest.raises(ValueError, match="16 values"):
        grid.expand(torch.zeros(4, 4))
    with pytest.raises(UsageError, match="l3"):
        grid.norms(torch.zeros(4, 4), "l3")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="l3"):
        grid.scores(torch.zeros(4, 4), "l3")  # type: ignore[arg-type]


def test_checking_a_configuration_loads_no_torch() -> None:
    code = (
        "import sys, bench.sparsity.tile as t, bench.sparsity.schedule, bench.sparsity.count;"
        "t.Tile.parse('16x1').extent((48, 4), 3); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
