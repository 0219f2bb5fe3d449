"""How many tiles or units a sparsity keeps: the one rounding that pruners, controllers and checks share."""

import math
from collections.abc import Mapping, Sequence

from bench.config.matrices import Layer
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


def kept_units(layers: Sequence[Layer], matrices: Mapping[str, tuple[int, int]], sparsity: float) -> tuple[int, ...]:
    """Hidden units kept in each layer, so that the kept share of the matrices is nearest to 1 - sparsity.

    A recurrent matrix shrinks with the square of the units, so a sparsity of s keeps about sqrt(1 - s) of them. Every
    layer keeps the same share of its units (`kept_count` of it); of two counts equally near, the smaller. Sparsity 0
    keeps all, 1 keeps none.

    Parameters
    ----------
    layers
        Whose units are pruned.
    matrices
        (out, in) of the matrices that `sparsity` counts, by state key.

    Raises
    ------
    UsageError
        If the sparsity is not within 0..1, or units have no slice of one of the matrices.
    """
    kept_count(1, sparsity)
    of = {key: [i for i, layer in enumerate(layers) for s in layer.slices if s.state_key == key] for key in matrices}
    for key, owners in of.items():
        if not owners:
            known = dict.fromkeys(s.state_key for layer in layers for s in layer.slices)
            raise UsageError(f"prune.matrices: hidden units have no slice of {key}; they have of {', '.join(known)}")
    weights = {key: out * inputs for key, (out, inputs) in matrices.items()}

    def kept(counts: tuple[int, ...]) -> float:
        return sum(weights[key] * math.prod(counts[i] / layers[i].units for i in owners) for key, owners in of.items())

    most = max(layer.units for layer in layers)
    choices = [tuple(kept_count(layer.units, 1 - k / most) for layer in layers) for k in range(most + 1)]
    wanted = (1 - sparsity) * sum(weights.values())
    return min(choices, key=lambda counts: abs(kept(counts) - wanted))


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
