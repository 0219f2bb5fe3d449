"""The GRU of many arms at once, in batched matrix products and few operators a step: what runs off the CPU.

Every operator is safe to capture in a CUDA graph: shapes are fixed, nothing is read back. Against automatic
differentiation of `bench.models.gru_op.plain_gru` the backward pass, written out, needs 4 operators a step instead of
about 25, and sums the recurrent weights' gradient in one product over all steps instead of one per step.
"""

from typing import Any

import torch
from torch import Tensor


class _Recurrence(torch.autograd.Function):
    """Arguments with a leading arm dimension: a (arms, batch, steps, 3 * hidden), w_hh (arms, 3 * hidden, hidden), b_hh
    (arms, 3 * hidden), h0 (arms, batch, hidden). Returns states (arms, batch, steps, hidden), and what backward needs:
    reset, update, candidate and the candidate's recurrent part (arms, batch, steps, 4 * hidden)."""

    @staticmethod
    def forward(a: Tensor, w_hh: Tensor, b_hh: Tensor, h0: Tensor) -> tuple[Tensor, Tensor]:
        arms, batch, steps, _ = a.shape
        hidden = w_hh.shape[2]
        states = a.new_empty(arms, batch, steps, hidden)
        kept = a.new_empty(arms, batch, steps, 4 * hidden)
        opening = a[..., : 2 * hidden] + b_hh[:, None, None, : 2 * hidden]
        bias, weights, h = b_hh[:, None, 2 * hidden :], w_hh.transpose(1, 2), h0
        for t in range(steps):
            u, now = torch.bmm(h, weights), kept[:, :, t]
            gates, candidate, un = now[..., : 2 * hidden], now[..., 2 * hidden : 3 * hidden], now[..., 3 * hidden :]
            torch.add(opening[:, :, t], u[..., : 2 * hidden], out=gates).sigmoid_()
            torch.add(u[..., 2 * hidden :], bias, out=un)
            torch.addcmul(a[:, :, t, 2 * hidden :], gates[..., :hidden], un, out=candidate).tanh_()
            h = torch.lerp(candidate, h, gates[..., hidden:], out=states[:, :, t])
        return states, kept

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
        _, w_hh, _, h0 = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)  # of the second, zeros larger than all states
        ctx.save_for_backward(w_hh, h0, *output)

    @staticmethod
    def backward(ctx: Any, grad_h: Tensor, _: Tensor) -> tuple[Tensor, ...]:
        w_hh, h0, states, kept = ctx.saved_tensors
        arms, batch, steps, hidden = states.shape
        reset, update, candidate, un = kept.chunk(4, dim=-1)
        before = torch.cat([h0[:, :, None], states[:, :, :-1]], dim=2)
        # A state's gradient dh reaches the gates through factors that do not depend on it: made for all steps at once.
        into = (1 - update) * (1 - candidate.square())
        factors = torch.stack(
            [into * un * reset * (1 - reset), (before - candidate) * update * (1 - update), into * reset], dim=3
        )
        dh, carry, du = torch.empty_like(states), torch.zeros_like(h0), factors.new_empty(arms, batch, 3, hidden)
        for t in reversed(range(steps)):
            now = torch.add(grad_h[:, :, t], carry, out=dh[:, :, t])
            torch.mul(factors[:, :, t], now[:, :, None], out=du)
            carry = torch.baddbmm(now * update[:, :, t], du.flatten(2), w_hh)
        grad = factors.mul_(dh[:, :, :, None])  # by the recurrent products, (arms, batch, steps, 3, hidden)
        grad_b = grad.sum((1, 2)).flatten(1)
        grad_w = torch.bmm(grad.reshape(arms, batch * steps, 3 * hidden).transpose(1, 2), before.flatten(1, 2))
        torch.mul(dh, into, out=grad[:, :, :, 2])  # the candidate's input is not behind the reset gate
        return grad.flatten(3), grad_w, grad_b, carry

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Tensor) -> tuple[Any, Any]:
        """More arms: one dimension before the one that is there."""
        many = [x.expand(info.batch_size, *x.shape) if d is None else x.movedim(d, 0) for x, d in zip(
            inputs, in_dims, strict=True)]  # fmt: skip
        states, kept = _Recurrence.apply(*(x.flatten(0, 1) for x in many))  # type: ignore[no-untyped-call]
        return (states.unflatten(0, many[0].shape[:2]), kept.unflatten(0, many[0].shape[:2])), (0, 0)


def recurrence(a: Tensor, w_hh: Tensor, b_hh: Tensor, h0: Tensor) -> Tensor:
    """Run a GRU on input products.

    Under `torch.vmap` all arms run in the same operators.

    Parameters
    ----------
    a
        (batch, steps, 3 * hidden); gates r, z, n.
    w_hh, b_hh, h0
        (3 * hidden, hidden), (3 * hidden,), (batch, hidden).

    Returns
    -------
    Tensor
        (batch, steps, hidden) hidden states.
    """
    states: Tensor = _Recurrence.apply(a[None], w_hh[None], b_hh[None], h0[None])[0]  # type: ignore[no-untyped-call]
    return states[0]
