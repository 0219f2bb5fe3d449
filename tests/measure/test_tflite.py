"""The exported model, read back and run by the reference kernels of the format's own interpreter."""

import builtins
from math import frexp
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bench.errors import LanewiseError
from bench.measure import tflite
from bench.measure.tflite import Product, products
from bench.models.enhancer import Enhancer, EnhancerArch, matrices
from bench.models.quantised import Quantisation, QuantisedEnhancer, quantise

ARCH = EnhancerArch(hidden=24, fc=16, mels=20)


def quantised(cell: Any, weights: Any) -> QuantisedEnhancer:
    """A random network with pruned weights, an empty row and biases that count."""
    torch.manual_seed(1)
    model = Enhancer(EnhancerArch(cell=cell, hidden=ARCH.hidden, fc=ARCH.fc, mels=ARCH.mels))
    with torch.no_grad():
        for key, _ in matrices(model.arch).values():
            weights_ = model.get_parameter(key)
            weights_.mul_(4 * (torch.rand_like(weights_) < 0.4))
            weights_[3] = 0
        for key, value in model.named_parameters():
            if key.endswith("bias"):
                value.normal_()
    return quantise(model, Quantisation(weights))


def requantised(sums: NDArray[np.int64], factors: NDArray[np.float64]) -> NDArray[np.int64]:
    """Accumulators times real factors as the kernels compute it: by factors of 31 bits, halves away from 0."""
    found = []
    for total, factor in zip(sums.tolist(), factors.tolist(), strict=True):
        mantissa, exponent = frexp(factor)
        shift = 31 - exponent
        size = (abs(total) * int(np.floor(mantissa * 2**31 + 0.5)) + (1 << (shift - 1))) >> shift
        found.append(size if total > 0 else -size)
    return np.array(found)


def run(layer: Product, fed: NDArray[np.int8]) -> NDArray[np.int8]:
    """Return what one product gives for an int8 vector."""
    sums = layer.integers.astype(np.int64) @ fed.astype(np.int64) + layer.bias_integers
    factors = np.float64(np.float32(layer.fed_scale)) * layer.scales.astype(np.float64) * np.ones(len(sums))
    out = requantised(sums, factors / np.float64(np.float32(layer.out_scale)))
    return np.clip(out, 0 if layer.relu else -128, 127).astype(np.int8)


@pytest.mark.parametrize("weights", ["channel", "tensor"])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_read_back_it_computes_the_same_integers(cell: str, weights: str) -> None:
    interpreters = pytest.importorskip("ai_edge_litert.interpreter")
    model = quantised(cell, weights)
    layers = products(model)
    interpreter = interpreters.Interpreter(
        model_content=tflite.tflite(layers),
        experimental_op_resolver_type=interpreters.OpResolverType.BUILTIN_REF,
    )
    interpreter.allocate_tensors()
    inputs = {item["name"]: item for item in interpreter.get_input_details()}
    outputs = {item["name"]: item for item in interpreter.get_output_details()}
    assert set(inputs) == {f"{layer.name}.in" for layer in layers if layer.fed_by is None}
    assert set(outputs) == {f"{layer.name}.out" for layer in layers if layer.name != "fc.hidden"}
    stored = {item["name"]: item["index"] for item in interpreter.get_tensor_details()}
    rng = np.random.default_rng(0)
    expected: dict[str, NDArray[np.int8]] = {}
    for layer in layers:
        np.testing.assert_array_equal(interpreter.get_tensor(stored[f"{layer.name}.weights"]), layer.integers)
        if layer.fed_by is None:
            fed = np.asarray(rng.integers(-127, 128, layer.integers.shape[1]), np.int8)
            interpreter.set_tensor(inputs[f"{layer.name}.in"]["index"], fed[None])
        else:
            fed = expected[layer.fed_by]
        expected[layer.name] = run(layer, fed)
    interpreter.invoke()
    for name, item in outputs.items():
        np.testing.assert_array_equal(interpreter.get_tensor(item["index"])[0], expected[name.removesuffix(".out")])


def test_outputs_are_the_quantised_models_products() -> None:
    """In real units, within half a step of the output and of the bias."""
    model = quantised("lstm", "channel")
    layers = {layer.name: layer for layer in products(model)}
    fed = np.random.default_rng(0).integers(-127, 128, ARCH.hidden).astype(np.int8)
    fed[0] = 127  # so that a vector's own range is the static one
    for name, key in (("rnn2.input", "rnn.1"), ("fc.hidden", "fc")):
        layer = layers[name]
        weights = model.get_parameter(f"{key}.w_ih" if key.startswith("rnn") else f"{key}.weight")
        real = torch.from_numpy(fed * np.float32(layer.fed_scale))[None]
        with torch.no_grad():
            wanted = (model.product(real, weights, None) + model.get_parameter(f"{key}.bias"))[0].numpy()
        limit = 127 * layer.out_scale
        wanted = np.clip(wanted, 0 if layer.relu else -limit - layer.out_scale, limit)
        step = layer.out_scale / 2 + layer.fed_scale * layer.scales / 2
        assert (np.abs(run(layer, fed) * layer.out_scale - wanted) <= step * 1.01 + 1e-5).all()


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    found = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("ai_edge_litert"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return found(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(
        LanewiseError, match=r"ai_edge_litert is missing; install it with: pip install 'lanewise\[vela\]'"
    ):
        tflite.tflite(products(quantised("lstm", "tensor")))
