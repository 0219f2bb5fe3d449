"""Differentiable teacher-forced GRU over segments: C++ kernels on the CPU, batched torch elsewhere.

All forms compute the same thing; the plain form is the reference of the fast ones (tests/models/test_gru_op.py). Under
`torch.vmap` the kernels run arm by arm, the batched form all arms at once.
Measured on one Zen 5 core (GRU 384, batch 32 x 400 steps, forward and backward): over 10 times as fast.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.models import _train
from bench.models.gru_batched import recurrence

_UNITS = 32
"""The kernels work on this many hidden units at a time."""


class _FastGru(torch.autograd.Function):
    @staticmethod
    def forward(
        indices: Tensor, tables: Tensor, cond: Tensor, w_hh: Tensor, b_hh: Tensor, h0: Tensor
    ) -> tuple[Tensor, Tensor]:
        batch, steps, _ = indices.shape
        hidden = w_hh.shape[1]
        h = torch.empty(batch, steps, hidden)
        gates = torch.empty(batch, steps, 4 * hidden)
        inputs = (x.detach().contiguous().numpy() for x in (indices, tables, cond, w_hh, b_hh, h0))
        _train.forward(*inputs, h.numpy(), gates.numpy(), torch.get_num_threads())
        return h, gates

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)  # of the second, zeros larger than all states
        ctx.save_for_backward(*inputs, *output)

    @staticmethod
    def backward(ctx: Any, grad_h: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        indices, tables, cond, w_hh, b_hh, h0, h, gates = (x.detach().contiguous() for x in ctx.saved_tensors)
        batch, steps, hidden = h.shape
        grad_a = torch.empty(batch, steps, 3 * hidden)
        grad_un = torch.empty(batch, steps, hidden)
        grad_h0 = torch.empty(batch, hidden)
        grad_tables = torch.zeros_like(tables)
        grad_cond = torch.zeros_like(cond)
        grad_w = torch.zeros_like(w_hh)
        outputs = (grad_a, grad_un, grad_h0, grad_tables, grad_cond, grad_w)
        _train.backward(
            *(x.numpy() for x in (indices, tables, cond, w_hh, b_hh, h0, h, gates, grad_h.contiguous(), *outputs)),
            torch.get_num_threads(),
        )
        grad_b = torch.cat([grad_a[:, :, : 2 * hidden].sum((0, 1)), grad_un.sum((0, 1))])
        return None, grad_tables, grad_cond, grad_w, grad_b, grad_h0

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Tensor) -> tuple[Any, Any]:
        """Arm by arm: the kernels fill the cores with one."""
        arms = [
            _FastGru.apply(*(x if d is None else x.select(d, arm) for x, d in zip(inputs, in_dims, strict=True)))  # type: ignore[no-untyped-call]
            for arm in range(info.batch_size)
        ]
        return (torch.stack([h for h, _ in arms]), arms[0][1]), (0, None)


def plain_gru(indices: Tensor, tables: Tensor, cond: Tensor, w_hh: Tensor, b_hh: Tensor, h0: Tensor) -> Tensor:
    """Compute what `gru` computes, one step at a time with torch operators; slow and obviously right."""
    h, states = h0, []
    for a in input_products(indices, tables, cond).unbind(1):
        h = gru_step(a, h @ w_hh.T + b_hh, h)
        states.append(h)
    return torch.stack(states, dim=1)


def input_products(indices: Tensor, tables: Tensor, cond: Tensor) -> Tensor:
    """Sum table rows and conditioning of every step, (batch, steps, 3 * hidden); arguments as of `gru`."""
    a = cond.repeat_interleave(indices.shape[1] // cond.shape[1], dim=1)
    for band in range(indices.shape[2]):
        a = a + tables[band][indices[:, :, band].long()]
    return a


def gru_step(a: Tensor, u: Tensor, h: Tensor) -> Tensor:
    """Return the state after one step, from input products a, recurrent products u (..., 3 * hidden) and state h."""
    (ar, az, an), (ur, uz, un) = a.chunk(3, dim=-1), u.chunk(3, dim=-1)
    reset, update = torch.sigmoid(ar + ur), torch.sigmoid(az + uz)
    candidate = torch.tanh(an + reset * un)
    return (1 - update) * candidate + update * h


def has_kernels(device: torch.device) -> bool:
    """Say whether the C++ kernels run there."""
    return device.type == "cpu"


def gru(indices: Tensor, tables: Tensor, cond: Tensor, w_hh: Tensor, b_hh: Tensor, h0: Tensor) -> Tensor:
    """Run a GRU whose input is a sum of table rows and a per-frame vector.

    Parameters
    ----------
    indices
        (batch, steps, bands) uint8, quantised samples fed at each step.
    tables
        (bands, 256, 3 * hidden), the input product of every level of every band; gates r, z, n.
    cond
        (batch, frames, 3 * hidden), the input product of each frame's conditioning, input bias included;
        `steps` is a multiple of `frames`.
    w_hh, b_hh, h0
        (3 * hidden, hidden), (3 * hidden,), (batch, hidden).

    Returns
    -------
    Tensor
        (batch, steps, hidden) hidden states.
    """
    if not has_kernels(w_hh.device):
        return recurrence(input_products(indices, tables, cond), w_hh, b_hh, h0)
    hidden = w_hh.shape[1]
    extra = -hidden % _UNITS
    if extra:  # units without weights stay exactly zero: candidate tanh(0), state 0
        w_hh = _widen(F.pad(w_hh, (0, extra)).T, hidden, extra).T
        tables, cond, b_hh = (_widen(x, hidden, extra) for x in (tables, cond, b_hh))
        h0 = F.pad(h0, (0, extra))
    states: Tensor = _FastGru.apply(indices, tables, cond, w_hh, b_hh, h0)[0]  # type: ignore[no-untyped-call]
    return states[..., :hidden]


def _widen(stacked: Tensor, hidden: int, extra: int) -> Tensor:
    """Append `extra` zeros to each of the three gates along the last axis."""
    return F.pad(stacked.reshape(*stacked.shape[:-1], 3, hidden), (0, extra)).flatten(-2)
