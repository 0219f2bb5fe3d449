"""What a set of masks is and does: applying it, its sparsity, and its picture as plain data."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.sparsity.tile import Tile


def apply_masks_(weights: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> None:
    """Set the pruned weights (mask False) to zero in place; matrices without a mask stay.

    Raises
    ------
    KeyError
        If a mask's matrix is not among the weights.
    """
    with torch.no_grad():
        for name, mask in masks.items():
            weights[name].masked_fill_(~mask, 0.0)


def achieved_sparsity(masks: Mapping[str, Tensor]) -> float:
    """Pruned share of all weights of the masked matrices, 0..1 (0 without masks)."""
    total = sum(mask.numel() for mask in masks.values())
    kept = sum(int(mask.sum()) for mask in masks.values())
    return 1 - kept / total if total else 0.0


def gate_sparsities(mask: Tensor, gates: int = 1) -> list[float]:
    """Pruned share of each gate of a mask (out, in), 0..1."""
    return [1 - density for density in mask.double().reshape(gates, -1).mean(dim=1).tolist()]


@dataclass(frozen=True)
class MaskSummary:
    """A mask in numbers, ready for JSON and for heat maps.

    Attributes
    ----------
    tile, shape, gates
        The pruning tile's name, (out, in), stacked gates.
    n_tiles, kept_tiles, nonzeros
        Tiles of the matrix, tiles kept, weights kept.
    sparsity
        Pruned share of the weights.
    gate_densities
        Kept share of the weights of each gate.
    strip_tiles, strip_nonzeros
        Tiles and weights kept in each strip (row of tiles) from top to bottom: how evenly the kernel's work is spread.
    column_densities
        Kept share of each input column, over all rows.
    """

    tile: str
    shape: tuple[int, int]
    gates: int
    n_tiles: int
    kept_tiles: int
    nonzeros: int
    sparsity: float
    gate_densities: list[float]
    strip_tiles: list[int]
    strip_nonzeros: list[int]
    column_densities: list[float]


def summarise(mask: Tensor, tile: Tile, gates: int = 1) -> MaskSummary:
    """Summary of a bool mask (out, in).

    Raises
    ------
    LanewiseError
        If the mask is not aligned to the tile.
    """
    mask = mask.cpu()
    grid = tile.grid((mask.shape[0], mask.shape[1]), gates)
    kept = grid.reduce(mask)
    strips = kept.reshape(grid.bands * grid.strips, grid.columns)
    weights = torch.where(kept, grid.sizes, 0).reshape(strips.shape)
    return MaskSummary(
        tile=tile.name,
        shape=grid.shape,
        gates=gates,
        n_tiles=grid.n_groups,
        kept_tiles=int(kept.sum()),
        nonzeros=int(mask.sum()),
        sparsity=achieved_sparsity({"": mask}),
        gate_densities=[1 - sparsity for sparsity in gate_sparsities(mask, gates)],
        strip_tiles=strips.sum(dim=1).tolist(),
        strip_nonzeros=weights.sum(dim=1).tolist(),
        column_densities=mask.double().mean(dim=0).tolist(),
    )


def density_map(mask: Tensor, rows: int, columns: int) -> list[list[float]]:
    """Kept share of the weights in each cell of a `rows` x `columns` picture of the mask (out, in), row by row.

    Cells differ by at most one weight per side when the picture does not divide the matrix.
    """
    if not (1 <= rows <= mask.shape[0] and 1 <= columns <= mask.shape[1]):
        raise ValueError(f"a picture of {rows} x {columns} does not fit a mask of shape {tuple(mask.shape)}")
    bands = torch.tensor_split(mask.cpu().double(), rows, dim=0)
    return [[float(cell.mean()) for cell in torch.tensor_split(band, columns, dim=1)] for band in bands]
