"""Peers compute the product that they are timed on; each optional library is tested where it is installed."""

import numpy as np
import pytest

from bench.measure.speed import kernels, peers
from bench.measure.speed.buffers import aligned

PEERS = peers.everyone()
TOLERANCE = {"f32": 1e-5, "bf16": 2e-2, "int8": 3e-2}
CASES = [(peer, tile) for peer in PEERS for tile in ("dense", "1x1", "4x4", "8x4") if peer.stores(tile)]


@pytest.mark.parametrize(("peer", "tile"), CASES, ids=lambda case: getattr(case, "name", case))
def test_peer_computes_the_product_and_counts_its_bytes(peer: peers.Peer, tile: str) -> None:
    if not peer.is_installed():
        pytest.skip(f"{peer.name} is not installed")
    weight, mask = kernels.random_matrix(64, 0.0 if tile == "dense" else 0.6, tile)
    x = np.linspace(-1, 1, 64, dtype=np.float32)
    with peers.single_thread():
        product = peer.product(weight, x, tile)
        expected = weight.astype(np.float64) @ x
        for _ in range(2):
            assert np.abs(product.result() - expected).max() <= TOLERANCE[peer.format] * np.abs(expected).max()
        assert peers.timed(product)(3) > 0
        assert peers.timed(peer.smallest(tile))(3) > 0
    size = {"f32": 4, "bf16": 2, "int8": 1}[peer.format]
    if tile == "dense":
        scales = 5 if peer.format == "int8" else 0  # a float and a zero point each row
        assert product.read_bytes == weight.size * size + scales * len(weight)
    else:
        assert mask is not None
        r, c = peers.extent(tile)
        kept = int(mask.sum()) // (r * c)
        assert product.read_bytes == kept * (4 * r * c + 4) + 4 * (len(weight) // r + 1)


@pytest.mark.parametrize("peer", [p for p in PEERS if p.stores("1x1")], ids=lambda peer: peer.name)
@pytest.mark.parametrize("sparsity", [0.1, 0.9, 0.999])
def test_sparse_peer_at_any_sparsity(peer: peers.Peer, sparsity: float) -> None:
    if not peer.is_installed():
        pytest.skip(f"{peer.name} is not installed")
    weight, _ = kernels.random_matrix(48, sparsity, "1x1")  # 0.999 leaves rows empty
    x = np.linspace(-1, 1, 48, dtype=np.float32)
    with peers.single_thread():
        assert np.allclose(peer.product(weight, x, "1x1").result(), weight.astype(np.float64) @ x, atol=1e-4)


@pytest.mark.parametrize(
    ("tile", "names"),
    [
        ("16x1", set()),
        ("column", set()),
        ("8x4", {"scipy-bsr"}),
        ("4x4", {"scipy-bsr", "torch-bsr", "mkl-bsr"}),
        ("1x1", {"scipy-csr", "torch-csr", "mkl-csr"}),
    ],
)
def test_peers_of_a_tile(tile: str, names: set[str]) -> None:
    assert {peer.name for peer in PEERS if peer.stores(tile)} == names


def test_block_that_does_not_divide_the_matrix_has_no_peer() -> None:
    assert [peer for peer in PEERS if peer.fits("4x4", (30, 32)) or peer.fits("4x4", (32, 30))] == []


def test_single_thread_restores_what_it_found() -> None:
    import torch

    before = torch.get_num_threads()
    with peers.single_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("shape", [(1,), (7, 3), (768, 256)])
def test_aligned_copies_start_a_cache_line(shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    copy = aligned(array.T)
    assert copy.ctypes.data % 64 == 0
    assert copy.flags.c_contiguous
    assert np.array_equal(copy, array.T)
