"""Mask heat maps: which weights stay, gate by gate, with the pruning tile's grid on an enlarged corner."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bench.errors import LanewiseError
from reports.analysis import Analysis
from reports.figures.style import GRID, empty, figure, short
from reports.histories import GATES, MOST_ARMS, extent

MASKS_FILE = "masks.npz"
CORNER = 48
TILE_LINE = "#8C959F"
KEPT = ListedColormap(["#FFFFFF", "#0072B2"])


@dataclass(frozen=True)
class Panel:
    """One gate of one arm's matrix: True where a weight is kept.

    `tile_rows`, `tile_cols` are the tile's extent within the gate (all of its rows for a column).
    """

    arm: str
    matrix: str
    gate: str
    kept: NDArray[np.bool_]
    tile: str
    tile_rows: int
    tile_cols: int

    @property
    def density(self) -> float:
        """Share of weights kept."""
        return float(self.kept.mean())


def read_masks(folder: Path) -> dict[str, NDArray[np.bool_]]:
    """Masks (out, in) by state key from `masks.npz` beside a record; empty where none are stored.

    Raises
    ------
    LanewiseError
        The file is damaged.
    """
    path = folder / MASKS_FILE
    if not path.is_file():
        return {}
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {key: np.asarray(stored[key], dtype=np.bool_) for key in sorted(stored.files)}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise LanewiseError(f"{path}: cannot be read as masks ({error}); delete it to go without") from error


def data(analysis: Analysis) -> list[Panel]:
    """Panels of the recurrent matrix (the largest masked one where that is dense) of the arms drawn, first seed."""
    panels: list[Panel] = []
    for arm in filter(analysis.is_pruned, analysis.arms):
        if len({panel.arm for panel in panels}) == MOST_ARMS:
            break
        masks = read_masks(Path(analysis.study.of_arm(arm)["folder"].iloc[0]))
        if masks:
            matrix = max(masks, key=lambda key: (key.endswith("w_hh"), masks[key].size))
            panels += _panels(arm, matrix, masks[matrix], str(analysis.param(arm, "prune.tile")))
    return panels


def _panels(arm: str, matrix: str, mask: NDArray[np.bool_], tile: str) -> list[Panel]:
    gates = mask.shape[0] // mask.shape[1] if matrix.endswith("w_hh") else 1  # a recurrent matrix's gates are square
    rows = mask.shape[0] // gates
    names = GATES.get(gates, tuple(str(gate + 1) for gate in range(gates)))
    tile_rows, tile_cols = extent(tile, (mask.shape[0], mask.shape[1]), gates)
    return [
        Panel(arm, matrix, name, mask[i * rows : (i + 1) * rows], tile, min(tile_rows, rows), tile_cols)
        for i, name in enumerate(names)
    ]


def draw(analysis: Analysis) -> Figure:
    """One row per arm: its gates whole, then the first gate's corner enlarged with the tile grid."""
    panels = data(analysis)
    arms = list(dict.fromkeys(panel.arm for panel in panels))[:MOST_ARMS]
    if not arms:
        return empty("Masks are not stored with these records (masks.npz).")
    by_arm = {arm: [panel for panel in panels if panel.arm == arm] for arm in arms}
    columns = max(len(found) for found in by_arm.values()) + 1
    with figure(1.95 * columns, 2.25 * len(arms)) as drawn:
        grid = drawn.subplots(len(arms), columns, squeeze=False)
        for row, (arm, found) in zip(grid, by_arm.items(), strict=True):
            for axes in row[len(found) : -1]:
                axes.set_axis_off()
            for axes, panel in zip(row, found, strict=False):
                picture(axes, panel.kept)
                gate = f"gate {panel.gate}, " if panel.gate else ""
                axes.set_title(f"{gate}{panel.density:.1%} kept", pad=3)
            row[0].set_ylabel(f"{short(arm)}\n{found[0].matrix}, tile {short(found[0].tile)}")
            _corner(row[-1], found[0])
        return drawn


def picture(axes: Axes, kept: NDArray[np.bool_]) -> None:
    """Draw what is kept, without ticks."""
    axes.imshow(kept, cmap=KEPT, vmin=0, vmax=1, interpolation="nearest", aspect="equal")
    axes.grid(False)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_color(GRID)


def _corner(axes: Axes, panel: Panel) -> None:
    rows, cols = min(CORNER, panel.kept.shape[0]), min(CORNER, panel.kept.shape[1])
    picture(axes, panel.kept[:rows, :cols])
    for at in range(panel.tile_rows, rows, panel.tile_rows):
        axes.axhline(at - 0.5, color=TILE_LINE, linewidth=0.35)
    for at in range(panel.tile_cols, cols, panel.tile_cols):
        axes.axvline(at - 0.5, color=TILE_LINE, linewidth=0.35)
    axes.set_title(f"first {rows} × {cols}, tiles", pad=3)
