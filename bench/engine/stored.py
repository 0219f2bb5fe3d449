"""A matrix as a packed model's file holds it."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.engine.layout import PackedMatrix
from bench.engine.numbers import DTYPES
from bench.errors import LanewiseError


def read_matrix(path: str | os.PathLike[str], header: Mapping[str, Any], name: str) -> PackedMatrix:
    """One matrix of a packed model, by state-dict key; `header` is the file's, as `read_header` gives it.

    Raises
    ------
    LanewiseError
        If the model has no such matrix.
    """
    entry = next((entry for entry in header["matrices"] if entry["name"] == name), None)
    if entry is None:
        raise LanewiseError(f"{path}: has no matrix {name!r}")

    def part(key: str, dtype: npt.DTypeLike) -> Any:
        return np.fromfile(path, dtype=dtype, count=entry[key]["size"], offset=entry[key]["offset"])

    return PackedMatrix(
        entry["tile"], entry["layout"], entry["number"], entry["tile_rows"], entry["tile_cols"],
        entry["rows"], entry["cols"], entry["gates"],
        part("weights", DTYPES[entry["number"]]), part("index", np.uint16), part("counts", np.uint32),
        part("scales", np.float32), entry["blocks"], entry["nonzeros"],
    )  # fmt: skip
