"""Cycles of a frame: against a loop over passes and single weights, and what must hold for any network."""

from dataclasses import replace
from math import ceil
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bench.measure.accelerator import Accelerator, load
from bench.measure.accelerator_cost import FrameCost, enhancer_cost, frame_cost, matrix_shapes
from bench.measure.encodings import encode_bitmap, encode_blocks, encode_relative
from bench.measure.entropy_coding import encode_entropy
from bench.models.enhancer import Enhancer, EnhancerArch, matrices
from bench.models.quantised import Quantisation, quantise
from bench.sparsity.tile import Tile

Matrix = NDArray[np.int8]


def device(**fields: Any) -> Accelerator:
    """A small device, so that edges are met often."""
    base: dict[str, Any] = {
        "name": "d", "skips": "none", "weights": "dense", "clock_mhz": 100, "array": "4x3", "macs_per_cycle": 6,
        "flash_bytes_per_cycle": 0.5, "sram_bytes_per_cycle": 4, "sram_weight_bytes": 0, "overlap": True,
        "product_cycles": 7,
    }  # fmt: skip
    return Accelerator(**base | fields)


SKIPPING: tuple[dict[str, Any], ...] = (
    {"skips": "none"},
    {"skips": "units"},
    *({"skips": "blocks", "block": block} for block in ("4x1", "4x2", "4x5", "8x3", "64x64")),
)


