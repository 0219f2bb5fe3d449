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


def log_grid(low: float, high: float, count: int) -> list[float]:
    """`count` numbers from `low` to `high` inclusive, equally spaced in the logarithm.

    Every method gets a grid of the same `count` for its main hyper-parameter; validation chooses from it.

    Raises
    ------
    UsageError
        If the bounds are not 0 < low <= high or `count` is below 1 (below 2 when the bounds differ).
    """
    if not 0 < low <= high < math.inf or count < (1 if low == high else 2):
        raise UsageError(f"tune: got {count} values from {low} to {high}, expected 0 < low <= high, count >= 2")
    if count == 1:
        return [low]
    ratio = math.log(high / low) / (count - 1)
    return [low, *(low * math.exp(ratio * i) for i in range(1, count - 1)), high]
