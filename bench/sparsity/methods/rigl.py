"""RigL: a mask of constant sparsity that moves, dropping groups by magnitude and growing others by gradient."""

import math
from typing import Any

import torch
from torch import Tensor

from bench.sparsity.count import kept_count
from bench.sparsity.draws import generator
from bench.sparsity.layers import layers
from bench.sparsity.method import Pruner, Target


class Rigl(Pruner):
    """Every `every` steps until pruning ends, replaces a share of the kept groups.

    The share is alpha / 2 * (1 + cos(pi * t / T)) of each layer's kept groups, t of the T steps of the pruning phase
    done (arXiv 1911.11134, section 3): those of least root mean square are dropped, and in each budget as many are
    grown whose gradient has the largest root mean square, dropped ones included (as in the paper's code). Grown weights
    start at zero, dropped ones that are grown at once keep theirs. Every budget's count is exact after every step.

    Beside the paper: the start is a trained dense model, not a fresh one; Adam's moments of a grown weight are those
    of its gradients while it was pruned, where the paper's code sets its momentum to zero; the gradients are those of
    one batch, as there.

    On hidden units little is replaced: the rows of a pruned unit have no gradient, since nothing reads its state, so
    that those just dropped mostly win.

    Option `start` says where masks come from: `magnitude` or `random`, at the final sparsity when the phase begins, or
    `schedule`: pruned by magnitude along `prune.schedule`, with replacement on the way (as GraNet, arXiv 2106.10404).

    Attributes
    ----------
    swaps
        (step, groups that changed) of each replacement.
    """

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        options = target.options
        self.alpha, self.every = float(options["alpha"]), int(options["every"])
        self.start = str(options["start"])
        self.layer, names = layers(target.groups, target.weights)
        self.n_layers = len(names)
        self.swaps: list[tuple[int, int]] = []

    def begin(self) -> None:
        """Make the first masks, where the phase begins with the first step."""
        if self.target.phases.reg_end == 0 and self.start != "schedule":
            self._first()
        super().begin()

    @torch.no_grad()
    def after_step(self, step: int, rate: float) -> None:
        """Replace groups when it is time; set pruned weights to zero."""
        done, phases = step + 1, self.target.phases
        if self.start == "schedule":
            super().after_step(step, rate)
        elif self.kept is None and done >= phases.reg_end:
            self._first()
        since = done - phases.reg_end
        if self.kept is not None and since > 0 and done < phases.prune_end and since % self.every == 0:
            length = phases.prune_end - phases.reg_end
            self.replace_(self.alpha / 2 * (1 + math.cos(math.pi * since / length)), done)
        self.apply_()

    def replace_(self, share: float, done: int) -> None:
        """Drop `share` of each layer's kept groups and grow as many, by the weights' and the gradients' sizes."""
        before = self.kept
        assert before is not None, "there are masks to change"
        self.apply_()  # the update moved pruned weights too
        groups, weights = self.target.groups, self.target.weights
        magnitude = groups.scores(weights, "l2-mean").cpu()
        survivors = before.clone()
        for layer in range(self.n_layers):
            members = torch.nonzero(before & (self.layer == layer)).flatten()
            drop = len(members) - kept_count(len(members), share)
            survivors[members[torch.sort(magnitude[members], stable=True).indices[:drop]]] = False
        gradients = {key: w.grad if w.grad is not None else torch.zeros_like(w) for key, w in weights.items()}
        gradient = groups.scores(gradients, "l2-mean").cpu()
        ranked = gradient.masked_fill(survivors, torch.inf)
        sparsity = self.schedule.sparsity_at(done) if self.start == "schedule" else self.schedule.final
        after = groups.keep(ranked, sparsity)
        self.keep(after)
        self.swaps.append((done, int((before & ~after).sum())))

    def _first(self) -> None:
        groups = self.target.groups
        scores = self.scores()
        if self.start == "random":
            source = generator(self.target.seed, "first masks of rigl")
            scores = torch.rand(groups.n, generator=source, dtype=torch.float64)
        self.keep(groups.keep(scores, self.schedule.final))

    def state(self) -> dict[str, Any]:
        """Return what was replaced."""
        return {"swaps": self.swaps}

    def restore(self, state: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        """Put back the groups kept and what was replaced."""
        super().restore(state, tensors)
        self.swaps = [(int(step), int(count)) for step, count in state["swaps"]]

    def facts(self) -> dict[str, Any]:
        """Return how many groups each replacement changed."""
        return {"step": [step for step, _ in self.swaps], "replaced": [count for _, count in self.swaps]}
