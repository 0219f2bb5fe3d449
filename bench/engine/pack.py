"""Packing a trained vocoder into the file that the engine runs (`*.lwm`; layout: src/lwm.hpp).

The same model always gives the same bytes. The embedding's GRU product is stored as its two factors, in which pruning
shows, and folded into tables when the file is loaded.
"""

import contextlib
import json
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.engine.layout import Floats, Mask, PackedMatrix, pack_matrix
from bench.engine.native import core
from bench.engine.numbers import DTYPES, NUMBERS
from bench.errors import LanewiseError, UsageError

MAGIC, VERSION, ALIGNMENT = b"LANEWISE", 2, 64
_PREFIX = struct.Struct("<8sIIQQ")

GATES = {"gru.w_hh": 3, "gru.w_cond": 3, "gru.w_embed": 3, "head.fc.weight": 1, "head.out.weight": 1}
"""Matrices that may be sparse, by state-dict key, and the gates their rows stack."""

_VECTORS = (
    "mel_mean", "mel_std", "band_scale", "embed", "cond.conv1.bias", "cond.conv2.bias",
    "gru.b_ih", "gru.b_hh", "head.fc.bias", "head.out.bias",
)  # fmt: skip
_SKIP = ("gru.skip.weight", "gru.skip.bias")
"""Vectors of a GRU with skip gates (`bench.models.skip`)."""
CONVOLUTIONS = ("cond.conv1.weight", "cond.conv2.weight")
FILTERS = "pqmf.synthesis"


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


def pack_vocoder(
    path: str | os.PathLike[str],
    arch: Mapping[str, Any],
    tensors: Mapping[str, npt.NDArray[np.floating]],
    tiles: Mapping[str, str] | None = None,
    masks: Mapping[str, Mask] | None = None,
    fmt: Mapping[str, str] | str = "f32",
    tables: str = "f32",
    delta: float | None = None,
) -> PackInfo:
    """Write a packed vocoder, atomically.

    Parameters
    ----------
    arch, tensors
        As `bench.models.wavernn.SubbandWaveRNN.export` gives them.
    tiles, masks
        Tile and mask (out, in) of each sparse matrix, by state-dict key; those not named are dense. Without a mask a
        tile is kept if any of its weights is non-zero.
    fmt
        Number format of all matrices, or by state-dict key (`GATES` and `CONVOLUTIONS`); those not named are f32.
    tables
        Number format of the embedding tables that loading makes: f32, bf16, or int8 with a scale per row.
    delta
        Threshold of a delta network (arXiv 1612.05571): a column of `gru.w_hh` whose state moved by no more than this
        since it was last used is not read. None reads every column at every step.

    Raises
    ------
    UsageError
        If a key is not a matrix that may be sparse (or have a format), a tile has no kernel in its format or does
        not fit, or `delta` is out of range or `gru.w_hh` stored so that single columns cannot be skipped.
    LanewiseError
        If the model is larger than the engine loads, a tensor is missing, has the wrong shape, is not finite, is
        non-zero where its mask drops it, or a mask splits a tile.
    """
    tiles, masks = dict(tiles or {}), dict(masks or {})
    for key in [*tiles, *masks]:
        if key not in GATES:
            raise UsageError(f"prune.matrices: {key!r} cannot be sparse; these can: {', '.join(GATES)}")
    for key in masks:
        if key not in tiles:
            raise UsageError(f"{key}: has a mask but no tile")
    numbers = _numbers(fmt)
    if tables not in NUMBERS:
        raise UsageError(f"tables: got {tables!r}, expected one of {', '.join(NUMBERS)}")
    dims, vectors, dense = _parts(arch, tensors)
    dims["table_bytes"] = table_bytes(dims["bands"], dims["hidden"], tables)
    try:
        core.check_dims(json.dumps(dims))
    except LanewiseError as error:
        raise LanewiseError(f"{path}: not packed, for the engine could not load it: {error}") from error
    matrices = {key: _pack(key, w, "dense", None, 1, numbers[key]) for key, w in dense.items()}
    for key, gates in GATES.items():
        weight, tile = _tensor(tensors, key), tiles.get(key, "dense")
        matrices[key] = _pack(key, weight, tile, masks.get(key), gates, numbers[key])

    head: dict[str, Any] = {"arch": dict(arch), "dims": dims, "tables": tables}
    if delta is not None:
        head["delta"] = _threshold(delta, matrices["gru.w_hh"])
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
    stored = sum(v.size for key, v in vectors.items() if key != FILTERS) + sum(m.nonzeros for m in matrices.values())
    return PackInfo(len(file), stored, {key: matrices[key].blocks for key in GATES})


def table_bytes(bands: int, hidden: int, tables: str) -> int:
    """Memory of the embedding tables: a row of 3 * hidden per band and level, in int8 with its scale."""
    row = 3 * hidden * np.dtype(DTYPES[tables]).itemsize + (4 if tables == "int8" else 0)
    return bands * 256 * row


def _threshold(delta: float, recurrent: PackedMatrix) -> float:
    if not 0 <= delta <= 1:
        raise UsageError(f"delta: got {delta}, expected a threshold from 0 to 1 (of a state that lies within -1 and 1)")
    if recurrent.number != "f32" or recurrent.layout not in ("dense", "compact"):
        raise UsageError(
            f"delta: skips columns of gru.w_hh as it runs, which needs it in f32 and dense or of tile column or "
            f"gate-column, got {recurrent.number} {recurrent.tile}"
        )
    return float(np.float32(delta))


