"""The int8 enhancer: exact accumulators, what it stores, streaming, gradients through rounding, training."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.learn.enhancement import batch_loss
from bench.learn.fit import Fit, Optimisation, task_loss
from bench.models.enhancer import Cell, Enhancer, EnhancerArch, EnhancerStream, matrices
from bench.models.quantised import (
    GREATEST,
    Quantisation,
    QuantisedEnhancer,
    activation_integers,
    quantise,
    rounded,
    weight_integers,
)

OPTIONS = [
    Quantisation(weights, activations) for weights in ("channel", "tensor") for activations in ("dynamic", "static")
]


def small(quantisation: Quantisation, cell: Cell = "lstm") -> QuantisedEnhancer:
    torch.manual_seed(3)
    model = Enhancer(EnhancerArch(cell=cell, hidden=12, fc=8, mels=16)).eval()
    quantised = quantise(model, quantisation)
    quantised.calibrate(0.1 * torch.randn(4, 4096))
    return quantised


@torch.no_grad()
@settings(max_examples=30, deadline=None)
@given(st.integers(1, 256), st.integers(1, 40), st.integers(0, 2**31), st.sampled_from(OPTIONS))
def test_accumulators_are_exact_integers(inputs: int, rows: int, seed: int, quantisation: Quantisation) -> None:
    rng = np.random.default_rng(seed)
    weights = torch.from_numpy(rng.standard_normal((rows, inputs)).astype(np.float32))
    x = torch.from_numpy(rng.standard_normal((3, inputs)).astype(np.float32))
    greatest = torch.tensor(1.5) if quantisation.activations == "static" else None
    wi, w_scale = weight_integers(weights, quantisation.weights)
    xi, x_scale = activation_integers(x, greatest)
    for integers in (wi, xi):
        assert torch.equal(integers, integers.round())
        assert integers.abs().max() <= GREATEST
    accumulators = xi @ wi.T
    expected = xi.numpy().astype(np.int64) @ wi.numpy().astype(np.int64).T
    np.testing.assert_array_equal(accumulators.numpy().astype(np.int64), expected)
    model = small(quantisation)
    torch.testing.assert_close(model.product(x, weights, greatest), accumulators * (x_scale * w_scale), atol=0, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("quantisation", OPTIONS)
def test_stored_integers_stand_for_the_weights(quantisation: Quantisation) -> None:
    model = small(quantisation)
    stored = model.stored()
    assert stored.keys() == matrices(model.arch).keys()
    for name, (integers, scales) in stored.items():
        weights = model.state_dict()[matrices(model.arch)[name][0]].numpy()
        assert scales.shape == ((len(weights),) if quantisation.weights == "channel" else (1,))
        assert (np.abs(integers * scales[:, None] - weights) <= 0.5001 * scales[:, None]).all()


@torch.no_grad()
@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("quantisation", OPTIONS)
def test_close_to_the_float_model_and_frame_by_frame(quantisation: Quantisation, cell: Cell) -> None:
    model = small(quantisation, cell)
    floats = Enhancer(model.arch).eval()
    floats.load_state_dict({key: model.state_dict()[key] for key in floats.state_dict()})
    audio = 0.1 * torch.randn(1, 3000)
    whole = model(audio)[0].numpy()
    assert np.abs(whole - floats(audio)[0].numpy()).max() < 0.02 * np.abs(whole).max()
    hop, late = model.arch.hop, model.arch.n_fft - model.arch.hop
    fed = np.pad(audio[0].numpy(), (0, -3000 % hop + late)).reshape(-1, hop)
    stream = EnhancerStream(model)
    live = np.concatenate([stream.push(part) for part in fed])[late:]
    # a transform of one frame and of many may differ in the last bit, and a rounding can turn on that
    np.testing.assert_allclose(live[:3000], whole, atol=1e-3 * np.abs(whole).max())


@torch.no_grad()
def test_mask_has_16_bits_and_silence_stays_silent() -> None:
    model = small(Quantisation())
    mask, _ = model.band_mask(torch.randn(2, 5, 16), model.zero_state(2))
    steps = mask.double() * 65535
    torch.testing.assert_close(steps, steps.round(), atol=0.01, rtol=0)
    assert not model(torch.zeros(1, 2000)).any()


def test_gradients_pass_roundings_and_stop_at_clips() -> None:
    x = torch.tensor([0.2, 0.7, 5.0], requires_grad=True)
    rounded(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [1.0, 1.0, 1.0]
    x.grad = None
    integers, scale = activation_integers(x, torch.tensor(1.0))
    (integers * scale).sum().backward()
    torch.testing.assert_close(x.grad, torch.tensor([1.0, 1.0, 0.0]))


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_it_learns_through_the_roundings(cell: Cell) -> None:
    model = small(Quantisation(), cell).train()
    rng = np.random.default_rng(0)
    clean = 0.1 * np.sin(2 * np.pi * 500 / 16_000 * np.arange(4096)) * np.ones((4, 1))
    noisy = clean + 0.05 * rng.standard_normal(clean.shape)
    batch = noisy.astype(np.float32), clean.astype(np.float32)
    fit = Fit(model, Optimisation(25, rate=2e-2, warmup=2), task_loss(model, lambda _: batch, batch_loss("snr")))
    fit.run(25)
    assert fit.curve[-1][1] < fit.curve[0][1] - 2
