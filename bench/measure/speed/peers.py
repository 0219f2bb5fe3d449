"""Other libraries' matrix-vector products, run at their best: one thread, weights prepared once, outputs reused.

Each peer lists the fastest of the library's public ways to the same product (one core of a Zen 5, 1536 x 512). What a
call costs before any arithmetic is part of a peer's time, for it is part of what its user gets; `smallest` gives the
same call on a matrix of one tile, by which that share is measured.
"""

import importlib.util
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.measure.speed.buffers import aligned

Array = NDArray[np.float32]
DENSE = "dense"


@dataclass(frozen=True)
class Product:
    """A prepared product y = W x of one library."""

    compute: Callable[[], object]
    """Computes y from the x given when it was prepared and leaves it in memory."""
    result: Callable[[], Array]
    """Computes once and returns y (out,), for checking."""
    read_bytes: int
    """Bytes of weights and indices that one product reads."""


Prepare = Callable[[Array, Array, tuple[int, int]], Product]
"""From weights (out, in), x (in,) and the stored tile (rows, columns); (1, 1) for dense."""


@dataclass(frozen=True)
class Peer:
    """A library's kernel: name in tables, number format, tiles it stores, what must be installed for it."""

    name: str
    format: str
    stores: Callable[[str], bool]
    is_installed: Callable[[], bool]
    prepare: Prepare

    def fits(self, tile: str, shape: tuple[int, ...]) -> bool:
        """Whether it stores this tile and the matrix is made of whole ones."""
        if not self.stores(tile):
            return False
        r, c = extent(tile)
        return shape[0] % r == 0 and shape[1] % c == 0

    def product(self, weight: Array, x: Array, tile: str) -> Product:
        """Prepare y = weight x, stored in `tile`."""
        return self.prepare(aligned(weight), aligned(x), extent(tile))

    def smallest(self, tile: str) -> Product:
        """Prepare the same call on a matrix of one tile: what a call costs, with next to no arithmetic."""
        r, c = extent(tile)
        return self.product(np.ones((r, c), dtype=np.float32), np.ones(c, dtype=np.float32), tile)


def extent(tile: str) -> tuple[int, int]:
    """Rows and columns of a tile `r x c`; (1, 1) for dense."""
    if tile == DENSE:
        return 1, 1
    r, c = map(int, tile.split("x"))
    return r, c


def is_dense(tile: str) -> bool:
    """Dense peers."""
    return tile == DENSE


def is_weight(tile: str) -> bool:
    """Peers that store compressed rows (CSR)."""
    return tile == "1x1"


def is_block(tile: str) -> bool:
    """Peers that store compressed rows of blocks (BSR), which they run only for blocks of at least 2 x 2.

    On G x 1 tiles scipy's BSR takes twice as long as its CSR of the same matrix (189 against 92 us at 16x1, 70 %).
    """
    r, by, c = tile.partition("x")
    return by == "x" and r.isdigit() and c.isdigit() and min(int(r), int(c)) > 1


def is_square_block(tile: str) -> bool:
    """Peers whose blocks must be square (oneMKL, and torch, which uses it)."""
    return is_block(tile) and len(set(extent(tile))) == 1


def has(package: str) -> Callable[[], bool]:
    """Whether a Python package can be imported."""
    return lambda: importlib.util.find_spec(package) is not None


def compressed_bytes(weight: Array, block: tuple[int, int]) -> int:
    """Bytes of CSR or BSR with 32-bit indices: kept blocks, one column each, one pointer a block row."""
    r, c = block
    rows, columns = int(weight.shape[0]) // r, int(weight.shape[1]) // c
    kept = int((weight.reshape(rows, r, columns, c) != 0).any(axis=(1, 3)).sum())
    return kept * (r * c + 1) * 4 + 4 * (rows + 1)


def _numpy(weight: Array, x: Array, _: tuple[int, int]) -> Product:
    y = np.empty(len(weight), dtype=np.float32)
    return Product(lambda: np.dot(weight, x, out=y), lambda: np.dot(weight, x), weight.nbytes)


def _torch(weight: Array, x: Array, _: tuple[int, int]) -> Product:
    import torch

    w = torch.from_numpy(weight).t().contiguous().t()  # by columns: 41 us, by rows 43
    v, y = torch.from_numpy(x), torch.empty(len(weight))
    return Product(lambda: torch.mv(w, v, out=y), lambda: torch.mv(w, v).numpy(), weight.nbytes)


