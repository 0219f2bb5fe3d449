"""Mask heat maps: which weights stay, gate by gate, with the pruning tile's grid on an enlarged corner."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bench.errors import LanewiseError
from reports.analysis import Analysis
from reports.figures.style import GRID, empty, figure, short
from reports.histories import MOST_ARMS, extent, gate_names, shown

MASKS_FILE = "masks.npz"
CORNER = 48
GAP, HEAD = 0.08, 0.18
"""Space beside a picture and above it, for its title; pictures are one wide and high."""
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
        masks = read_masks(analysis.study.folder(arm))
        if masks:
            matrix = shown({key: mask.size for key, mask in masks.items()})
            panels += _panels(arm, matrix, masks[matrix], str(analysis.param(arm, "prune.tile")))
    return panels


def _panels(arm: str, matrix: str, mask: NDArray[np.bool_], tile: str) -> list[Panel]:
    gates = mask.shape[0] // mask.shape[1] if matrix.endswith("w_hh") else 1  # a recurrent matrix's gates are square
    rows = mask.shape[0] // gates
    tile_rows, tile_cols = extent(tile, (mask.shape[0], mask.shape[1]), gates)
    return [
        Panel(arm, matrix, name, mask[i * rows : (i + 1) * rows], tile, min(tile_rows, rows), tile_cols)
        for i, name in enumerate(gate_names(gates))
    ]


def draw(analysis: Analysis) -> Figure:
    """One row per arm: its gates whole, then the first gate's corner enlarged with the tile grid."""
    panels = data(analysis)
    arms = list(dict.fromkeys(panel.arm for panel in panels))[:MOST_ARMS]
    if not arms:
        return empty("Masks are not stored with these records (masks.npz).")
    by_arm = {arm: [panel for panel in panels if panel.arm == arm] for arm in arms}
    columns = max(len(found) for found in by_arm.values()) + 1
    with figure(1.95 * columns, 2.1 * len(arms)) as drawn:
        board = Board(drawn, len(arms), columns)
        for row, (arm, found) in enumerate(by_arm.items()):
            board.name(row, f"{short(arm)}\n{found[0].matrix}, tile {short(found[0].tile)}")
            for column, panel in enumerate(found):
                gate = f"gate {panel.gate}, " if panel.gate else ""
                board.picture(row, column, panel.kept, f"{gate}{panel.density:.1%} kept")
            _corner(board, row, columns - 1, found[0])
        return drawn


class Board:
    """Pictures in rows and columns on one pair of axes: dozens of axes take seconds to lay out."""

    def __init__(self, drawn: Figure, rows: int, columns: int) -> None:
        self._axes = drawn.subplots()
        self._axes.set_xlim(-0.02, columns * (1 + GAP) - GAP + 0.02)
        self._axes.set_ylim(rows * (1 + HEAD) + 0.02, 0)
        self._axes.set_aspect("equal")
        self._axes.grid(False)
        for spine in self._axes.spines.values():
            spine.set_visible(False)
        self._axes.set_xticks([])
        self._axes.set_yticks([])

    def name(self, row: int, words: str) -> None:
        """Say at its left what a row shows."""
        middle = row * (1 + HEAD) + HEAD + 0.5
        self._axes.text(-0.06, middle, words, rotation=90, ha="right", va="center", multialignment="center", fontsize=7)

    def picture(self, row: int, column: int, kept: NDArray[np.bool_], title: str) -> tuple[float, float]:
        """Draw what is kept into a field, one unit wide and high; return its upper left corner."""
        x, y = column * (1 + GAP), row * (1 + HEAD) + HEAD
        self._axes.imshow(kept, cmap=KEPT, vmin=0, vmax=1, interpolation="nearest", extent=(x, x + 1, y + 1, y))
        self._axes.plot([x, x + 1, x + 1, x, x], [y, y, y + 1, y + 1, y], color=GRID, linewidth=0.8)
        self._axes.text(x + 0.5, y - 0.03, title, ha="center", va="bottom", fontsize=7)
        return x, y

    def lines(self, x: list[float], y: list[float]) -> None:
        """Draw the borders of tiles; NaN lifts the pen."""
        self._axes.plot(x, y, color=TILE_LINE, linewidth=0.35)


def _corner(board: Board, row: int, column: int, panel: Panel) -> None:
    rows, cols = min(CORNER, panel.kept.shape[0]), min(CORNER, panel.kept.shape[1])
    x, y = board.picture(row, column, panel.kept[:rows, :cols], f"first {rows} × {cols}, tiles")
    across: list[float] = []
    down: list[float] = []
    for at in range(panel.tile_rows, rows, panel.tile_rows):
        across += [x, x + 1, np.nan]
        down += [y + at / rows, y + at / rows, np.nan]
    for at in range(panel.tile_cols, cols, panel.tile_cols):
        across += [x + at / cols, x + at / cols, np.nan]
        down += [y, y + 1, np.nan]
    board.lines(across, down)
