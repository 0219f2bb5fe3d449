"""Small matrices drawn cell by cell, in few paths so that the files stay small."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from reports.figures.style import GRID, INK

LEVELS = 12
Box = tuple[float, float, float, float]
Values = npt.NDArray[np.generic]


def draw(axes: Axes, values: Values, colours: Colormap, tiles: Values | None = None) -> None:
    """Draw values of 0 to 1 (rows, columns), row 0 on top; 0 stays white. `tiles` numbers tiles, whose borders show."""
    rows, columns = values.shape
    levels = np.ceil(values.astype(float).clip(0, 1) * LEVELS).astype(int)
    for level in np.unique(levels[levels > 0]):
        boxes = [(column, row, column + 1, row + 1) for row, column in np.argwhere(levels == level)]
        axes.add_patch(PathPatch(_boxes(boxes), facecolor=colours(level / LEVELS), edgecolor="none"))
    grid = [*((0, y, columns, y) for y in range(1, rows)), *((x, 0, x, rows) for x in range(1, columns))]
    axes.add_patch(PathPatch(_lines(grid), edgecolor=GRID, linewidth=0.4, facecolor="none"))
    if tiles is not None:
        axes.add_patch(PathPatch(_lines(_borders(tiles)), edgecolor=INK, linewidth=0.6, facecolor="none"))
    axes.set(aspect="equal", xlim=(0, columns), ylim=(rows, 0), xticks=[], yticks=[])
    axes.grid(False)
    axes.spines[["top", "right"]].set_visible(True)


def _borders(tiles: Values) -> list[Box]:
    """Return the lines between neighbours of different tiles, those that go on joined into one."""
    found: list[Box] = []
    for across, turned in ((tiles, False), (tiles.T, True)):
        differ = across[1:] != across[:-1]
        for row, line in enumerate(differ, start=1):
            edges = np.flatnonzero(np.diff([0, *line.astype(int), 0]))
            for start, end in edges.reshape(-1, 2).tolist():
                found.append((row, start, row, end) if turned else (start, row, end, row))
    return found


def _boxes(boxes: Iterable[Box]) -> Path:
    corners = [((a, b), (c, b), (c, d), (a, d), (a, b)) for a, b, c, d in boxes]
    codes = (Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY)
    return Path(np.concatenate(corners), np.tile(codes, len(corners)))


def _lines(lines: Iterable[Box]) -> Path:
    ends = [((a, b), (c, d)) for a, b, c, d in lines]
    return Path(np.concatenate(ends), np.tile((Path.MOVETO, Path.LINETO), len(ends)))
