"""Packing a trained enhancer into the file that the engine runs.

Sizes are those of the tensors, not of the architecture, so that networks whose layers lost different numbers of units
are packed as they are. Mel bands and windows are not stored: the engine makes them from the header's numbers.
"""

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.engine.layout import Mask
from bench.engine.native import core
from bench.engine.packed_file import PackInfo, check_shapes, check_sparse, number_formats, pack_named, tensor, write
from bench.errors import LanewiseError, UsageError

FORMATS = ("f32", "int8")
GATES = {"lstm": 4, "gru": 3}
"""Gates that the rows of a recurrent layer's matrices stack."""

MASK_BITS = 16
"""Of the mask that an int8 enhancer gives, as `bench.models.quantised` has it."""

Tensors = Mapping[str, npt.NDArray[np.floating]]


def pack_enhancer(
    path: str | os.PathLike[str],
    arch: Mapping[str, Any],
    tensors: Tensors,
    tiles: Mapping[str, str] | None = None,
    masks: Mapping[str, Mask] | None = None,
    fmt: str = "f32",
) -> PackInfo:
    """Write a packed enhancer, atomically.

    Parameters
    ----------
    arch, tensors
        As `bench.models.enhancer.Enhancer.export` gives them. Of `arch` the cell and the front end are read (n_fft,
        hop, low_hz, sample_rate_hz). Tensors that a quantised model has besides are left out.
    tiles, masks
        Tile and mask (out, in) of each sparse matrix, by state-dict key; those not named are dense. Without a mask a
        tile is kept if any of its weights is non-zero.
    fmt
        f32, or int8 as `bench.models.quantised.QuantisedEnhancer` has it with scales per channel and dynamic
        activations: the same integers, and a mask of 16 bits.

    Raises
    ------
    UsageError
        If a key is not a matrix, a tile has no kernel in this format or does not fit, or the format is another.
    LanewiseError
        If the model is larger than the engine loads, a tensor is missing, has the wrong shape, is not finite, is
        non-zero where its mask drops it, or a mask splits a tile.
    """
    if fmt not in FORMATS:
        raise UsageError(f"format: got {fmt!r} for an enhancer, expected one of {', '.join(FORMATS)}")
    dims = _dims(arch, tensors, fmt)
    gates = matrix_gates(dims)
    tiles, masks = dict(tiles or {}), dict(masks or {})
    check_sparse(tiles, masks, gates)
    try:
        core.check_enhancer_dims(json.dumps(dims))
    except LanewiseError as error:
        raise LanewiseError(f"{path}: not packed, for the engine could not load it: {error}") from error
    numbers = number_formats(fmt, gates)
    matrices = {
        key: pack_named(key, tensor(tensors, key), tiles.get(key, "dense"), masks.get(key), count, numbers[key])
        for key, count in gates.items()
    }
    vectors = {key: tensor(tensors, key) for key in vector_keys(dims)}
    size = write(path, {"task": "enhancer", "arch": dict(arch), "dims": dims}, vectors, matrices)
    stored = sum(v.size for v in vectors.values()) + sum(m.nonzeros for m in matrices.values())
    return PackInfo(size, stored, {key: m.blocks for key, m in matrices.items()})


def matrix_gates(dims: Mapping[str, Any]) -> dict[str, int]:
    """State-dict keys of an enhancer's matrices, in order, and the gates that their rows stack."""
    gates = GATES[dims["cell"]]
    recurrent = {f"rnn.{layer}.{part}": gates for layer in range(dims["layers"]) for part in ("w_ih", "w_hh")}
    return recurrent | {"fc.weight": 1, "mask.weight": 1}


def vector_keys(dims: Mapping[str, Any]) -> list[str]:
    """State-dict keys of an enhancer's vectors."""
    biases = [f"rnn.{layer}.bias" for layer in range(dims["layers"])]
    return ["feature_mean", "feature_std", *biases, "fc.bias", "mask.bias"]


def shapes(dims: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Shapes of all tensors of an enhancer with these sizes (`dims` of a packed model's header)."""
    gates, mels, fc = GATES[dims["cell"]], dims["mels"], dims["fc"]
    found: dict[str, tuple[int, ...]] = {"feature_mean": (mels,), "feature_std": (mels,)}
    width = mels
    for layer in range(dims["layers"]):
        hidden = dims[f"hidden{layer}"]
        found[f"rnn.{layer}.w_ih"] = (gates * hidden, width)
        found[f"rnn.{layer}.w_hh"] = (gates * hidden, hidden)
        found[f"rnn.{layer}.bias"] = (gates * hidden,)
        width = hidden
    return found | {"fc.weight": (fc, width), "fc.bias": (fc,), "mask.weight": (mels, fc), "mask.bias": (mels,)}


def _dims(arch: Mapping[str, Any], tensors: Tensors, fmt: str) -> dict[str, Any]:
    """Sizes as the engine reads them; every tensor's shape is checked against them."""
    cell = arch["cell"]
    if cell not in GATES:
        raise LanewiseError(f"cell: got {cell!r}, expected one of {', '.join(GATES)}")
    layers = 0
    hidden: dict[str, int] = {}
    while (key := f"rnn.{layers}.w_hh") in tensors:
        recurrent = tensor(tensors, key)
        if recurrent.ndim != 2:
            raise LanewiseError(f"{key}: has shape {recurrent.shape}, expected a matrix")
        hidden[f"hidden{layers}"] = recurrent.shape[1]
        layers += 1
    dims = {
        "cell": cell, "layers": layers, **hidden, "fc": tensor(tensors, "fc.bias").size,
        "mels": tensor(tensors, "mask.bias").size, "n_fft": int(arch["n_fft"]), "hop": int(arch["hop"]),
        "low_hz": float(arch["low_hz"]), "sample_rate_hz": int(arch["sample_rate_hz"]),
        "mask_bits": MASK_BITS if fmt == "int8" else 0,
    }  # fmt: skip
    check_shapes(tensors, shapes(dims))
    return dims
