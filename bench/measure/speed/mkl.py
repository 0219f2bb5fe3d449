"""Products of oneMKL, through the shared library that `pip install mkl` brings; one thread.

Calls go through ctypes with arguments made once: 0.35 us a call on a matrix of one weight (Zen 5), most of it Python's.
On AMD's Zen 5, MKL 2026.2 loads its generic kernels (libmkl_def), also when told that it runs on an Intel CPU. There
`mkl_sparse_optimize` changes nothing from 50 % sparsity on, and below it doubles the time of CSR (512 x 1536 at 25 %:
290 against 140 us), so each matrix is prepared both ways and the faster one is the peer.
"""

import ctypes
import ctypes.util
import importlib.metadata
import weakref
from ctypes import byref, c_float, c_int, c_void_p
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import LanewiseError
from bench.measure.speed.buffers import aligned
from bench.measure.speed.peers import Array, Product, compressed_bytes, timed

# Of mkl_types.h, mkl_spblas.h, mkl_service.h and mkl_cblas.h
_SEQUENTIAL = 1
_ROW_MAJOR, _COLUMN_MAJOR = 101, 102
_NO_TRANSPOSE, _SPARSE_NO_TRANSPOSE = 111, 10
_INDEX_FROM_0 = 0
_GENERAL = 20
_MANY_CALLS = 1_000_000
_TRIALS, _TRIAL_CALLS = 10, 3


class _Description(ctypes.Structure):
    """`struct matrix_descr`."""

    _fields_ = [("type", c_int), ("mode", c_int), ("diag", c_int)]


def _path() -> str | None:
    """The run-time library of the package `mkl`, else one that the system's loader knows."""
    try:
        files = importlib.metadata.files("mkl") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    found = [str(file.locate()) for file in files if file.name.startswith("libmkl_rt.so")]
    return found[0] if found else ctypes.util.find_library("mkl_rt")


def is_installed() -> bool:
    """Whether oneMKL's run-time library is there."""
    return _path() is not None


@cache
def _library() -> Any:
    library = ctypes.CDLL(_path())
    library.MKL_Set_Threading_Layer(_SEQUENTIAL)
    library.MKL_Set_Num_Threads(1)
    return library


def _pointer(array: NDArray[Any], offset: int = 0) -> c_void_p:
    return c_void_p(array.ctypes.data + offset)


def dense(weight: Array, x: Array, _: tuple[int, int]) -> Product:
    """`cblas_sgemv` on columns: a little faster than on rows, and than `cblas_sgemm` on packed weights."""
    w = aligned(weight.T)
    y = np.zeros(len(weight), dtype=np.float32)
    rows, cols = map(c_int, weight.shape)
    one = c_int(1)
    arguments = (
        c_int(_COLUMN_MAJOR), c_int(_NO_TRANSPOSE), rows, cols, c_float(1), _pointer(w), rows, _pointer(x), one,
        c_float(0), _pointer(y), one,
    )  # fmt: skip
    return _product(_library().cblas_sgemv, arguments, y, weight.nbytes, (w, x))


def csr(weight: Array, x: Array, _: tuple[int, int]) -> Product:
    """`mkl_sparse_s_mv` on compressed rows."""
    from scipy.sparse import csr_array

    w = csr_array(weight)
    return _sparse("mkl_sparse_s_create_csr", weight.shape, w, weight, x, (1, 1))


def bsr(weight: Array, x: Array, block: tuple[int, int]) -> Product:
    """`mkl_sparse_s_mv` on compressed rows of square blocks."""
    from scipy.sparse import bsr_array

    size = block[0]
    shape = (_ROW_MAJOR, weight.shape[0] // size, weight.shape[1] // size, size)
    return _sparse("mkl_sparse_s_create_bsr", shape, bsr_array(weight, blocksize=block), weight, x, block)


def _sparse(
    create: str, shape: tuple[int, ...], stored: Any, weight: Array, x: Array, block: tuple[int, int]
) -> Product:
    """The faster of the plain and the optimised product."""
    starts, columns = stored.indptr.astype(np.int32), stored.indices.astype(np.int32)
    data = aligned(stored.data)
    general = _Description(_GENERAL, 0, 0)
    products = []
    for is_optimised in (False, True):
        handle = c_void_p()
        pointers = (_pointer(starts), _pointer(starts, 4), _pointer(columns), _pointer(data))
        _done(create, byref(handle), _INDEX_FROM_0, *shape, *pointers)
        if is_optimised:
            _done("mkl_sparse_set_mv_hint", handle, _SPARSE_NO_TRANSPOSE, general, _MANY_CALLS)
            _done("mkl_sparse_optimize", handle)
        y = np.zeros(len(weight), dtype=np.float32)
        arguments = (c_int(_SPARSE_NO_TRANSPOSE), c_float(1), handle, general, _pointer(x), c_float(0), _pointer(y))
        keep = (starts, columns, data, x)
        product = _product(_library().mkl_sparse_s_mv, arguments, y, compressed_bytes(weight, block), keep)
        weakref.finalize(product.compute, _library().mkl_sparse_destroy, handle)
        products.append(product)
    return min(products, key=lambda product: min(timed(product)(_TRIAL_CALLS) for _ in range(_TRIALS)))


def _product(function: Any, arguments: tuple[Any, ...], y: Array, read_bytes: int, keep: tuple[Any, ...]) -> Product:
    """MKL holds addresses only, so the closures must hold the arrays (`keep`)."""

    def compute(_keep: tuple[Any, ...] = keep) -> object:
        return function(*arguments)

    def result() -> Array:
        compute()
        return y.copy()

    return Product(compute, result, read_bytes)


def _done(name: str, *arguments: Any) -> None:
    status = getattr(_library(), name)(*arguments)
    if status != 0:
        raise LanewiseError(f"oneMKL: {name} returned status {status}; run with --no-peers to leave it out")