def _numbers(fmt: Mapping[str, str] | str) -> dict[str, str]:
    """Number format of every matrix."""
    keys = (*CONVOLUTIONS, *GATES)
    named = dict.fromkeys(keys, fmt) if isinstance(fmt, str) else dict(fmt)
    for key, number in named.items():
        if key not in keys:
            raise UsageError(f"format: {key!r} is not a matrix; these are: {', '.join(keys)}")
        if number not in NUMBERS:
            raise UsageError(f"format: got {number!r} for {key}, expected one of {', '.join(NUMBERS)}")
    return {key: named.get(key, "f32") for key in keys}


def _parts(
    arch: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[np.floating]]
) -> tuple[dict[str, int], dict[str, Floats], dict[str, Floats]]:
    """Sizes, vectors and the always dense matrices (convolutions as (out, taps * in)); shapes are checked."""
    embed, filters = _tensor(tensors, "embed"), _tensor(tensors, FILTERS)
    conv1, conv2 = (_tensor(tensors, key) for key in CONVOLUTIONS)
    if embed.ndim != 3 or filters.ndim != 2 or conv1.ndim != 3 or conv2.ndim != 3:
        raise LanewiseError("embed and convolutions must have three axes and pqmf.synthesis two")
    bands, _, embed_size = embed.shape
    cond, mels, conv1_taps = conv1.shape
    conv2_taps, filter_taps = conv2.shape[2], filters.shape[1]
    head, hidden = _tensor(tensors, "head.fc.weight").shape
    mixtures = _tensor(tensors, "head.out.weight").shape[0] // (3 * bands)
    hop, causal = int(arch.get("hop", 160)), bool(arch.get("causal", False))
    shapes = {
        "mel_mean": (mels,), "mel_std": (mels,), "band_scale": (bands,), "embed": (bands, 256, embed_size),
        "cond.conv1.bias": (cond,), "cond.conv2.weight": (cond, cond, conv2_taps), "cond.conv2.bias": (cond,),
        "gru.w_embed": (3 * hidden, bands * embed_size), "gru.w_cond": (3 * hidden, cond),
        "gru.w_hh": (3 * hidden, hidden), "gru.b_ih": (3 * hidden,), "gru.b_hh": (3 * hidden,),
        "head.fc.bias": (head,), "head.out.weight": (bands * 3 * mixtures, head),
        "head.out.bias": (bands * 3 * mixtures,), FILTERS: (bands, filter_taps),
    }  # fmt: skip
    gated = [key for key in _SKIP if key in tensors]
    if gated:
        shapes |= dict(zip(_SKIP, ((hidden,), (1,)), strict=True))
    for key, shape in shapes.items():
        if _tensor(tensors, key).shape != shape:
            raise LanewiseError(f"{key}: has shape {tensors[key].shape}, expected {shape}")
    if hop % bands:
        raise LanewiseError(f"hop of {hop} samples is not a multiple of {bands} bands")
    dims = {
        "bands": bands, "hidden": hidden, "embed": embed_size, "cond": cond, "head": head, "mixtures": mixtures,
        "mels": mels, "sample_rate_hz": int(arch.get("sample_rate_hz", 16000)), "steps_per_frame": hop // bands,
        "conv1_taps": conv1_taps, "conv2_taps": conv2_taps,
        "conv1_left": conv1_taps - 1 if causal else conv1_taps // 2,
        "conv2_left": conv2_taps - 1 if causal else conv2_taps // 2,
        "pqmf_taps": filter_taps + -filter_taps % bands,
    }  # fmt: skip
    vectors = {key: _tensor(tensors, key) for key in (*_VECTORS, *gated)}
    vectors[FILTERS] = np.pad(filters, ((0, 0), (0, -filter_taps % bands)))
    dense = {key: w.transpose(0, 2, 1).reshape(len(w), -1) for key, w in zip(CONVOLUTIONS, (conv1, conv2), strict=True)}
    return dims, vectors, dense


def _tensor(tensors: Mapping[str, npt.NDArray[np.floating]], key: str) -> Floats:
    if key not in tensors:
        raise LanewiseError(f"the model has no tensor {key!r}")
    tensor = np.ascontiguousarray(tensors[key], dtype=np.float32)
    if not np.isfinite(tensor).all():
        raise LanewiseError(f"{key}: holds NaN or infinite numbers")
    return tensor


def _pack(key: str, weight: Floats, tile: str, mask: Mask | None, gates: int, fmt: str) -> PackedMatrix:
    if mask is not None and mask.shape == weight.shape and (weight[~mask] != 0).any():
        raise LanewiseError(f"{key}: {int((weight[~mask] != 0).sum())} weights are non-zero where the mask drops them")
    try:
        packed = pack_matrix(weight, tile, mask, gates, fmt)
    except LanewiseError as error:
        raise type(error)(f"{key}: {error}") from error
    if mask is not None and packed.nonzeros != int(mask.sum()):
        raise LanewiseError(f"{key}: packed {packed.nonzeros} weights, the mask keeps {int(mask.sum())}")
    return packed


def _assemble(head: dict[str, Any], vectors: dict[str, Floats], matrices: dict[str, PackedMatrix]) -> bytes:
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
