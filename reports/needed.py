"""How many more seeds an open question needs. Pure."""

import math

from bench.measure.statistics import FEWEST_SEEDS, t_quantile
from reports.compare import OVER_SEEDS, Difference

MOST_SEEDS = 1000
"""Beyond this many the difference lies on the margin for all that the data say: nobody will run them."""


def more_seeds(found: Difference, sign: int) -> int | None:
    """Seeds beyond those run after which the interval would leave the margin, one way or the other.

    The mean and the spread between paired seed means are taken to stay as they are, so this is a plan, not a promise:
    the spread of three seeds is itself known to a factor of three or so.

    Parameters
    ----------
    found : a difference whose verdict is "open"
    sign : +1 where more is better, -1 where less is, as of its column

    Returns
    -------
    int or None
        0 for a difference that is decided; with fewer than three seeds what is missing to three, since no spread is
        known yet; None where `MOST_SEEDS` would not do or nothing can be said.
    """
    if found.verdict != "open":
        return 0
    if found.basis != OVER_SEEDS:
        return max(FEWEST_SEEDS - found.n_seeds, 0) or None
    half = (found.ci_high - found.ci_low) / 2
    spread = half * math.sqrt(found.n_seeds) / t_quantile(found.n_seeds - 1, 0.975)
    # Without a margin the question is only whether there is a difference.
    distance = abs(found.value) if found.margin is None else abs(sign * found.value + found.margin)
    for seeds in range(found.n_seeds + 1, MOST_SEEDS + 1):
        if t_quantile(seeds - 1, 0.975) * spread / math.sqrt(seeds) < distance:
            return seeds - found.n_seeds
    return None
