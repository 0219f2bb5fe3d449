"""8-bit mu-law quantiser of one band sample, already divided by its band's scale (so about -1..1).

ITU-T G.711's continuous companding law with mu = 255, on a uniform grid of 256 centres.
"""

import numpy as np
from numpy.typing import NDArray

LEVELS = 256
MU = 255.0
SILENCE = 128
"""Index fed as the previous sample before the first step: the level nearest zero from above."""


def encode(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Return the index 0..255 nearest to each value in the companded domain (any shape; values are clipped)."""
    x = np.asarray(values, dtype=np.float64)
    companded = np.sign(x) * np.log1p(MU * np.minimum(np.abs(x), 1.0)) / np.log1p(MU)
    index: NDArray[np.uint8] = np.clip(np.floor((companded + 1.0) * 127.5 + 0.5), 0, LEVELS - 1).astype(np.uint8)
    return index


def _expand(companded: NDArray[np.float64]) -> NDArray[np.float64]:
    value: NDArray[np.float64] = np.sign(companded) * np.expm1(np.abs(companded) * np.log1p(MU)) / MU
    return value


def centres() -> NDArray[np.float64]:
    """Return the value of each level, shape (256,), increasing and odd-symmetric."""
    return _expand(np.arange(LEVELS) / 127.5 - 1.0)


def decode(indices: NDArray[np.integer]) -> NDArray[np.float32]:
    """Return the centre of each level (any shape)."""
    return centres()[np.asarray(indices)].astype(np.float32)


def companded_edges() -> NDArray[np.float64]:
    """Return the 255 inner edges in the companded domain -1..1; edge k-1 lies between levels k-1 and k."""
    return np.asarray((np.arange(1, LEVELS) - 0.5) / 127.5 - 1.0, dtype=np.float64)
