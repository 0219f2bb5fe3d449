"""Pruning by magnitude, as an arm does it, in one call."""

from collections.abc import Mapping

from torch import Tensor, nn

from bench.sparsity.groups import Groups
from bench.sparsity.method import Phases, Target
from bench.sparsity.methods.magnitude import Magnitude
from bench.sparsity.schedule import Schedule


def magnitude_masks(groups: Groups, weights: Mapping[str, Tensor], sparsity: float) -> dict[str, Tensor]:
    """Masks (out, in) that keep the tiles of largest norm, True = kept."""
    named = {key: nn.Parameter(weight.clone()) for key, weight in weights.items()}
    pruner = Magnitude(Target(nn.Module(), named, groups, Phases(0, 0, 1), Schedule("one-shot", sparsity, 0, 0)))
    pruner.begin()
    return pruner.masks
