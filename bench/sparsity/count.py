"""How many tiles a sparsity keeps: the one rounding that pruners, controllers and checks share."""

import math

from bench.errors import UsageError


def kept_count(n: int, sparsity: float) -> int:
    """Tiles kept out of `n` at a sparsity: n - floor(sparsity * n + 0.5).

    Halves round the *pruned* count up (Python's `round` would send them to the even neighbour: 0.25 of 2 tiles
    prunes 1 here and 0 there). Sparsity 0 keeps all, 1 keeps none.

    Raises
    ------
    UsageError
        If the sparsity is not within 0..1 (NaN included).
    """
    if not 0.0 <= sparsity <= 1.0:
        raise UsageError(f"sparsity: got {sparsity}, expected a number within 0..1 (the share of tiles to prune)")
    if n < 0:
        raise ValueError(f"a count of tiles cannot be negative: {n}")
    return n - min(n, math.floor(sparsity * n + 0.5))
