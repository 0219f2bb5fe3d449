"""Number formats of stored weights: f32, bf16 (rounded to nearest, ties to even) and int8 (one scale per row)."""

import numpy as np
import numpy.typing as npt

NUMBERS = ("f32", "bf16", "int8")

CHUNK_COLUMNS: dict[str, int] = {"f32": 1, "bf16": 2, "int8": 4}
"""Columns whose weights lie side by side: as many as fill 32 bits."""

DTYPES: dict[str, type[np.generic]] = {"f32": np.float32, "bf16": np.uint16, "int8": np.int8}
"""How each is held in numpy; bf16 as the upper half of a float32's bits."""

GREATEST_INT8 = 127


def encode(w: npt.NDArray[np.float32], fmt: str) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.float32]]:
    """Stored form of W (rows, cols) and its scales: (rows,) for int8, none otherwise.

    Magnitudes beyond the greatest bf16 become that; int8 is symmetric, scale = max |w| / 127 of the row.
    """
    none = np.zeros(0, dtype=np.float32)
    if fmt == "f32":
        return w, none
    if fmt == "bf16":
        bits = np.clip(w, -_GREATEST_BF16, _GREATEST_BF16).astype(np.float32).view(np.uint32)
        return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16), none
    scales = (np.abs(w).max(axis=1, initial=0.0) / GREATEST_INT8).astype(np.float32)
    steps = np.divide(w, scales[:, None], out=np.zeros_like(w, dtype=np.float64), where=scales[:, None] > 0)
    return np.clip(np.rint(steps), -GREATEST_INT8, GREATEST_INT8).astype(np.int8), scales


def decode(
    values: npt.NDArray[np.generic], fmt: str, scales: npt.NDArray[np.float32] | None = None
) -> npt.NDArray[np.float64]:
    """What stored weights (rows, cols) stand for, exactly; `scales` (rows,) for int8."""
    if fmt == "bf16":
        return (values.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    if fmt == "int8":
        assert scales is not None
        return values.astype(np.float64) * scales[:, None].astype(np.float64)
    return values.astype(np.float64)


_GREATEST_BF16 = np.uint32(0x7F7F0000).view(np.float32)