def _torch_bf16(weight: Array, x: Array, _: tuple[int, int]) -> Product:
    import torch
    from torch.nn.functional import linear

    w, v = torch.from_numpy(weight).bfloat16(), torch.from_numpy(x).bfloat16()[None]
    # 53 us; torch.mv takes 75
    return Product(lambda: linear(v, w), lambda: linear(v, w)[0].float().numpy(), weight.nbytes // 2)


def _torch_csr(weight: Array, x: Array, _: tuple[int, int]) -> Product:
    import torch

    w = torch.from_numpy(weight).to_sparse_csr()
    parts = (w.crow_indices().int(), w.col_indices().int(), w.values())
    w = torch.sparse_csr_tensor(*parts, weight.shape, check_invariants=False)
    v = torch.from_numpy(x)  # as a matrix of one column it takes twice as long
    return Product(lambda: torch.mv(w, v), lambda: torch.mv(w, v).numpy(), compressed_bytes(weight, (1, 1)))


def _torch_bsr(weight: Array, x: Array, block: tuple[int, int]) -> Product:
    import torch

    w = torch.from_numpy(weight).to_sparse_bsr(block)
    parts = (w.crow_indices().int(), w.col_indices().int(), w.values())
    w = torch.sparse_bsr_tensor(*parts, weight.shape, check_invariants=False)
    v = torch.from_numpy(x)[:, None]  # here torch.mv takes twice as long
    return Product(lambda: torch.mm(w, v), lambda: torch.mm(w, v)[:, 0].numpy(), compressed_bytes(weight, block))


def _scipy_csr(weight: Array, x: Array, _: tuple[int, int]) -> Product:
    from scipy.sparse import csr_array

    w = csr_array(weight)
    return Product(lambda: w @ x, lambda: np.asarray(w @ x), compressed_bytes(weight, (1, 1)))


def _scipy_bsr(weight: Array, x: Array, block: tuple[int, int]) -> Product:
    from scipy.sparse import bsr_array

    w = bsr_array(weight, blocksize=block)
    return Product(lambda: w @ x, lambda: np.asarray(w @ x), compressed_bytes(weight, block))


def everyone() -> list[Peer]:
    """All peers that are known, installed or not."""
    from bench.measure.speed import mkl, ort

    return [
        Peer("numpy", "f32", is_dense, has("numpy"), _numpy),
        Peer("torch", "f32", is_dense, has("torch"), _torch),
        Peer("mkl", "f32", is_dense, mkl.is_installed, mkl.dense),
        Peer("onnxruntime", "f32", is_dense, has("onnxruntime"), ort.dense_f32),
        Peer("scipy-csr", "f32", is_weight, has("scipy"), _scipy_csr),
        Peer("torch-csr", "f32", is_weight, has("torch"), _torch_csr),
        Peer("mkl-csr", "f32", is_weight, mkl.is_installed, mkl.csr),
        Peer("scipy-bsr", "f32", is_block, has("scipy"), _scipy_bsr),
        Peer("torch-bsr", "f32", is_square_block, has("torch"), _torch_bsr),
        Peer("mkl-bsr", "f32", is_square_block, mkl.is_installed, mkl.bsr),
        Peer("torch", "bf16", is_dense, has("torch"), _torch_bf16),
        Peer("onnxruntime", "int8", is_dense, has("onnxruntime"), ort.dense_int8),
    ]


def installed() -> list[Peer]:
    """Peers whose library is installed."""
    return [peer for peer in everyone() if peer.is_installed()]


def timed(product: Product) -> Callable[[int], float]:
    """Turn a product into `run(n) -> ns`."""

    def run(times: int) -> float:
        compute, repeat = product.compute, range(times)
        started = time.perf_counter_ns()
        for _ in repeat:
            compute()
        return time.perf_counter_ns() - started

    return run


@contextmanager
def single_thread() -> Iterator[None]:
    """Hold every library to one thread, then restore."""
    import torch
    from threadpoolctl import threadpool_limits

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(limits=1), torch.inference_mode(), _quiet_torch():
            yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _quiet_torch() -> Iterator[None]:
    """Hide torch's notes that its sparse tensors are in beta: they would appear once in every run."""
    import warnings

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Sparse (CSR|BSR) tensor support is in beta")
        yield
