"""Learned thresholds: groups below a trained threshold of their layer do not count."""

import torch
from torch import Tensor

from bench.sparsity.gates import GatedPruner, Gates
from bench.sparsity.groups import Groups, Weights

START = 0.01
"""Share of a layer's groups below its threshold at the start."""


class _Thresholds(Gates):
    """Step functions of each group's root mean square, with the slope of a sigmoid.

    Values are thresholds in units of `scale`, the median root mean square of each layer's groups at the start.
    """

    scale: Tensor

    def __init__(self, groups: Groups, weights: Weights, layer: Tensor, n_layers: int, pace: float, width: float):
        rms = groups.rms(weights).detach().cpu().double()
        parts = [rms[layer == number] for number in range(n_layers)]
        scale = torch.stack([part.median() for part in parts]).clamp_min(1e-12)
        # From zero, a threshold spent a third of the phase below every group.
        start = torch.stack([part.kthvalue(1 + int(START * len(part))).values for part in parts]) / scale
        super().__init__(start.float(), torch.arange(n_layers), pace)
        self.groups, self.weights, self.of, self.width = groups, dict(weights), layer, width
        self.register_buffer("scale", scale.float())

    def taus(self) -> Tensor:
        """Thresholds, one per layer, in units of the weights."""
        return self.scale * self.values()

    def factors(self) -> Tensor:
        """Return 1 for groups whose root mean square is at least their layer's threshold, else 0, (n,)."""
        of = self.of.to(self.scale.device)
        over = self.groups.rms(self.weights) / self.scale[of] - self.values()[of]
        soft = torch.sigmoid(over / self.width)
        return (over >= 0).to(soft) + (soft - soft.detach())

    def present(self) -> Tensor:
        """Return the same."""
        return self.factors()

    def settled(self) -> Tensor:
        """Return 1: what is kept stays as it is, also where the exact count takes groups below their threshold."""
        return torch.ones(len(self.of), device=self.scale.device)


class Threshold(GatedPruner):
    """One trainable threshold tau per layer (the TinyLSTMs form, Fedorov et al. 2020, arXiv 2005.11138).

    A group g counts, r_g = 1, if ||w_g||_2 / sqrt(size_g) >= tau of its layer, else r_g = 0; the gradient of the step
    is that of a sigmoid. The penalty is lambda * sum_g r_g * sqrt(size_g) * ||w_g||_2; it lowers the groups that count
    and, through r_g, raises tau. At the end groups are kept by ||w_g||_2 / sqrt(size_g) - tau: under scope `global` the
    thresholds share the budget among the matrices; with one matrix, or one budget each, they decide when a group goes
    and the penalty which ones.

    Where the paper (as far as could be read) takes ||w_g||_2, this takes the root mean square, and weights the penalty
    by sqrt(size): a threshold then is a size of weights, and one lambda or width means the same for 1x1 and a column.
    The sigmoid's width and the speed at which Adam moves tau are in units of the layer's median root mean square at the
    start; the paper's are not known.
    """

    gates: "_Thresholds"

    def made(self, pace: float) -> Gates:
        """Return thresholds below nearly all groups."""
        target = self.target
        width = float(target.options["width"])
        return _Thresholds(target.groups, target.weights, self.layer, len(self.layers), pace, width)

    def penalties(self) -> Tensor:
        """Return r_g * sqrt(size_g) * ||w_g||_2 of each group."""
        rms = self.target.groups.rms(self.target.weights)
        return self.gates.factors() * self.target.groups.sizes.to(rms) * rms

    def scores(self) -> Tensor:
        """Return by how much each group's root mean square exceeds its threshold."""
        rms = self.target.groups.scores(self.target.weights, "l2-mean").cpu()
        return rms - self.gates.taus().detach().cpu().double()[self.layer]

    def _note(self, done: int) -> None:
        self.curve.setdefault("tau", []).append(self.gates.taus().tolist())
        super()._note(done)
