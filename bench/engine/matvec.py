"""One weight matrix with the kernel of its tile, and what its speed is measured against."""

import numpy as np
import numpy.typing as npt

from bench.engine import table
from bench.engine.isa import resolve_isa
from bench.engine.layout import Floats, Mask, PackedMatrix, pack_matrix
from bench.engine.native import core
from bench.errors import UsageError


class MatVec:
    """y = W x with W (out, in) packed for one tile and ISA.

    Parameters
    ----------
    weight, tile, mask, gates, fmt
        As in `bench.engine.layout.pack_matrix`, which also lists the errors.
    isa
        As in `resolve_isa`.

    Attributes
    ----------
    bytes
        Bytes that a product reads: weights, indices, counts and, of int8, a scale and a correction per row.
    blocks
        Tiles kept.
    isa
        The ISA bound.
    packed
        What was packed.

    Raises
    ------
    UsageError
        If there is no such kernel on this ISA.

    Examples
    --------
    >>> import numpy as np
    >>> weight = np.eye(16, dtype=np.float32)
    >>> MatVec(weight, "4x1").run(np.arange(16, dtype=np.float32))[:3].tolist()
    [0.0, 1.0, 2.0]
    """

    def __init__(
        self,
        weight: npt.ArrayLike,
        tile: str,
        mask: Mask | None = None,
        gates: int = 1,
        isa: str | None = None,
        fmt: str = "f32",
    ) -> None:
        self.isa = resolve_isa(isa)
        self.packed = pack_matrix(weight, tile, mask, gates, fmt)
        self._native = bind(self.packed, self.isa)
        self.bytes: int = self._native.bytes
        self.blocks = self.packed.blocks

    def run(self, x: npt.ArrayLike) -> Floats:
        """The product with x (in,), (out,)."""
        return np.asarray(self._native.run(_vector(x)))

    def run_ns(self, x: npt.ArrayLike, reps: int) -> float:
        """Nanoseconds of `reps` products in a row."""
        return float(self._native.run_ns(_vector(x), reps))

    def read_ns(self, reps: int, isa: str | None = None) -> float:
        """Nanoseconds of reading this matrix's own bytes `reps` times with an ISA's widest loads (default: its own)."""
        return float(self._native.read_ns(reps, self.isa if isa is None else resolve_isa(isa)))


def bind(packed: PackedMatrix, isa: str) -> core.MatVec:
    """Bind a packed matrix to its kernel on an ISA that this host runs.

    Raises
    ------
    UsageError
        If that ISA has no such kernel.
    """
    p = packed
    if not table.supports(p.runs_as, p.number, isa):
        have = [str(row["isa"]) for row in table.rows() if (row["tile"], row["format"]) == (p.runs_as, p.number)]
        raise UsageError(f"isa: {isa} has no {p.number} kernel for tile {p.runs_as}; these have: {', '.join(have)}")
    return core.MatVec(
        isa, p.layout, p.number, p.tile_rows, p.tile_cols, p.rows, p.cols, p.gates,
        p.weights.view(np.uint8), p.index, p.counts, p.scales,
    )  # fmt: skip


def add_chain_ns(n: int) -> float:
    """Nanoseconds of n dependent additions, one cycle each: tells the clock that the core really runs at."""
    return float(core.add_chain_ns(n))


def read_ns(buffer: npt.NDArray[np.generic], reps: int, isa: str | None = None) -> float:
    """Nanoseconds of reading a contiguous buffer `reps` times with the ISA's widest loads.

    A last part shorter than eight vectors is not read.
    """
    return float(core.read_ns(np.ascontiguousarray(buffer).view(np.uint8).ravel(), reps, resolve_isa(isa)))


def peak(fmt: str, steps: int, isa: str | None = None) -> tuple[float, int]:
    """Nanoseconds and operations (2 per multiply-add) of `steps` rounds of arithmetic that touches no memory.

    `fmt` is f32 (FMA), bf16 or int8 (dot products); 0 operations where the ISA has no such instruction on this host.
    """
    ns, operations = core.peak(fmt, steps, resolve_isa(isa))
    return float(ns), int(operations)


def _vector(x: npt.ArrayLike) -> Floats:
    return np.ascontiguousarray(x, dtype=np.float32)
