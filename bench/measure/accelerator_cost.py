"""Time of one frame of a network on an assumed accelerator: cycles to multiply, cycles to read the weights.

For each matrix: ``passes * pass_cycles`` to multiply, ``stored bytes / bytes per cycle`` to read; the longer of the
two, or their sum without `overlap`; plus `product_cycles`. A frame is the sum over its matrices. What is not a product
of a matrix (gates, features, transforms) is left out: it is the same whatever is pruned, but for fewer units.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.measure.accelerator import Accelerator
from bench.measure.encodings import ENCODINGS
from bench.models.enhancer import EnhancerArch, matrices
from bench.models.quantised import QuantisedEnhancer
from bench.sparsity.tile import Tile

Int8Matrix = NDArray[np.int8]


@dataclass(frozen=True)
class FrameCost:
    """What one frame takes.

    Attributes
    ----------
    compute_cycles, stream_cycles
        To multiply and to read the weights, each summed over the matrices.
    cycles, us
        Of the whole.
    speedup
        Over the dense int8 network of the original size, its weights stored dense, on the same device.
    weight_bytes
        Matrices as the device stores them.
    weights_in
        Where they lie.
    """

    compute_cycles: int
    stream_cycles: int
    cycles: int
    us: float
    speedup: float
    weight_bytes: int
    weights_in: Literal["sram", "flash"]


def frame_cost(
    device: Accelerator,
    stored: Mapping[str, Int8Matrix],
    gates: Mapping[str, int],
    dense: Mapping[str, tuple[int, int]],
) -> FrameCost:
    """Cost of one frame, in which every matrix meets one vector.

    Parameters
    ----------
    device
        Whose time it is.
    stored
        Integer weights (rows, cols) by name, 0 where pruned.
    gates
        Stacked gates of each; each gate is a product of its own.
    dense
        Shapes (rows, cols) of the network that the speed-up is over: larger ones if units were taken out.
    """
    products = []
    for name, matrix in stored.items():
        left = _without_empty_units(matrix) if device.skips == "units" else matrix
        products.append((_passes(device, matrix, gates[name]), _weight_bytes(device, left, gates[name])))
    whole = [(_dense_passes(device, *shape, gates[name]), shape[0] * shape[1]) for name, shape in dense.items()]
    compute, stream, cycles, weights_in = _time(device, products)
    weight_bytes = sum(size for _, size in products)
    speedup = _time(device, whole)[2] / cycles
    return FrameCost(compute, stream, cycles, cycles / device.clock_mhz, speedup, weight_bytes, weights_in)


def enhancer_cost(device: Accelerator, model: QuantisedEnhancer, dense: EnhancerArch) -> FrameCost:
    """Cost of one frame of an enhancer; `dense`: the network that it was pruned from."""
    gates = {name: count for name, (_, count) in matrices(model.arch).items()}
    stored = {name: integers for name, (integers, _) in model.stored().items()}
    return frame_cost(device, stored, gates, matrix_shapes(dense))


def matrix_shapes(arch: EnhancerArch) -> dict[str, tuple[int, int]]:
    """(rows, cols) of every matrix by public name."""
    return {name: matrix.shape for name, matrix in arch.shape.matrices().items()}


def _time(device: Accelerator, products: list[tuple[int, int]]) -> tuple[int, int, int, Literal["sram", "flash"]]:
    """Cycles to multiply, to read and in all, of products of so many passes and bytes; and where the weights lie."""
    fits = sum(size for _, size in products) <= device.sram_weight_bytes
    rate = device.sram_bytes_per_cycle if fits else device.flash_bytes_per_cycle
    computes = [passes * device.pass_cycles for passes, _ in products]
    streams = [ceil(size / rate) for _, size in products]
    both = [max(pair) if device.overlap else sum(pair) for pair in zip(computes, streams, strict=True)]
    cycles = sum(both) + device.product_cycles * len(products)
    return sum(computes), sum(streams), cycles, "sram" if fits else "flash"


def _passes(device: Accelerator, matrix: Int8Matrix, gates: int) -> int:
    """Passes of the array over one matrix."""
    rows, cols = matrix.shape
    if device.skips == "none":
        return _dense_passes(device, rows, cols, gates)
    kept = (matrix != 0).reshape(gates, rows // gates, cols)
    if device.skips == "units":
        left = int(kept.any(axis=(0, 1)).sum())
        return sum(_dense_passes(device, int(count), left, 1) for count in kept.any(axis=2).sum(axis=1))
    height, width = _block(device, matrix, gates)
    tops, lefts = np.arange(0, rows // gates, height), np.arange(0, cols, width)
    blocks = np.logical_or.reduceat(np.logical_or.reduceat(kept, tops, axis=1), lefts, axis=2)
    inputs = blocks @ np.diff(lefts, append=cols)  # kept ones of each row of blocks, (gates, rows of blocks)
    strips = np.ceil(np.diff(tops, append=rows // gates) / device.array[0])
    return int((np.ceil(inputs / device.array[1]) * strips).sum())


def _dense_passes(device: Accelerator, rows: int, cols: int, gates: int) -> int:
    return gates * ceil(rows // gates / device.array[0]) * ceil(cols / device.array[1])


def _weight_bytes(device: Accelerator, matrix: Int8Matrix, gates: int) -> int:
    """Bytes of one matrix in the device's encoding, or stored dense where that is smaller."""
    if matrix.size == 0 or device.weights == "dense":
        return matrix.size
    encoded = ENCODINGS[device.weights](matrix, Tile(*_block(device, matrix, gates)), gates)
    return min(len(encoded), matrix.size)


def _block(device: Accelerator, matrix: Int8Matrix, gates: int) -> tuple[int, int]:
    """The device's block, cut to one gate of the matrix; single weights where it has none."""
    rows, cols = device.block or (1, 1)
    return min(rows, matrix.shape[0] // gates), min(cols, matrix.shape[1])


def _without_empty_units(matrix: Int8Matrix) -> Int8Matrix:
    """Rows and columns that hold a weight; which they are is known when the program is made and read by nobody."""
    kept = matrix != 0
    return np.ascontiguousarray(matrix[kept.any(axis=1)][:, kept.any(axis=0)])
