"""The packed model's file (`*.lwm`; layout: src/lwm.hpp): what every network writes in the same way.

The same model always gives the same bytes.
"""

import contextlib
import json
import os
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.engine.layout import Floats, Mask, PackedMatrix, pack_matrix
from bench.engine.native import core
from bench.engine.numbers import NUMBERS
from bench.errors import LanewiseError, UsageError

MAGIC, VERSION, ALIGNMENT = b"LANEWISE", 2, 64
_PREFIX = struct.Struct("<8sIIQQ")


@dataclass(frozen=True)
class PackInfo:
    """What was written.

    Attributes
    ----------
    bytes
        Size of the file.
    nonzeros
        Numbers stored for the whole model: kept weights, embeddings, biases, scales; the filter bank is not counted.
    blocks
        Kept pruning tiles of each matrix that may be sparse, by state-dict key (1 for a dense one), whichever smaller
        tiles it is stored and run as.
    """

    bytes: int
    nonzeros: int
    blocks: dict[str, int]


def check_sparse(tiles: Mapping[str, str], masks: Mapping[str, Mask], known: Iterable[str]) -> None:
    """Check that tiles and masks name matrices that may be sparse.

    Raises
    ------
    UsageError
        If one does not, or a mask has no tile.
    """
    allowed = list(known)
    for key in [*tiles, *masks]:
        if key not in allowed:
            raise UsageError(f"prune.matrices: {key!r} cannot be sparse; these can: {', '.join(allowed)}")
    for key in masks:
        if key not in tiles:
            raise UsageError(f"{key}: has a mask but no tile")


def number_formats(fmt: Mapping[str, str] | str, keys: Iterable[str]) -> dict[str, str]:
    """Number format of every matrix: one for all, or by state-dict key (those not named are f32).

    Raises
    ------
    UsageError
        If a key is no matrix, or a format unknown.
    """
    known = list(keys)
    named = dict.fromkeys(known, fmt) if isinstance(fmt, str) else dict(fmt)
    for key, number in named.items():
        if key not in known:
            raise UsageError(f"format: {key!r} is not a matrix; these are: {', '.join(known)}")
        if number not in NUMBERS:
            raise UsageError(f"format: got {number!r} for {key}, expected one of {', '.join(NUMBERS)}")
    return {key: named.get(key, "f32") for key in known}


def tensor(tensors: Mapping[str, npt.NDArray[np.floating]], key: str) -> Floats:
    """One tensor as contiguous float32.

    Raises
    ------
    LanewiseError
        If it is missing or not finite.
    """
    if key not in tensors:
        raise LanewiseError(f"the model has no tensor {key!r}")
    values = np.ascontiguousarray(tensors[key], dtype=np.float32)
    if not np.isfinite(values).all():
        raise LanewiseError(f"{key}: holds NaN or infinite numbers")
    return values


def check_shapes(tensors: Mapping[str, npt.NDArray[np.floating]], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Check that tensors have these shapes.

    Raises
    ------
    LanewiseError
        If one is missing, not finite or shaped otherwise.
    """
    for key, shape in shapes.items():
        if tensor(tensors, key).shape != shape:
            raise LanewiseError(f"{key}: has shape {tensors[key].shape}, expected {shape}")


def pack_named(key: str, weight: Floats, tile: str, mask: Mask | None, gates: int, fmt: str) -> PackedMatrix:
    """As `pack_matrix`, its errors named by the matrix, and what was stored counted against the mask."""
    if mask is not None and mask.shape == weight.shape and (weight[~mask] != 0).any():
        raise LanewiseError(f"{key}: {int((weight[~mask] != 0).sum())} weights are non-zero where the mask drops them")
    try:
        packed = pack_matrix(weight, tile, mask, gates, fmt)
    except LanewiseError as error:
        raise type(error)(f"{key}: {error}") from error
    if mask is not None and packed.nonzeros != int(mask.sum()):
        raise LanewiseError(f"{key}: packed {packed.nonzeros} weights, the mask keeps {int(mask.sum())}")
    return packed


def write(
    path: str | os.PathLike[str],
    head: dict[str, Any],
    vectors: Mapping[str, Floats],
    matrices: Mapping[str, PackedMatrix],
) -> int:
    """Write a packed model, atomically, and return its size in bytes; `head` is the header but for the directory.

    Raises
    ------
    LanewiseError
        If it cannot be written.
    """
    file = _assemble(head, vectors, matrices)
    target = Path(path)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(file)
        os.replace(partial, target)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise LanewiseError(
            f"{target}: cannot be written ({error.strerror}); free space or name another place"
        ) from error
    return len(file)


def _assemble(head: dict[str, Any], vectors: Mapping[str, Floats], matrices: Mapping[str, PackedMatrix]) -> bytes:
    """The file's bytes. Offsets stand in the header, whose own length they depend on, so it is laid out twice."""
    blobs: list[npt.NDArray[np.generic]] = []

    def place(values: npt.NDArray[np.generic], start: int) -> dict[str, int]:
        offset = start + sum(_aligned(blob.nbytes) for blob in blobs)
        blobs.append(values)
        return {"offset": offset, "size": values.size}

    def header(start: int) -> bytes:
        blobs.clear()
        head["vectors"] = [{"name": key, **place(values, start)} for key, values in vectors.items()]
        head["matrices"] = [
            {"name": key, "tile": m.tile, "runs_as": m.runs_as, "layout": m.layout, "number": m.number,
             "tile_rows": m.tile_rows, "tile_cols": m.tile_cols, "rows": m.rows, "cols": m.cols, "gates": m.gates,
             "blocks": m.blocks, "nonzeros": m.nonzeros,
             "weights": place(m.weights, start), "index": place(m.index, start), "counts": place(m.counts, start),
             "scales": place(m.scales, start)}
            for key, m in matrices.items()
        ]  # fmt: skip
        return json.dumps(head, sort_keys=True).encode("ascii")

    start = _aligned(_PREFIX.size + len(header(10**9)))  # offsets never have more digits than this
    text = header(start).ljust(start - _PREFIX.size)
    body = b"".join(blob.tobytes().ljust(_aligned(blob.nbytes), b"\0") for blob in blobs)
    size = start + len(body)
    unsigned = _PREFIX.pack(MAGIC, VERSION, len(text), size, 0) + text + body
    return _PREFIX.pack(MAGIC, VERSION, len(text), size, core.checksum(unsigned)) + text + body


def _aligned(size: int) -> int:
    return size + -size % ALIGNMENT
