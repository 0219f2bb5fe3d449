"""Pruning by magnitude: groups of largest norm are kept."""

from bench.sparsity.method import Pruner


class Magnitude(Pruner):
    """Keeps the groups of largest norm at each rise of the schedule; what is pruned stays pruned."""
