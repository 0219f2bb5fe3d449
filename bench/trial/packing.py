"""From a trained arm to the file that the engine runs."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.config.schema import Pack
from bench.trial.context import Trial

if TYPE_CHECKING:
    from bench.engine.packed_file import PackInfo
    from bench.trial.learning import Arm

MODEL = "model.lwm"


def pack(trial: Trial, arm: "Arm", name: str, settings: Pack) -> dict[str, Any]:
    """Write the arm's packed model to `name` in the trial's folder; return its footprint.

    Returns
    -------
    dict
        `bytes` and `nonzeros` of the whole packed model, its `sha256`, `sparsity` (pruned share of the weights of
        `prune.matrices`, as asked for by `prune.sparsity`) and packed `blocks` by matrix.
    """
    from bench.engine.pack import pack_vocoder
    from bench.engine.recipe import recipe

    model, tiles, masks = arm.as_packed()
    arch, tensors = model.export()
    path = trial.folder / name
    chosen = recipe(settings.format, tiles, settings.tables)
    kept = {key: mask.numpy() for key, mask in masks.items()}
    delta = settings.delta or None
    info = pack_vocoder(path, arch, tensors, tiles, kept, chosen.matrices, chosen.tables, delta)
    return facts(trial, arm, path, info)


def facts(trial: Trial, arm: "Arm", path: Path, info: "PackInfo") -> dict[str, Any]:
    """Return what `pack` returns of a packed file."""
    from bench.sparsity.masks import achieved_sparsity

    counted = {
        key: mask for key, mask in arm.masks().items() if arm.matrices()[key].name in trial.config.prune.matrices
    }
    return {
        "bytes": info.bytes,
        "nonzeros": info.nonzeros,
        "blocks": info.blocks,
        "sparsity": achieved_sparsity(counted),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
