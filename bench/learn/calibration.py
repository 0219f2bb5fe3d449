"""Second moments of the matrices' inputs: what second-order and activation-aware pruning weigh errors with."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from bench.learn.task import Task

BATCHES = 8
"""Training batches that a calibration sees."""
_FIRST = 10**6
"""Their steps: beyond every arm's own, so that calibration sees other segments than training."""


def second_moments(model: nn.Module, task: Task) -> Callable[[], dict[str, Tensor]]:
    """Return a function that gives X^T X / n (in, in), float64, of each prunable matrix's input X (n, in).

    The segments are the same at every call; the inputs are those of the model as it then is.
    """

    @torch.no_grad()
    def measured() -> dict[str, Tensor]:
        sums: dict[str, Tensor] = {}
        rows = 0
        for batch in range(BATCHES):
            inputs = task.inputs(model, task.batches(_FIRST + batch))
            rows += len(next(iter(inputs.values())))
            for key, x in inputs.items():
                x = x.double()
                product = x.T @ x
                sums[key] = sums[key] + product if key in sums else product
        return {key: total / rows for key, total in sums.items()}

    return measured
