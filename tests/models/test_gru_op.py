"""The fast GRU against the plain one, forward and backward."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bench.models import _train
from bench.models.gru_op import gru, plain_gru


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
    found = []
    for form in (gru, plain_gru):
        for x in inputs[1:]:
            x.grad = None
        states = form(*inputs)
        states.backward(upstream)
        found.append([states.detach(), *(x.grad.clone() for x in inputs[1:] if x.grad is not None)])
    assert len(found[0]) == 6
    for fast, plain in zip(*found, strict=True):
        # Sums of float32 products differ in order: an entry that cancels errs by the size of its terms.
        scale = max(1.0, float(plain.abs().max()))
        torch.testing.assert_close(fast, plain, rtol=2e-4, atol=2e-5 * scale)


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


def test_off_the_cpu_the_plain_form_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The C++ kernels read CPU memory; `meta` stands for any other device, whatever the host has."""

    def refuse(*_: object) -> None:
        raise AssertionError("a kernel of the CPU was called for another device")

    monkeypatch.setattr(_train, "forward", refuse)
    inputs = [tensor.detach().to("meta") for tensor in _inputs(0, 2, 3, 4, 2, 48)]
    states = gru(*inputs)
    assert (states.shape, states.device.type) == ((2, 12, 48), "meta")
    with pytest.raises(AssertionError):
        gru(*(tensor.detach() for tensor in _inputs(0, 2, 3, 4, 2, 48)))
