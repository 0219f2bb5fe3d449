"""From a trained arm to the file that the engine runs."""

import hashlib
from typing import TYPE_CHECKING, Any

from bench.trial.context import Trial

if TYPE_CHECKING:
    from bench.trial.learning import Arm

MODEL = "model.lwm"


def pack(trial: Trial, arm: "Arm") -> dict[str, Any]:
    """Write `model.lwm`; return its footprint.

    Returns
    -------
    dict
        `bytes` and `nonzeros` of the whole packed model, its `sha256`, `sparsity` (pruned share of the weights of
        `prune.matrices`, as asked for by `prune.sparsity`) and packed `blocks` by matrix.
    """
    from bench.engine.pack import pack_vocoder
    from bench.sparsity.masks import achieved_sparsity

    arch, tensors = arm.model().export()
    masks = arm.masks()
    path = trial.folder / MODEL
    kept = {key: mask.numpy() for key, mask in masks.items()}
    info = pack_vocoder(path, arch, tensors, arm.tiles, kept, trial.config.pack.format)
    return {
        "bytes": info.bytes,
        "nonzeros": info.nonzeros,
        "blocks": info.blocks,
        "sparsity": achieved_sparsity(masks),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
