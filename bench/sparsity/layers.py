"""Which layer each group belongs to: what methods with a value or a quota per layer go by."""

import torch
from torch import Tensor

from bench.sparsity.groups import Groups, Weights


def layers(groups: Groups, weights: Weights) -> tuple[Tensor, list[str]]:
    """Return each group's layer, int64 (n,), and the layers' names.

    Groups that lie in the same matrices form a layer: all tiles of one matrix, or all units of those that span the same
    matrices. A layer is named by their state keys, joined by "+".
    """
    absent = [
        groups.sums({key: torch.full(weights[key].shape, float(key == own)) for key in groups.keys}) == 0
        for own in groups.keys
    ]
    # Sorted by what is absent, layers come in the order of the matrices.
    rows, layer = torch.unique(torch.stack(absent, dim=1), dim=0, return_inverse=True)
    names = ["+".join(key for key, gone in zip(groups.keys, row, strict=True) if not gone) for row in rows.tolist()]
    return layer, names
