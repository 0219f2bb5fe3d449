"""Skip-update gates (Skip-RNN, Campos et al. 2018, arXiv 1708.06834): a GRU that updates its state at some steps only.

With u_t = round(a_t), a_1 = 1 and d_t = sigmoid(w . h_t + b), a step updates the state (u_t = 1) or holds it, h_t =
h_{t-1} (u_t = 0); then a_{t+1} = u_t d_t + (1 - u_t) (a_t + min(d_t, 1 - a_t)) (their eq. 2 to 5, in which d_t is
written with a tilde). What is held is read as it is: every step still has a distribution of its own to draw from.
"""

from typing import Any

import torch
from torch import Tensor, nn

from bench.models.gru_op import gru_step, input_products


class SkipGate(nn.Module):
    """The gate's parameters: `weight` (hidden,) and `bias` (1,).

    Fresh, it updates at every step: the bias is the paper's 1.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(hidden))
        self.bias = nn.Parameter(torch.ones(1))
        self._updates: Tensor | None = None

    def last_updates(self) -> Tensor:
        """Return u_t of the last run, (batch, steps), 0 or 1; gradients pass straight through to a_t."""
        assert self._updates is not None, "the network has run"
        return self._updates

    def keep(self, opened: Tensor) -> None:
        """Keep the u_t of a run for `last_updates`."""
        self._updates = opened

    def accumulate(self, a: Tensor, h: Tensor) -> Tensor:
        """Return a_{t+1} (...) from a_t (...) and h_t (..., hidden)."""
        u = updates(a)
        d = torch.sigmoid((h * self.weight).sum(-1) + self.bias.squeeze())
        return u * d + (1 - u) * (a + torch.minimum(d, 1 - a))


class _Round(torch.autograd.Function):
    """Rounding whose gradient is 1; 0.5 rounds to 0, as the engine's does."""

    @staticmethod
    def forward(ctx: Any, a: Tensor) -> Tensor:
        return (a > 0.5).to(a)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad


def updates(a: Tensor) -> Tensor:
    """Return u = round(a), exactly 0 or 1, with a straight-through gradient."""
    rounded: Tensor = _Round.apply(a)  # type: ignore[no-untyped-call]
    return rounded


def skip_gru(
    indices: Tensor, tables: Tensor, cond: Tensor, w_hh: Tensor, b_hh: Tensor, gate: SkipGate, h0: Tensor, a0: Tensor
) -> tuple[Tensor, Tensor]:
    """Run a GRU with skip gates, one step at a time with torch operators.

    As slow as `bench.models.gru_op.plain_gru`, for in training the updates of skipped steps are computed too: their
    gradients are what teaches the gate.

    Parameters
    ----------
    indices, tables, cond, w_hh, b_hh, h0
        As of `bench.models.gru_op.gru`.
    gate
        Keeps the run's u_t.
    a0
        (batch,): a before the first step; ones at the start of a clip.

    Returns
    -------
    states, a
        (batch, steps, hidden), and (batch,) for the step that follows.
    """
    h, a, states, opened = h0, a0, [], []
    for inputs in input_products(indices, tables, cond).unbind(1):
        u = updates(a)
        if torch.is_grad_enabled() or bool(u.any()):  # else the step is held everywhere, and has nothing to teach
            h = u[:, None] * gru_step(inputs, h @ w_hh.T + b_hh, h) + (1 - u[:, None]) * h
        a = gate.accumulate(a, h)
        states.append(h)
        opened.append(u)
    gate.keep(torch.stack(opened, dim=1))
    return torch.stack(states, dim=1), a
