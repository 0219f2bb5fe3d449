"""Random masks: the control beside every method."""

import torch
from torch import Tensor

from bench.sparsity.draws import generator
from bench.sparsity.method import Pruner


class Random(Pruner):
    """Keeps groups drawn uniformly without replacement.

    Drawn from the seed alone, by a generator on the CPU, so that the masks of rising sparsities are nested and the same
    on every device and after every resumption.
    """

    def scores(self) -> Tensor:
        """Return the same uniform numbers at every call."""
        source = generator(self.target.seed, "random masks")
        return torch.rand(self.target.groups.n, generator=source, dtype=torch.float64)
