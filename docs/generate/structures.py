"""Pictures of what is kept or pruned as one: tiles, budgets, and the regularizer's tile beside the pruner's."""

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap, ListedColormap
from matplotlib.figure import Figure
from torch import Tensor

from bench.config.matrices import unit_layers
from bench.sparsity.groups import Groups, TileGroups
from bench.sparsity.regularizer import GroupLasso
from bench.sparsity.tile import Tile
from bench.sparsity.units import UnitGroups
from docs.generate import matrices
from reports.figures.style import PALETTE, figure

HIDDEN, GATES, KEY = 12, 3, "gru.w_hh"
SHAPE = (GATES * HIDDEN, HIDDEN)
SPARSITY = 0.5
KEPT = ListedColormap([PALETTE[5]])
MAGNITUDE = LinearSegmentedColormap.from_list("magnitude", ["#FFFFFF", PALETTE[0]])
SIMD = Tile(4, 1)

Mask = npt.NDArray[np.bool_]


def weights(seed: int = 3) -> Tensor:
    """Return a recurrent matrix (3 gates of 12, 12) of numbers drawn once; some rows and columns count more."""
    rng = np.random.default_rng(seed)
    scale = np.outer(rng.gamma(4.0, 0.25, SHAPE[0]), rng.gamma(4.0, 0.25, SHAPE[1]))
    return torch.from_numpy(rng.standard_normal(SHAPE) * scale)


def kept(groups: Groups, by_key: dict[str, Tensor]) -> Mask:
    """Return the mask of the recurrent matrix that magnitude pruning leaves."""
    mask: Mask = groups.expand(groups.keep(groups.scores(by_key), SPARSITY))[KEY].numpy()
    return mask


def structures() -> Figure:
    """One matrix under eight tiles, half of it pruned by magnitude."""
    names = ("1x1", "4x1", "1x4", "4x4", "gate-column", "column", "row", "unit")
    w = weights()
    with figure(7.6, 6.6) as drawn:
        for axes, name in zip(drawn.subplots(2, 4).flat, names, strict=True):
            if name == "unit":
                mask, tiles = kept(*_units(w)), None
            else:
                tile = Tile.parse(name)
                mask, tiles = kept(_groups(tile), {KEY: w}), tile
            _matrix(axes, mask, KEPT, tiles)
            axes.set_title(f"{name}: {mask.mean():.0%} kept")
        return drawn


def scopes() -> Figure:
    """One tile under five budgets."""
    w = weights(5)
    cases = {
        "matrix": _groups(SIMD, "matrix"),
        "gate": _groups(SIMD, "gate"),
        "gate_sparsity\n0.8, 0.5, 0.2": _groups(SIMD, "gate", shares=(0.8, 0.5, 0.2)),
        "2:4": _groups(SIMD, "2:4"),
        "keep_diagonal": _groups(SIMD, diagonal=(KEY,)),
    }
    with figure(7.6, 3.9) as drawn:
        for axes, (name, groups) in zip(drawn.subplots(1, 5), cases.items(), strict=True):
            mask = kept(groups, {KEY: w})
            _matrix(axes, mask, KEPT, SIMD)
            shares = ", ".join(f"{1 - part.mean():.2f}" for part in mask.reshape(GATES, -1))
            axes.set_title(name)
            axes.set_xlabel(f"pruned by gate\n{shares}")
        return drawn


def two_tiles() -> Figure:
    """Magnitudes under the Lasso and under the group Lasso, and what a pruner of SIMD groups then takes away."""
    with figure(7.6, 7.4) as drawn:
        for axes, tile in zip(drawn.subplots(2, 3), (Tile(1, 1), SIMD), strict=True):
            w = weights()
            before = w.abs().numpy().copy()
            groups = _groups(tile)
            strength = float(groups.rms({KEY: w}).quantile(SPARSITY))  # a step of rate 1 then empties half of its tiles
            GroupLasso(groups, "proximal", strength).proximal_({KEY: w}, 1.0)
            empty = (groups.rms({KEY: w}) == 0).double().mean()
            after = w.abs().numpy()
            mask = kept(_groups(SIMD), {KEY: w})
            lost = after[~mask].sum() / after.sum()
            pruned = np.where(mask, after, 0.0)
            for place, values, title in zip(
                axes,
                (before, after, pruned),
                ("before", f"reg.tile {tile}:\n{empty:.0%} of its tiles zero",
                 f"prune.tile {SIMD}, half of them:\n{lost:.0%} of what was left is lost"),
                strict=True,
            ):  # fmt: skip
                _matrix(place, np.sqrt(values / before.max()), MAGNITUDE, SIMD if values is pruned else None)
                place.set_title(title)
        return drawn


def _groups(tile: Tile, scope: str = "matrix", shares: tuple[float, ...] | None = None,
            diagonal: tuple[str, ...] = ()) -> TileGroups:  # fmt: skip
    return TileGroups({KEY: SHAPE}, tile, {KEY: GATES}, scope, shares, diagonal)


def _units(w: Tensor) -> tuple[UnitGroups, dict[str, Tensor]]:
    """Hidden units of a GRU and the layer after it; only the recurrent matrix is budgeted."""
    shapes = {KEY: SHAPE, "head.fc.weight": (8, HIDDEN)}
    head = torch.from_numpy(np.random.default_rng(4).standard_normal(shapes["head.fc.weight"]))
    return UnitGroups(shapes, unit_layers(HIDDEN), [KEY]), {KEY: w, "head.fc.weight": head}


def _matrix(axes: Axes, values: npt.NDArray[np.generic], colours: Colormap, tile: Tile | None) -> None:
    """Draw a matrix, its gates named at the left and parted by thick lines."""
    matrices.draw(axes, values, colours, tile.grid(SHAPE, GATES).index().numpy() if tile else None)
    axes.set_yticks([HIDDEN * (gate + 0.5) for gate in range(GATES)], ["r", "z", "n"])
    axes.tick_params(length=0)
    for gate in range(1, GATES):
        axes.axhline(gate * HIDDEN, color=PALETTE[1], linewidth=1.8)
