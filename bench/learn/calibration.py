"""Second moments of the matrices' inputs: what second-order and activation-aware pruning weigh errors with."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from bench.learn.fit import exact
from bench.learn.task import Task

BATCHES = 8
"""Training batches that a calibration sees."""
_FIRST = 10**6
"""Their steps: beyond every arm's own, so that calibration sees other segments than training."""


def second_moments(model: nn.Module, task: Task, keys: Iterable[str]) -> Callable[[], dict[str, Tensor]]:
    """Return a function that gives X^T X / n (in, in), float64, of the input X (n, in) of each matrix in `keys`.

    The segments are the same at every call; the inputs are those of the model as it then is.
    """

    @torch.no_grad()
    def measured() -> dict[str, Tensor]:
        sums: dict[str, Tensor] = {}
        rows = dict.fromkeys(keys, 0)  # conditioning is met once a frame, states once a step
        for batch in range(BATCHES):
            with exact():
                inputs = task.inputs(model, task.batches(_FIRST + batch))
            for key in rows:
                x = inputs[key].double()
                product = x.T @ x
                sums[key] = sums[key] + product if key in sums else product
                rows[key] += len(x)
        return {key: total / rows[key] for key, total in sums.items()}

    return measured
