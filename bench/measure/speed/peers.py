"""Other libraries' matrix-vector products, run at their best: one thread, weights prepared once, outputs reused."""

import importlib.util
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Product:
    """A prepared product y = W x of one library."""

    compute: Callable[[], object]
    """Computes y from the x given when it was prepared and leaves it in memory."""
    result: Callable[[], Array]
    """Computes once and returns y (out,), for checking."""
    read_bytes: int
    """Bytes of weights and indices that one product reads."""


@dataclass(frozen=True)
class Peer:
    """A library's kernel: its name in tables, the structure it stores, the package it needs."""

    name: str
    tile: str
    package: str
    prepare: Callable[[Array, Array], Product]


def _numpy(weight: Array, x: Array) -> Product:
    w = np.ascontiguousarray(weight)
    y = np.empty(len(w), dtype=np.float32)
    return Product(lambda: np.dot(w, x, out=y), lambda: np.dot(w, x), w.nbytes)


def _torch(weight: Array, x: Array) -> Product:
    import torch

    w, v = torch.from_numpy(np.ascontiguousarray(weight)), torch.from_numpy(x)
    y = torch.empty(len(weight))
    return Product(lambda: torch.mv(w, v, out=y), lambda: torch.mv(w, v).numpy(), weight.nbytes)


def _torch_csr(weight: Array, x: Array) -> Product:
    import torch

    w = torch.from_numpy(weight).to_sparse_csr()
    w = torch.sparse_csr_tensor(
        w.crow_indices().int(), w.col_indices().int(), w.values(), weight.shape, check_invariants=False
    )
    v = torch.from_numpy(x)
    read = 4 * (len(weight) + 1) + 8 * int(np.count_nonzero(weight))
    return Product(lambda: torch.mv(w, v), lambda: torch.mv(w, v).numpy(), read)


def _scipy_csr(weight: Array, x: Array) -> Product:
    from scipy.sparse import csr_matrix

    w = csr_matrix(weight)
    return Product(lambda: w @ x, lambda: np.asarray(w @ x), w.data.nbytes + w.indices.nbytes + w.indptr.nbytes)


ALL = (
    Peer("numpy", "dense", "numpy", _numpy),
    Peer("torch", "dense", "torch", _torch),
    Peer("scipy-csr", "1x1", "scipy", _scipy_csr),
    Peer("torch-csr", "1x1", "torch", _torch_csr),
)


def installed() -> list[Peer]:
    """Peers whose package is installed."""
    return [peer for peer in ALL if importlib.util.find_spec(peer.package) is not None]


def timed(product: Product) -> Callable[[int], float]:
    """Turn a product into `run(n) -> ns`; the loop's own cost (about 20 ns a call) is the peer's to bear."""

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
    """Hide torch's note that its CSR is in beta: it would appear once in every run."""
    import warnings

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        yield
