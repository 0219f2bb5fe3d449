"""Models on disk: safetensors (no pickle); architecture, provenance and a checksum of the weights in the header."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from bench.config.checkpoints import KIND
from bench.errors import LanewiseError
from bench.models.skip import SkipGate
from bench.models.wavernn import Arch, SubbandWaveRNN


def save(path: Path, model: SubbandWaveRNN, meta: dict[str, Any]) -> None:
    """Write a model and how it came about (`meta`: plain JSON values), atomically."""
    tensors = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    partial = path.with_suffix(path.suffix + ".partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    header = {"kind": KIND, "arch": json.dumps(asdict(model.arch)), "meta": json.dumps(meta)}
    save_file(tensors, partial, header | {"sha256": checksum(tensors)})
    partial.replace(path)


def load(path: Path | str) -> tuple[SubbandWaveRNN, dict[str, Any]]:
    """Read a model and its provenance.

    A file without a checksum, written before there was one, is taken as it is.

    Raises
    ------
    LanewiseError
        The file is missing, truncated, altered or of another kind.
    """
    if not Path(path).is_file():
        raise LanewiseError(f"{path}: no such model file; give a .safetensors checkpoint made by `lanewise train`")
    try:
        with safe_open(str(path), framework="pt") as file:
            header = file.metadata() or {}
            if header.get("kind") != KIND:
                raise LanewiseError(f"{path}: not a Lanewise vocoder checkpoint (header kind {header.get('kind')!r})")
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
        if "sha256" in header and header["sha256"] != checksum(tensors):
            raise LanewiseError(
                f"{path}: its weights are not those that were saved (their SHA-256 is not the one in its header); "
                "copy or train it again"
            )
        model = SubbandWaveRNN(Arch(**json.loads(header["arch"])))
        if "gru.skip.weight" in tensors:
            model.gru.skip = SkipGate(model.arch.hidden)
        model.load_state_dict(tensors)
        meta: dict[str, Any] = json.loads(header["meta"])
    except (SafetensorError, RuntimeError, TypeError, KeyError, json.JSONDecodeError) as error:
        reason = " ".join(str(error).split())  # torch lists mismatching sizes over many lines
        raise LanewiseError(f"{path}: damaged checkpoint ({reason}); copy or train it again") from error
    return model, meta


def checksum(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of the bytes of contiguous CPU tensors, one after another in the order of their names."""
    total = hashlib.sha256()
    for _, tensor in sorted(tensors.items()):
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()
