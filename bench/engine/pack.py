"""Packing a trained vocoder into the file that the engine runs.

The embedding's GRU product is stored as its two factors, in which pruning
shows, and folded into tables when the file is loaded.
"""

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.engine.layout import Floats, Mask, PackedMatrix
from bench.engine.native import core
from bench.engine.numbers import DTYPES, NUMBERS
from bench.engine.packed_file import PackInfo, check_shapes, check_sparse, number_formats, pack_named, tensor, write
from bench.errors import LanewiseError, UsageError

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
    check_sparse(tiles, masks, GATES)
    numbers = number_formats(fmt, (*CONVOLUTIONS, *GATES))
    if tables not in NUMBERS:
        raise UsageError(f"tables: got {tables!r}, expected one of {', '.join(NUMBERS)}")
    dims, vectors, dense = _parts(arch, tensors)
    dims["table_bytes"] = table_bytes(dims["bands"], dims["hidden"], tables)
    try:
        core.check_dims(json.dumps(dims))
    except LanewiseError as error:
        raise LanewiseError(f"{path}: not packed, for the engine could not load it: {error}") from error
    matrices = {key: pack_named(key, w, "dense", None, 1, numbers[key]) for key, w in dense.items()}
    for key, gates in GATES.items():
        weight, tile = tensor(tensors, key), tiles.get(key, "dense")
        matrices[key] = pack_named(key, weight, tile, masks.get(key), gates, numbers[key])

    head: dict[str, Any] = {"arch": dict(arch), "dims": dims, "tables": tables}
    if delta is not None:
        head["delta"] = _threshold(delta, matrices["gru.w_hh"])
    size = write(path, head, vectors, matrices)
    stored = sum(v.size for key, v in vectors.items() if key != FILTERS) + sum(m.nonzeros for m in matrices.values())
    return PackInfo(size, stored, {key: matrices[key].blocks for key in GATES})


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


def _parts(
    arch: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[np.floating]]
) -> tuple[dict[str, int], dict[str, Floats], dict[str, Floats]]:
    """Sizes, vectors and the always dense matrices (convolutions as (out, taps * in)); shapes are checked."""
    embed, filters = tensor(tensors, "embed"), tensor(tensors, FILTERS)
    conv1, conv2 = (tensor(tensors, key) for key in CONVOLUTIONS)
    if embed.ndim != 3 or filters.ndim != 2 or conv1.ndim != 3 or conv2.ndim != 3:
        raise LanewiseError("embed and convolutions must have three axes and pqmf.synthesis two")
    bands, _, embed_size = embed.shape
    cond, mels, conv1_taps = conv1.shape
    conv2_taps, filter_taps = conv2.shape[2], filters.shape[1]
    head, hidden = tensor(tensors, "head.fc.weight").shape
    mixtures = tensor(tensors, "head.out.weight").shape[0] // (3 * bands)
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
    check_shapes(tensors, shapes)
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
    vectors = {key: tensor(tensors, key) for key in (*_VECTORS, *gated)}
    vectors[FILTERS] = np.pad(filters, ((0, 0), (0, -filter_taps % bands)))
    dense = {key: w.transpose(0, 2, 1).reshape(len(w), -1) for key, w in zip(CONVOLUTIONS, (conv1, conv2), strict=True)}
    return dims, vectors, dense
