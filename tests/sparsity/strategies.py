"""Random tilings for the property tests."""

import hypothesis.strategies as st
import torch
from torch import Tensor

from bench.sparsity.grid import Grid
from bench.sparsity.groups import TileGroups
from bench.sparsity.tile import Tile

NAMES = ["1x1", "2x1", "3x1", "4x1", "1x2", "1x3", "1x4", "2x3", "3x2", "column", "gate-column", "row"]


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    """A small matrix, ragged more often than not."""
    gates = draw(st.integers(1, 3))
    shape = (gates * draw(st.integers(4, 9)), draw(st.integers(4, 11)))
    return Tile.parse(draw(st.sampled_from(NAMES))).grid(shape, gates)


def weights(grid: Grid, seed: int, levels: int | None = None) -> Tensor:
    """Normal weights; with `levels`, few distinct magnitudes (zero among them), so that scores tie."""
    generator = torch.Generator().manual_seed(seed)
    if levels is None:
        return torch.randn(grid.shape, generator=generator)
    per_group = torch.randint(levels, (grid.n_groups,), generator=generator).float()
    return grid.expand(per_group)


def tile_groups(grid: Grid) -> TileGroups:
    """The groups of one matrix `w`."""
    return TileGroups({"w": grid.shape}, grid.tile, {"w": grid.gates})


seeds = st.integers(0, 2**31)
sparsities = st.one_of(st.sampled_from([0.0, 1e-12, 1e-3, 0.25, 0.5, 0.7, 1 - 1e-12, 1.0]), st.floats(0, 1))
