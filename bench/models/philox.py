"""Counter-based random numbers, Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).

A number depends only on (seed, utterance, step, band), so every arm, ISA and run order samples with the same ones.
"""

import numpy as np
from numpy.typing import NDArray

_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (0x9E3779B9, 0xBB67AE85)
_MASK = np.uint64(0xFFFFFFFF)


def philox4x32(counter: NDArray[np.uint32], key: tuple[int, int]) -> NDArray[np.uint32]:
    """Return the four output words of each counter, (n, 4) to (n, 4), after ten rounds."""
    c0, c1, c2, c3 = (counter[:, i].astype(np.uint64) for i in range(4))
    k0, k1 = key
    for _ in range(10):
        p0, p1 = _MULTIPLIERS[0] * c0, _MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (
            (p1 >> np.uint64(32)) ^ c1 ^ np.uint64(k0),
            p1 & _MASK,
            (p0 >> np.uint64(32)) ^ c3 ^ np.uint64(k1),
            p0 & _MASK,
        )
        k0, k1 = (k0 + _WEYL[0]) & 0xFFFFFFFF, (k1 + _WEYL[1]) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=1).astype(np.uint32)


def uniforms(seed: int, utterance: int, steps: int, bands: int) -> NDArray[np.float32]:
    """Return numbers in (0, 1), shape (steps, bands): multiples of 2^-24, half a step off the ends."""
    groups = -(-bands // 4)
    counter = np.zeros((steps, groups, 4), dtype=np.uint32)
    counter[:, :, 0] = np.arange(steps, dtype=np.uint32)[:, None]
    counter[:, :, 1] = np.arange(groups, dtype=np.uint32)
    counter[:, :, 2], counter[:, :, 3] = utterance & 0xFFFFFFFF, utterance >> 32
    words = philox4x32(counter.reshape(-1, 4), (seed & 0xFFFFFFFF, seed >> 32)).reshape(steps, groups * 4)[:, :bands]
    return (((words >> np.uint32(8)).astype(np.float64) + 0.5) * 2.0**-24).astype(np.float32)
