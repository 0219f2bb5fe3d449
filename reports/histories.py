"""What pruning did to an arm's matrix, step by step: which weights were left, and how large they were. Pure but for
files.

Trials keep a few snapshots of their matrices (`bench.learn.snapshots`): the numbers in the record, the bits in
`snapshots.npz` beside it.
"""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import LanewiseError, UsageError
from bench.sparsity.tile import Tile
from reports.analysis import Analysis

SNAPSHOTS_FILE = "snapshots.npz"
MOST_ARMS = 8
GATES = {1: ("",), 3: ("r", "z", "n"), 4: ("i", "f", "g", "o")}
"""Names of the gates of a GRU and of an LSTM, from top to bottom."""


@dataclass(frozen=True)
class History:
    """One matrix of one arm over training (first seed).

    Attributes
    ----------
    matrix : its state key
    gates : names of the gates that its rows stack
    tile, tile_rows, tile_cols : the pruning tile and its extent (all of a gate's rows for a column)
    steps : of the snapshots; 0 is the dense start, the last one the end
    kept : (snapshots, out, in), True where a weight is not zero
    limit : edge of the histogram's last bin
    zeros : weights that are zero, by snapshot
    counts : (snapshots, bins) of the others; equal bins from -limit to limit
    """

    arm: str
    matrix: str
    gates: tuple[str, ...]
    tile: str
    tile_rows: int
    tile_cols: int
    steps: tuple[int, ...]
    kept: NDArray[np.bool_]
    limit: float
    zeros: tuple[int, ...]
    counts: NDArray[np.int64]

    def density(self, place: int) -> float:
        """Share of weights that are not zero in a snapshot."""
        return float(self.kept[place].mean())

    def of_gate(self, place: int, gate: int) -> NDArray[np.bool_]:
        """One gate of a snapshot."""
        rows = self.kept.shape[1] // len(self.gates)
        found: NDArray[np.bool_] = self.kept[place, gate * rows : (gate + 1) * rows]
        return found


def histories(analysis: Analysis) -> list[History]:
    """The recurrent matrix (else the largest) of the first pruned arms that have snapshots, at most `MOST_ARMS`."""
    return list(islice(filter(None, (_history(analysis, arm) for arm in analysis.arms)), MOST_ARMS))


def has_history(analysis: Analysis, arm: str) -> bool:
    """Whether the arm was pruned and its snapshots are stored."""
    kept = arm in analysis.study.snapshots and (analysis.study.folder(arm) / SNAPSHOTS_FILE).is_file()
    return kept and analysis.is_pruned(arm)


def _history(analysis: Analysis, arm: str) -> History | None:
    if not has_history(analysis, arm):
        return None
    facts, folder = analysis.study.snapshots[arm], analysis.study.folder(arm)
    matrices: dict[str, dict[str, Any]] = facts["matrices"]
    matrix = shown({key: int(np.prod(found["shape"])) for key, found in matrices.items()})
    found = matrices[matrix]
    out, inputs = (int(size) for size in found["shape"])
    gates, tile = int(found["gates"]), str(analysis.param(arm, "prune.tile"))
    rows, cols = extent(tile, (out, inputs), gates)
    return History(
        arm=arm,
        matrix=matrix,
        gates=gate_names(gates),
        tile=tile,
        tile_rows=min(rows, out // gates),
        tile_cols=cols,
        steps=tuple(int(step) for step in facts["steps"]),
        kept=_bits(folder / SNAPSHOTS_FILE, matrix, len(facts["steps"]), (out, inputs)),
        limit=float(found["limit"]),
        zeros=tuple(int(count) for count in found["zeros"]),
        counts=np.asarray(found["counts"], dtype=np.int64),
    )


def _bits(path: Path, matrix: str, snapshots: int, shape: tuple[int, int]) -> NDArray[np.bool_]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            bits = np.unpackbits(stored[matrix], axis=1, count=shape[0] * shape[1])
        return bits.reshape(snapshots, *shape).astype(np.bool_)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise LanewiseError(f"{path}: cannot be read as snapshots ({error}); delete it to go without") from error


def shown(sizes: Mapping[str, int]) -> str:
    """The matrix that a report shows of an arm's, by state key with their sizes: a recurrent one, else the largest."""
    return max(sizes, key=lambda key: (key.endswith("w_hh"), sizes[key]))


def gate_names(gates: int) -> tuple[str, ...]:
    """Names of the gates that a matrix stacks; numbers where they have none."""
    return GATES.get(gates, tuple(str(gate + 1) for gate in range(gates)))


def extent(tile: str, shape: tuple[int, int], gates: int) -> tuple[int, int]:
    """Rows and columns of a tile in a matrix; of one that is no block (`unit`, or a plug-in's), a single weight."""
    try:
        return Tile.parse(tile).extent(shape, gates)[1:]
    except UsageError:
        return 1, 1