@st.composite
def networks(draw: st.DrawFn) -> tuple[Matrix, int]:
    """A matrix, sparse in weights, blocks, rows or columns, and its stacked gates."""
    gates, height, cols = draw(st.integers(1, 4)), draw(st.integers(1, 13)), draw(st.integers(1, 14))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    rows, (down, across) = gates * height, draw(st.sampled_from([(1, 1), (4, 1), (4, 4), (1, 64), (64, 1)]))
    coarse = rng.random((-(-rows // down), -(-cols // across))) < draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))
    kept = np.kron(coarse, np.ones((down, across)))[:rows, :cols]
    return np.asarray(rng.integers(1, 128, (rows, cols)) * kept, np.int8), gates


def cost(chosen: Accelerator, matrix: Matrix, gates: int, shape: tuple[int, int] | None = None) -> FrameCost:
    full = shape or (matrix.shape[0], matrix.shape[1])
    return frame_cost(chosen, {"m": matrix}, {"m": gates}, {"m": full})


def passes_one_by_one(chosen: Accelerator, matrix: Matrix, gates: int) -> int:
    """Walk each gate strip by strip: which inputs must it take, and how many passes do they fill?"""
    outputs, inputs = chosen.array
    count, height = 0, matrix.shape[0] // gates
    columns = [col for col in range(matrix.shape[1]) if any(matrix[:, col])]
    for gate in range(gates):
        rows = [gate * height + row for row in range(height)]
        if chosen.skips == "units":
            rows = [row for row in rows if any(matrix[row])]
        for start in range(0, len(rows), outputs):
            taken = list(range(matrix.shape[1])) if chosen.skips == "none" else columns
            if chosen.skips == "blocks":
                assert chosen.block is not None
                tall, wide = chosen.block
                top = start // tall * tall
                taken = [
                    col
                    for col in range(matrix.shape[1])
                    if any(
                        matrix[gate * height + row, other]
                        for row in range(top, min(top + tall, height))
                        for other in range(col // wide * wide, min(col // wide * wide + wide, matrix.shape[1]))
                    )
                ]
            count += len(range(0, len(taken), inputs))
    return count


@settings(max_examples=200)
@given(networks(), st.sampled_from(SKIPPING), st.booleans(), st.sampled_from([0, 40, 10_000]))
def test_cycles_are_those_counted_one_by_one(
    network: tuple[Matrix, int], skipping: dict[str, Any], overlap: bool, room: int
) -> None:
    chosen = device(**skipping, overlap=overlap, sram_weight_bytes=room)
    matrix, gates = network
    got = cost(chosen, matrix, gates)
    left = matrix
    if chosen.skips == "units":
        left = matrix[[row.any() for row in matrix]][:, [column.any() for column in matrix.T]]
    compute = 2 * passes_one_by_one(chosen, matrix, gates)
    stream = ceil(left.size / (4 if left.size <= room else 0.5))
    assert (got.compute_cycles, got.stream_cycles, got.weight_bytes) == (compute, stream, left.size)
    assert got.cycles == (max(compute, stream) if overlap else compute + stream) + 7
    assert got.us == pytest.approx(got.cycles / 100)
    assert got.weights_in == ("sram" if left.size <= room else "flash")


@settings(max_examples=150)
@given(networks(), st.sampled_from(SKIPPING), st.sampled_from(["dense", "bitmap", "relative", "blocks"]), st.data())
def test_pruning_more_is_never_slower(
    network: tuple[Matrix, int], skipping: dict[str, Any], weights: str, data: st.DataObject
) -> None:
    if weights == "blocks" and skipping["skips"] != "blocks":
        weights = "bitmap"
    chosen = device(**skipping, weights=weights, sram_weight_bytes=data.draw(st.sampled_from([0, 60])))
    matrix, gates = network
    rng = np.random.default_rng(data.draw(st.integers(0, 2**31)))
    sparser = np.asarray(matrix * (rng.random(matrix.shape) < 0.6), np.int8)
    before, after = cost(chosen, matrix, gates), cost(chosen, sparser, gates)
    assert after.cycles <= before.cycles
    assert after.compute_cycles <= before.compute_cycles
    assert after.weight_bytes <= before.weight_bytes <= matrix.size
    assert after.speedup >= before.speedup >= 1


@settings(max_examples=100)
@given(networks(), st.sampled_from(SKIPPING), st.sampled_from(["dense", "bitmap", "relative"]))
def test_skipping_is_never_slower_and_a_dense_network_gains_nothing(
    network: tuple[Matrix, int], skipping: dict[str, Any], weights: str
) -> None:
    matrix, gates = network
    plain, skips = device(weights=weights), device(**skipping, weights=weights)
    assert cost(skips, matrix, gates).cycles <= cost(plain, matrix, gates).cycles
    full = np.ones_like(matrix)
    assert cost(skips, full, gates).speedup == 1
    assert cost(skips, full, gates).cycles == cost(plain, full, gates).cycles


def test_by_hand() -> None:
    matrix = np.zeros((8, 10), np.int8)
    matrix[:4, 2:4], matrix[4:, 8:] = 5, 6
    chosen = device(skips="blocks", block="4x2", weights="blocks")
    got = cost(chosen, matrix, 1)
    # two strips with one block of 2 inputs each: 2 passes of 12 / 6 cycles; 10 bits and 16 weights at half a byte
    assert (got.compute_cycles, got.stream_cycles, got.weight_bytes) == (4, 36, 18)
    assert got.cycles == 36 + 7
    # dense: 2 strips x 4 passes x 2 cycles, 80 weights: 160 cycles to read
    assert got.speedup == (160 + 7) / (36 + 7)
    assert cost(chosen.model_copy(update={"overlap": False}), matrix, 1).cycles == 4 + 36 + 7


@pytest.mark.parametrize(
    ("weights", "encode"),
    [("bitmap", encode_bitmap), ("relative", encode_relative), ("blocks", lambda m: encode_blocks(m, Tile(4, 2)))],
)
def test_weights_are_read_in_their_encoding_or_dense(weights: str, encode: Any) -> None:
    rng = np.random.default_rng(0)
    sparse = np.asarray(rng.integers(1, 99, (24, 30)) * (rng.random((24, 30)) < 0.1), np.int8)
    chosen = device(skips="blocks", block="4x2", weights=weights)
    assert cost(chosen, sparse, 1).weight_bytes == len(encode(sparse))
    full = np.ones((24, 30), np.int8)
    assert len(encode(full)) > full.size == cost(chosen, full, 1).weight_bytes


def test_entropy_coded_weights() -> None:
    rng = np.random.default_rng(0)
    matrix = np.asarray(rng.integers(1, 9, (200, 64)) * (rng.random((200, 64)) < 0.1), np.int8)
    assert cost(device(weights="entropy"), matrix, 1).weight_bytes == len(encode_entropy(matrix)) < matrix.size // 8


def test_weights_that_fit_the_sram_leave_the_flash() -> None:
    matrix = np.zeros((12, 12), np.int8)
    matrix[:, 0] = 1
    chosen = device(weights="bitmap", sram_weight_bytes=30)
    assert len(encode_bitmap(matrix)) == 30
    pruned = cost(chosen, matrix, 1)
    assert (pruned.weights_in, pruned.stream_cycles) == ("sram", ceil(30 / 4))
    matrix[0, 1] = 1
    assert cost(chosen, matrix, 1).weights_in == "flash"


ARCH = EnhancerArch(hidden=64, fc=32, mels=32)


def enhancer(arch: EnhancerArch) -> Enhancer:
    torch.manual_seed(0)
    return Enhancer(arch)


def test_a_smaller_network_and_the_same_one_with_empty_units_cost_the_same() -> None:
    model = enhancer(ARCH)
    with torch.no_grad():
        for name, (key, gates) in matrices(ARCH).items():
            weights = model.get_parameter(key)
            if name.startswith("rnn"):
                weights.view(gates, 64, -1)[:, 32:] = 0
            if name not in ("rnn1.input", "fc.mask"):
                weights[:, 32:] = 0
    small = enhancer(replace(ARCH, hidden=32))
    for chosen in load():
        if chosen.skips == "units":
            empty = enhancer_cost(chosen, quantise(model, Quantisation("tensor")), ARCH)
            smaller = enhancer_cost(chosen, quantise(small, Quantisation("tensor")), ARCH)
            assert empty == smaller
            assert smaller.speedup > 2


@pytest.mark.parametrize("arch", [ARCH, EnhancerArch(cell="gru", hidden=48, layers=3)])
def test_shapes_of_the_matrices(arch: EnhancerArch) -> None:
    shapes = {key: tuple(value.shape) for key, value in Enhancer(arch).state_dict().items()}
    assert matrix_shapes(arch) == {name: shapes[key] for name, (key, _) in matrices(arch).items()}
