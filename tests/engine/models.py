"""Random models and masks that tests share."""

import secrets
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.engine import isas
from bench.models.pqmf import Pqmf
from bench.sparsity.tile import Tile

ABSENT_ISA = "avx2" if "neon" in isas() else "neon"
"""One that this host cannot run: that of another architecture."""

Tensors = dict[str, npt.NDArray[np.float32]]


def fresh() -> np.random.Generator:
    """Random numbers that no run has met, their seed printed so that a failure can be repeated."""
    seed = secrets.randbits(64)
    print(f"seed {seed}")
    return np.random.default_rng(seed)


def random_mask(
    rng: np.random.Generator, shape: tuple[int, int], tile: str, gates: int, sparsity: float
) -> npt.NDArray[np.bool_]:
    """A mask (out, in) that keeps whole tiles, each with probability 1 - sparsity."""
    bands, rows, cols = Tile.parse(tile).extent(shape, gates)
    height = shape[0] // bands
    keep = rng.random((bands, -(-height // rows), -(-shape[1] // cols))) >= sparsity
    spread = keep.repeat(rows, axis=1)[:, :height].repeat(cols, axis=2)[:, :, : shape[1]]
    return spread.reshape(shape)


def random_model(rng: np.random.Generator, peaked: bool = True, **sizes: Any) -> tuple[dict[str, Any], Tensors]:
    """(arch, tensors) as a model's `export` gives them, its logistics narrow (as after training) or broad."""
    arch = {
        "hidden": 64, "embed": 8, "cond": 32, "head": 32, "mixtures": 4, "bands": 4, "mels": 20, "hop": 160,
        "sample_rate_hz": 16000, "causal": False,
    } | sizes  # fmt: skip
    h, e, c, f, k, b, mels = (arch[key] for key in ("hidden", "embed", "cond", "head", "mixtures", "bands", "mels"))
    shapes = {
        "embed": (b, 256, e), "cond.conv1.weight": (c, mels, 5), "cond.conv1.bias": (c,),
        "cond.conv2.weight": (c, c, 3), "cond.conv2.bias": (c,), "gru.w_embed": (3 * h, b * e),
        "gru.w_cond": (3 * h, c), "gru.w_hh": (3 * h, h), "gru.b_ih": (3 * h,), "gru.b_hh": (3 * h,),
        "head.fc.weight": (f, h), "head.fc.bias": (f,), "head.out.weight": (b * 3 * k, f),
        "head.out.bias": (b * 3 * k,), "mel_mean": (mels,), "band_scale": (b,),
    }  # fmt: skip
    tensors = {key: rng.normal(0, min(1.0, shape[-1] ** -0.5), shape) for key, shape in shapes.items()}
    tensors["mel_std"] = rng.uniform(0.5, 2.0, mels)
    tensors["band_scale"] = rng.uniform(0.05, 0.3, b)
    bias = tensors["head.out.bias"].reshape(b, 3, k)
    bias[:, 1] *= 0.3
    bias[:, 2] += -4.0 if peaked else -1.0
    tensors["pqmf.synthesis"] = Pqmf(b).synthesis_filters
    return arch, {key: np.asarray(value, dtype=np.float32) for key, value in tensors.items()}


def prune(
    rng: np.random.Generator, tensors: Tensors, tiles: dict[str, str], gates: dict[str, int], sparsity: float
) -> tuple[Tensors, dict[str, npt.NDArray[np.bool_]]]:
    """The tensors with the named matrices masked, and the masks."""
    masks = {
        key: random_mask(rng, (tensors[key].shape[0], tensors[key].shape[1]), tile, gates[key], sparsity)
        for key, tile in tiles.items()
        if tile != "dense"
    }
    return tensors | {key: tensors[key] * mask for key, mask in masks.items()}, masks
