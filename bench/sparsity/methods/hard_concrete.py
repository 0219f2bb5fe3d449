"""L0 regularisation: stochastic gates that are exactly zero or one most of the time."""

import math

import torch
from torch import Tensor

from bench.sparsity.draws import generator
from bench.sparsity.gates import GatedPruner, Gates
from bench.sparsity.method import Target

BETA, GAMMA, ZETA = 2 / 3, -0.1, 1.1
"""Temperature and stretch of the hard concrete distribution, those of the paper."""


class _HardConcrete(Gates):
    """Gates z = min(1, max(0, s * (zeta - gamma) + gamma)); values are the log alphas of s.

    In training mode s = sigmoid((log u - log(1 - u) + log alpha) / beta) with the uniform numbers u of `draw`; in
    evaluation mode, or before any are drawn, s = sigmoid(log alpha), eq. 13 of the paper.
    """

    noise: Tensor | None

    def __init__(self, start: Tensor, layer: Tensor, pace: float) -> None:
        super().__init__(start, layer, pace)
        self.register_buffer("noise", None, persistent=False)

    def draw(self, seed: int, step: int) -> None:
        """Draw the uniform numbers of a step: the same on every device and after every resumption."""
        source = generator(seed, f"gates of step {step}")
        u = torch.rand(len(self.stored), generator=source, dtype=torch.float64).clamp(1e-6, 1 - 1e-6)
        self.noise = torch.logit(u).to(self.stored)

    def present(self) -> Tensor:
        """Return P(z > 0) of each gate, (n,)."""
        return torch.sigmoid(self.values() - BETA * math.log(-GAMMA / ZETA))

    def factors(self) -> Tensor:
        """Return the gates, (n,)."""
        noise = self.noise if self.training else None
        s = torch.sigmoid(self.values()) if noise is None else torch.sigmoid((self.values() + noise) / BETA)
        return (s * (ZETA - GAMMA) + GAMMA).clamp(0, 1)

    def settled(self) -> Tensor:
        """Return the gates of evaluation mode."""
        self.noise = None
        return self.factors()


class HardConcrete(GatedPruner):
    """Louizos, Welling & Kingma 2018 (arXiv 1712.01312) on groups.

    The penalty is lambda * sum_g P(z_g > 0) * size_g / size of all: lambda bits for a whole network of gates. At the
    end the groups of largest log alpha are kept, and their weights multiplied by the gate of evaluation mode.

    Option `start` is the log alpha of an average group; above log(11) = 2.4 evaluation mode changes nothing at first.
    Option `prior` adds that many times the standardised logarithm of the group's root mean square: the paper's gates,
    on fresh weights, all start alike (at 0), which in few steps on a trained network leaves the choice to noise.
    Measured on the small dense vocoder (16x1, 80 %, 60 steps, of which 36 learn the gates): 4.57, 4.54 and 4.48 bit
    with `start` 1, 2.5 and 4; 4.63, 4.54 and 4.52 with `prior` 0, 1 and 2; 4.55, 4.54 and 4.53 with `travel` 6, 12, 24.
    """

    gates: "_HardConcrete"

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        sizes = target.groups.sizes.double()
        self._sizes = (sizes / sizes.sum()).to(self.gates.stored)

    def made(self, pace: float) -> Gates:
        """Return gates that are open in the measure of their groups' magnitude."""
        options, target = self.target.options, self.target
        logs = target.groups.rms(target.weights).detach().cpu().double().clamp_min(1e-12).log()
        start = float(options["start"]) + float(options["prior"]) * (logs - logs.mean()) / logs.std().clamp_min(1e-6)
        return _HardConcrete(start.float(), self.layer, pace)

    def ready(self, step: int) -> None:
        """Draw the step's noise, once the phase has begun."""
        super().ready(step)
        if self.target.phases.reg_end <= step < self.target.phases.prune_end:
            self.gates.draw(self.target.seed, step)

    def penalties(self) -> Tensor:
        """Return P(z_g > 0) * share of the weights."""
        return self.gates.present() * self._sizes

    def scores(self) -> Tensor:
        """Return log alpha."""
        return self.gates.values().detach().cpu().double()
