"""The fast GRUs against the plain one, forward and backward."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bench.models import _train
from bench.models.gru_batched import recurrence
from bench.models.gru_op import gru, input_products, plain_gru


def _inputs(seed: int, batch: int, frames: int, per_frame: int, bands: int, hidden: int) -> list[Tensor]:
    torch.manual_seed(seed)
    shapes = [
        (bands, 256, 3 * hidden),
        (batch, frames, 3 * hidden),
        (3 * hidden, hidden),
        (3 * hidden,),
        (batch, hidden),
    ]
    floats = [(torch.randn(*shape) * 0.3).requires_grad_() for shape in shapes]
    return [torch.randint(0, 256, (batch, frames * per_frame, bands), dtype=torch.uint8), *floats]


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    batch=st.integers(1, 19),
    frames=st.integers(1, 4),
    per_frame=st.integers(1, 7),
    bands=st.integers(1, 5),
    hidden=st.sampled_from([1, 5, 32, 48, 96]),
)
def test_equals_plain_torch(seed: int, batch: int, frames: int, per_frame: int, bands: int, hidden: int) -> None:
    inputs = _inputs(seed, batch, frames, per_frame, bands, hidden)
    upstream = torch.randn(batch, frames * per_frame, hidden)
    plain = _results(plain_gru, inputs, upstream)
    for form in (gru, batched_gru):
        for ours, wanted in zip(_results(form, inputs, upstream), plain, strict=True):
            _close(ours, wanted)


def batched_gru(indices: Tensor, tables: Tensor, cond: Tensor, *weights: Tensor) -> Tensor:
    return recurrence(input_products(indices, tables, cond), *weights)


def _results(form: Callable[..., Tensor], inputs: list[Tensor], upstream: Tensor) -> list[Tensor]:
    """States and gradients."""
    states = form(*inputs)
    return [states.detach(), *torch.autograd.grad(states, inputs[1:], upstream)]


def _close(ours: Tensor, wanted: Tensor) -> None:
    # Sums of float32 products differ in order: an entry that cancels errs by the size of its terms.
    scale = max(1.0, float(wanted.abs().max()))
    torch.testing.assert_close(ours, wanted, rtol=2e-4, atol=2e-5 * scale)


@pytest.mark.parametrize("form", [gru, batched_gru])
@pytest.mark.parametrize("shared", [None, 5])
def test_vectorised_over_arms_equals_one_after_another(form: Callable[..., Tensor], shared: int | None) -> None:
    arms = [_inputs(seed, 3, 2, 4, 2, 48) for seed in range(4)]
    if shared is not None:  # a start state, say, that is the same for all
        arms = [[*arm[:shared], arms[0][shared], *arm[shared + 1 :]] for arm in arms]
    upstream = torch.randn(4, 3, 8, 48)
    dims = tuple(None if at == shared else 0 for at in range(6))
    stacked = [
        (arms[0][at] if dim is None else torch.stack([arm[at] for arm in arms])).detach() for at, dim in enumerate(dims)
    ]
    for x in stacked[1:]:
        x.requires_grad_()
    states = torch.vmap(form, in_dims=dims)(*stacked)
    gradients = torch.autograd.grad(states, stacked[1:], upstream)
    each = [_results(form, arm, upstream[number]) for number, arm in enumerate(arms)]
    _close(states.detach(), torch.stack([found[0] for found in each]))
    for at, gradient in enumerate(gradients, 1):
        wanted = torch.stack([found[at] for found in each])
        _close(gradient, wanted.sum(0) if at == shared else wanted)


@pytest.mark.parametrize("threads", [1, 2])
def test_does_not_depend_on_threads_within_a_run(threads: int) -> None:
    before = torch.get_num_threads()
    inputs = _inputs(0, 32, 3, 5, 4, 64)
    try:
        torch.set_num_threads(threads)
        first, second = gru(*inputs), gru(*inputs)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(first, second)


def test_off_the_cpu_the_batched_form_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The C++ kernels read CPU memory; `meta` stands for any other device, whatever the host has."""

    def refuse(*_: object) -> None:
        raise AssertionError("a kernel of the CPU was called for another device")

    monkeypatch.setattr(_train, "forward", refuse)
    inputs = [tensor.detach().to("meta") for tensor in _inputs(0, 2, 3, 4, 2, 48)]
    states = gru(*inputs)
    assert (states.shape, states.device.type) == ((2, 12, 48), "meta")
    with pytest.raises(AssertionError):
        gru(*(tensor.detach() for tensor in _inputs(0, 2, 3, 4, 2, 48)))
