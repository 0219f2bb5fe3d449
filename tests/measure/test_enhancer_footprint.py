"""Sizes of an enhancer: the parent paper's dense figure, and that zeros pay in every sparse encoding."""

import torch

from bench.measure.enhancer_footprint import dense_f32_bytes, enhancer_footprint, peak_activation_bytes
from bench.models.enhancer import Enhancer, EnhancerArch, matrices
from bench.models.quantised import Quantisation, quantise
from bench.sparsity.groups import TileGroups
from bench.sparsity.masks import apply_masks_
from bench.sparsity.tile import Tile
from tests.sparsity.magnitude import magnitude_masks


def test_dense_float_size_is_the_published_one() -> None:
    assert dense_f32_bytes(EnhancerArch()) == 3_875_840
    assert round(dense_f32_bytes(EnhancerArch()) / 2**20, 1) == 3.7


def test_zeros_pay_and_blocks_pay_with_their_own_tile() -> None:
    torch.manual_seed(0)
    arch = EnhancerArch(hidden=64, fc=32, mels=32)
    model = Enhancer(arch)
    weights = {name: model.get_parameter(key).detach() for name, (key, _) in matrices(arch).items()}
    gates = {name: count for name, (_, count) in matrices(arch).items()}
    tiles = dict.fromkeys(weights, Tile.parse("16x1"))
    shapes = {name: (weight.shape[0], weight.shape[1]) for name, weight in weights.items()}
    groups = TileGroups(shapes, Tile.parse("16x1"), gates, "gate")
    apply_masks_(weights, magnitude_masks(groups, weights, 0.8))
    quantised = quantise(model, Quantisation("tensor"))
    sizes = enhancer_footprint(quantised, tiles)
    count = sum(matrix.numel() for matrix in weights.values())
    assert sizes["dense"].matrices == count
    assert sizes["dense"].vectors == 4 * (arch.parameters - count) + 4 * len(weights)
    assert sizes["blocks"].matrices < 0.22 * count < sizes["bitmap"].matrices < 0.34 * count
    assert sizes["entropy_bound"].total <= sizes["entropy"].total
    single = enhancer_footprint(quantised, {})
    assert single["blocks"].matrices == single["bitmap"].matrices


def test_peak_activations_of_the_parent_network() -> None:
    # state 2 x 256 x (1 + 4); window and sum 2 x 512 x 2; spectrum 257 x 4; layer 2: 256 + 4 x 1024 + 256
    assert peak_activation_bytes(EnhancerArch()) == 2560 + 2048 + 1028 + 4608
    assert peak_activation_bytes(EnhancerArch(kept=(64, 32), fc=16)) == 96 * 5 + 2048 + 1028 + 128 + 4 * 256 + 64
    assert peak_activation_bytes(EnhancerArch(cell="gru")) == 512 + 2048 + 1028 + 256 + 4 * 1536 + 256
