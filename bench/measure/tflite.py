"""The matrix products of one frame of an enhancer as an int8 TFLite model, for compilers of accelerators.

Each matrix becomes one fully connected operator with the integers and scales of `QuantisedEnhancer.stored()`. The two
products of a recurrent layer read inputs of their own (what feeds the layer, and its last state), and their outputs are
what the gates add up; the gates themselves (sums, sigmoids, tanh, products of vectors of `hidden` numbers) are left
out: no weight is theirs, and they take the same time whatever is pruned. `fc.hidden` has its ReLU and feeds `fc.mask`.

TensorFlow is not needed: the file is written through the schema of the TFLite format alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import LanewiseError
from bench.models.quantised import GREATEST, QuantisedEnhancer

EXTRA = "install it with: pip install 'lanewise[vela]'"
SATURATION = 8.0
"""Range of what gates and mask are computed from, beyond which a sigmoid is 0 or 1 to within 0.0004; our choice."""


@dataclass(frozen=True)
class Product:
    """One fully connected operator.

    Attributes
    ----------
    integers, scales, bias
        Weights (rows, cols), scales (rows,) or (1,), and bias (rows,) in real units.
    fed_scale, out_scale
        Real value of 1 in the int8 vectors that come in and go out; zero is 0.
    fed_by
        Name of the product whose output comes in; None: an input of the model.
    relu
        Whether negative outputs become 0.
    """

    name: str
    integers: NDArray[np.int8]
    scales: NDArray[np.float32]
    bias: NDArray[np.float32]
    fed_scale: float
    out_scale: float
    fed_by: str | None = None
    relu: bool = False

    @property
    def bias_integers(self) -> NDArray[np.int32]:
        """Bias in units of the accumulator, (rows,)."""
        return np.rint(self.bias / (self.fed_scale * self.scales.astype(np.float64))).astype(np.int32)


def products(model: QuantisedEnhancer) -> list[Product]:
    """Products of one frame in the order of the network; vectors by the ranges of static quantisation."""
    state, stored = model.state_dict(), model.stored()
    feature_scale, fc_scale = float(model.feature_range) / GREATEST, float(model.fc_range) / GREATEST
    state_scale, gate_scale = 1 / GREATEST, SATURATION / GREATEST
    found, fed_scale = [], feature_scale
    for layer in range(model.arch.layers):
        bias = state[f"rnn.{layer}.bias"].cpu().numpy()
        name = f"rnn{layer + 1}"
        found.append(Product(f"{name}.input", *stored[f"{name}.input"], bias, fed_scale, gate_scale))
        recurrent = stored[f"{name}.recurrent"]
        found.append(Product(f"{name}.recurrent", *recurrent, np.zeros_like(bias), state_scale, gate_scale))
        fed_scale = state_scale
    hidden, mask = (state[f"{name}.bias"].cpu().numpy() for name in ("fc", "mask"))
    found.append(Product("fc.hidden", *stored["fc.hidden"], hidden, state_scale, fc_scale, relu=True))
    found.append(Product("fc.mask", *stored["fc.mask"], mask, fc_scale, gate_scale, fed_by="fc.hidden"))
    return found


def tflite(layers: Sequence[Product]) -> bytes:
    """TFLite file of the products; inputs and outputs are named `<product>.in` and `<product>.out`.

    Raises
    ------
    LanewiseError
        The schema is not installed.
    """
    try:
        import flatbuffers
        from ai_edge_litert import schema_py_generated as schema
    except ImportError as error:
        raise LanewiseError(f"TFLite models cannot be written: {error.name} is missing; {EXTRA}") from error
    graph = _Graph(schema)
    for layer in layers:
        graph.add(layer)
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(graph.model().Pack(builder), b"TFL3")
    return bytes(builder.Output())


class _Graph:
    def __init__(self, schema: Any) -> None:
        self._schema = schema
        self._buffers = [schema.BufferT()]  # by convention the first is empty: that of tensors without data
        self._tensors: list[Any] = []
        self._operators: list[Any] = []
        self._outputs: dict[str, int] = {}
        self._inputs: list[int] = []

    def add(self, layer: Product) -> None:
        schema, types = self._schema, self._schema.TensorType
        rows, cols = layer.integers.shape
        if layer.fed_by is None:
            fed = self._tensor(f"{layer.name}.in", (1, cols), types.INT8, [layer.fed_scale])
            self._inputs.append(fed)
        else:
            fed = self._outputs[layer.fed_by]
        bias_scales = layer.fed_scale * layer.scales
        weights = self._tensor(f"{layer.name}.weights", (rows, cols), types.INT8, layer.scales, layer.integers)
        bias = self._tensor(f"{layer.name}.bias", (rows,), types.INT32, bias_scales, layer.bias_integers)
        out = self._tensor(f"{layer.name}.out", (1, rows), types.INT8, [layer.out_scale])
        self._outputs[layer.name] = out
        options = schema.FullyConnectedOptionsT()
        if layer.relu:
            options.fusedActivationFunction = schema.ActivationFunctionType.RELU
        operator = schema.OperatorT()
        operator.inputs, operator.outputs = [fed, weights, bias], [out]
        operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.FullyConnectedOptions, options
        self._operators.append(operator)

    def model(self) -> Any:
        schema = self._schema
        graph, code, model = schema.SubGraphT(), schema.OperatorCodeT(), schema.ModelT()
        graph.name, graph.tensors, graph.operators = "frame", self._tensors, self._operators
        inner = {index for operator in self._operators for index in operator.inputs}
        graph.inputs, graph.outputs = self._inputs, [out for out in self._outputs.values() if out not in inner]
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
        code.version = 12  # the first in which each output row of int8 weights may have its own scale
        model.version, model.description = 3, "Lanewise enhancer: the matrix products of one frame"
        model.operatorCodes, model.subgraphs, model.buffers = [code], [graph], self._buffers
        return model

    def _tensor(
        self,
        name: str,
        shape: Sequence[int],
        kind: int,
        scales: Sequence[float] | NDArray[np.float32],
        data: NDArray[Any] | None = None,
    ) -> int:
        quantisation, tensor = self._schema.QuantizationParametersT(), self._schema.TensorT()
        quantisation.scale, quantisation.zeroPoint = [float(scale) for scale in scales], [0] * len(scales)
        tensor.name, tensor.shape, tensor.type, tensor.quantization = name, list(shape), kind, quantisation
        if data is not None:
            buffer = self._schema.BufferT()
            buffer.data = np.frombuffer(data.tobytes(), np.uint8)
            self._buffers.append(buffer)
            tensor.buffer = len(self._buffers) - 1
        self._tensors.append(tensor)
        return len(self._tensors) - 1
