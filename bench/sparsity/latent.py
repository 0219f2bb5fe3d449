"""Weights that are used in a coarser form than they are trained in."""

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from bench.sparsity.groups import Weights
from bench.sparsity.method import Pruner, Target


class LatentPruner(Pruner):
    """Base of pruners whose kept weights take few values: the network uses `coarse` of *latent* weights.

    Straight-through (BinaryConnect, Courbariaux et al. 2015, arXiv 1511.00363): each update, from the gradient at the
    coarse weights, is added to the latent ones, which are then made coarse anew. So the model's own weights are coarse
    at any moment, and what is validated, kept and packed is what would be stored.

    Coarse from the end of the regularizer's phase, where pruning starts, to the end of recovery; the latent weights
    keep what a sign or a level needs to change.

    Attributes
    ----------
    started
        Whether weights are coarse.
    latent, used
        Latent weights, and the coarse ones made from them, by state key; empty until weights are coarse.
    """

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self.started = False
        self.latent: dict[str, Tensor] = {}
        self.used: dict[str, Tensor] = {}

    @property
    def present(self) -> Tensor:
        """Groups that are not pruned, bool (n,), on the CPU."""
        return torch.ones(self.target.groups.n, dtype=torch.bool) if self.kept is None else self.kept

    @abstractmethod
    def coarse(self, latent: Weights) -> dict[str, Tensor]:
        """Return the weights that stand for the latent ones, zero where those are pruned."""

    def start(self) -> None:
        """Act once, before weights are pruned or coarse."""

    def learn(self, step: int) -> None:
        """Learn from the gradients of a step that used `used`."""

    @torch.no_grad()
    def begin(self) -> None:
        """Prune and coarsen before the first step, where the phases say so."""
        if self.target.phases.reg_end == 0:
            self._start()
        super().begin()

    @torch.no_grad()
    def after_step(self, step: int, rate: float) -> None:
        """Move the latent weights, prune, coarsen."""
        if self.started:
            self.learn(step)
            for key, weight in self.target.weights.items():
                weight.copy_(self.latent[key] + weight - self.used[key])
        elif step + 1 >= self.target.phases.reg_end:
            self._start()
        super().after_step(step, rate)

    @torch.no_grad()
    def apply_(self) -> None:
        """Set pruned weights to zero; from the start on, take what is left as latent weights and make it coarse.

        Weights that were put back or drawn anew for recovery come here too: nothing of the former ones stays.
        """
        super().apply_()
        if self.started:
            self.latent = {key: weight.detach().clone() for key, weight in self.target.weights.items()}
            self.used = self.coarse(self.latent)
            for key, weight in self.used.items():
                self.target.weights[key].copy_(weight)

    def _start(self) -> None:
        self.started = True
        self.start()

    def tensors(self) -> dict[str, Tensor]:
        """Return the groups kept and the latent weights."""
        return super().tensors() | {f"latent/{key}": weight for key, weight in self.latent.items()}

    def restore(self, state: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        """Put back the groups kept and the latent weights, the model's own being put back already."""
        super().restore(state, tensors)
        self.latent = {key.partition("/")[2]: w for key, w in tensors.items() if key.startswith("latent/")}
        self.used = {key: self.target.weights[key].detach().clone() for key in self.latent}
        self.started = bool(self.latent)
