"""Size of a packed model: what lies in the file and what loading it adds in memory."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_WEIGHT_BYTES = {"f32": 4, "bf16": 2, "int8": 1}


@dataclass(frozen=True)
class MatrixSize:
    """One weight matrix of a packed model.

    Attributes
    ----------
    name, tile, format
        State-dict key, tile ("dense" when not sparse) and number format (`f32`, `bf16`, `int8`).
    bytes
        Weights, indices, counts and scales.
    blocks
        Kept tiles.
    nonzeros, weights
        Kept weights, and all that the matrix has.
    sparsity
        Share of weights not stored.
    """

    name: str
    tile: str
    format: str
    bytes: int
    blocks: int
    nonzeros: int
    weights: int
    sparsity: float


@dataclass(frozen=True)
class Footprint:
    """Size of a whole packed model.

    Attributes
    ----------
    file_bytes
        Size of the file.
    table_bytes
        Embedding tables that loading computes in memory (an enhancer has none).
    nonzeros
        Numbers stored for the whole model: kept weights, embeddings, biases, scales; the filter bank is not counted.
    matrices
        Each matrix.
    """

    file_bytes: int
    table_bytes: int
    nonzeros: int
    matrices: tuple[MatrixSize, ...]

    def as_row(self) -> dict[str, int]:
        """The sizes of the whole, flat."""
        return {"file_bytes": self.file_bytes, "table_bytes": self.table_bytes, "nonzeros": self.nonzeros}


def footprint(path: str | os.PathLike[str]) -> Footprint:
    """Size of a packed model, from its verified header.

    Raises
    ------
    LanewiseError
        If the file is missing, foreign, truncated or altered.
    """
    from bench.engine.pack import FILTERS
    from bench.engine.vocoder import read_header

    header = read_header(path)
    matrices = tuple(_matrix(entry) for entry in header["matrices"])
    vectors = sum(int(entry["size"]) for entry in header["vectors"] if entry["name"] != FILTERS)
    nonzeros = vectors + sum(matrix.nonzeros for matrix in matrices)
    return Footprint(Path(path).stat().st_size, int(header["dims"].get("table_bytes", 0)), nonzeros, matrices)


def _matrix(entry: dict[str, Any]) -> MatrixSize:
    widths = {"weights": _WEIGHT_BYTES[entry["number"]], "index": 2, "counts": 4, "scales": 4}
    stored = sum(entry[part]["size"] * width for part, width in widths.items())
    weights, nonzeros = entry["rows"] * entry["cols"], entry["nonzeros"]
    return MatrixSize(
        entry["name"], entry["tile"], entry["number"], stored, entry["blocks"], nonzeros, weights,
        1.0 - nonzeros / weights,
    )  # fmt: skip
