"""How the kept weights are trained again once the masks are final, and whether the dense start teaches them."""

import copy
from typing import Any, Literal

import torch
from torch import Tensor, nn

from bench.errors import UsageError
from bench.learn.task import Task
from bench.sparsity.draws import stream
from bench.sparsity.method import Phases

Kind = Literal["finetune", "rewind", "scratch"]


class Recovery:
    """Restarts weights at the end of pruning, and makes the training loss of all phases.

    `rewind` puts all parameters, pruned matrices or not, back to the dense start: weight rewinding (Renda et al. 2020,
    arXiv 2003.02389) to the trained dense model, while the learning rate goes on along its schedule. What second-order
    updates and regularizers did to the kept weights is undone with it. `scratch` draws all parameters as those of an
    untrained model of the same sizes. In both the masks and the buffers (scales) stay. An arm that is not pruned
    restarts when its regularized phase ends.

    Parameters
    ----------
    kind, distil
        As `bench.config.schema.Recover`.
    model
        The dense start, before anything acts on it; copied as far as it is needed.
    task
        Loss, distance to a teacher, and untrained models.
    phases
        Of the arm.
    seed
        Decides the weights drawn by `scratch`.

    Raises
    ------
    UsageError
        If a restart would leave no step to train.
    """

    def __init__(self, kind: Kind, distil: float, model: nn.Module, task: Task, phases: Phases, seed: int) -> None:
        if kind != "finetune" and phases.prune_end >= phases.steps:
            raise UsageError(
                f"recover.kind: {kind!r} trains anew after pruning, which ends at step {phases.prune_end} of "
                f"{phases.steps}; raise train.shares.recover or choose finetune"
            )
        self.kind, self.distil, self.task, self.seed = kind, distil, task, seed
        self._start = {k: v.detach().clone() for k, v in model.named_parameters()} if kind == "rewind" else {}
        self._teacher = copy.deepcopy(model).requires_grad_(False) if distil > 0 else None

    def loss(self, model: nn.Module, batch: Any) -> tuple[Tensor, Tensor]:
        """Return what training lowers, (1 - distil) * loss + distil * distance to the dense start, and the loss."""
        if self._teacher is None:
            bits = self.task.loss(model, batch)
            return bits, bits
        bits, distance = self.task.distil(model, self._teacher, batch)
        return (1 - self.distil) * bits + self.distil * distance, bits

    def _fresh(self, model: nn.Module) -> nn.Module:
        return self.task.fresh(model, stream(self.seed, "fresh weights"))  # none that the dense model once had

    @torch.no_grad()
    def restart(self, model: nn.Module) -> None:
        """Put the model's parameters to where they are to be trained from, pruned ones too.

        Raises
        ------
        UsageError
            If a method still has parameters of its own: it works on after pruning, and would lose its base.
        """
        start = self._start if self.kind == "rewind" else dict(self._fresh(model).named_parameters())
        own = dict(model.named_parameters())
        if own.keys() != start.keys():
            raise UsageError(
                f"recover.kind: {self.kind!r} needs plain weights once masks are final, but a method goes on with "
                f"{', '.join(sorted(own.keys() - start.keys()))}; choose finetune"
            )
        for name, parameter in own.items():
            parameter.copy_(start[name])
