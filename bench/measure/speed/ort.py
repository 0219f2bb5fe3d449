"""Products of onnxruntime: a graph of one multiplication, one thread, input and output bound once.

The graphs are written in ONNX's protobuf encoding by hand (onnx.proto: the field numbers below), because the package
`onnx` is not needed for anything else.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.measure.speed.peers import Array, Product

_DTYPES = {"float32": 1, "int8": 3}
_IR_VERSION, _OPSET = 8, 17


def dense_f32(weight: Array, x: Array, _: tuple[int, int]) -> Product:
    """`MatMul` with constant weights, which onnxruntime packs when it loads them."""
    graph = _model(_node("MatMul", ["x", "w"], ["y"]), {"w": weight.T}, weight.shape)
    return _product(graph, weight.shape, x, weight.nbytes)


def dense_int8(weight: Array, x: Array, _: tuple[int, int]) -> Product:
    """`DynamicQuantizeMatMul`: x quantised to 8 bits in every call, weights per row; the result is float.

    Separate DynamicQuantizeLinear and MatMulIntegerToFloat nodes take as long.
    """
    largest = np.abs(weight).max(axis=1)
    scale = np.where(largest > 0, largest / 127, 1).astype(np.float32)
    zero = np.zeros(len(weight), dtype=np.int8)
    quantised = np.round(weight / scale[:, None]).astype(np.int8)
    node = _node("DynamicQuantizeMatMul", ["x", "w", "scale", "zero"], ["y"], "com.microsoft")
    graph = _model(node, {"w": quantised.T, "scale": scale, "zero": zero}, weight.shape)
    return _product(graph, weight.shape, x, quantised.nbytes + scale.nbytes + zero.nbytes)


def _product(graph: bytes, shape: tuple[int, ...], x: Array, read_bytes: int) -> Product:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    bound = session.io_binding()
    y = onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros((1, shape[0]), dtype=np.float32))
    bound.bind_ortvalue_input("x", onnxruntime.OrtValue.ortvalue_from_numpy(x[None]))
    bound.bind_ortvalue_output("y", y)

    def result() -> Array:
        session.run_with_iobinding(bound)
        return np.array(y.numpy()[0])

    return Product(lambda: session.run_with_iobinding(bound), result, read_bytes)


def _model(node: bytes, constants: Mapping[str, NDArray[Any]], shape: tuple[int, ...]) -> bytes:
    """ModelProto of one node, from x (1, in) to y (1, out)."""
    rows, cols = shape
    graph = _field(1, node) + _field(2, "product")
    graph += b"".join(_field(5, _tensor(name, array)) for name, array in constants.items())
    graph += _field(11, _value("x", cols)) + _field(12, _value("y", rows))
    opsets = [_field(1, domain) + _field(2, version) for domain, version in (("", _OPSET), ("com.microsoft", 1))]
    return _field(1, _IR_VERSION) + _field(7, graph) + b"".join(_field(8, opset) for opset in opsets)


def _node(operator: str, inputs: Sequence[str], outputs: Sequence[str], domain: str = "") -> bytes:
    names = [_field(1, name) for name in inputs] + [_field(2, name) for name in outputs]
    return b"".join(names) + _field(4, operator) + _field(7, domain)


def _tensor(name: str, array: NDArray[Any]) -> bytes:
    dims = b"".join(_field(1, size) for size in array.shape)
    return dims + _field(2, _DTYPES[array.dtype.name]) + _field(8, name) + _field(9, array.tobytes())


def _value(name: str, length: int) -> bytes:
    """ValueInfoProto of a float tensor (1, length)."""
    dims = b"".join(_field(1, _field(1, size)) for size in (1, length))
    return _field(1, name) + _field(2, _field(1, _field(1, _DTYPES["float32"]) + _field(2, dims)))


def _field(number: int, value: int | str | bytes) -> bytes:
    """One protobuf field: a varint, or something with a length."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    content = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(n: int) -> bytes:
    low, rest = n & 127, n >> 7
    return bytes([low]) if not rest else bytes([low | 128]) + _varint(rest)
