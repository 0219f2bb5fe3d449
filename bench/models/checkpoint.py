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
from torch import Tensor, nn

from bench.config.checkpoints import ENHANCER_KIND, KIND
from bench.errors import LanewiseError
from bench.models.enhancer import Enhancer, EnhancerArch
from bench.models.quantised import Quantisation, QuantisedEnhancer
from bench.models.skip import SkipGate
from bench.models.wavernn import Arch, SubbandWaveRNN

_WORDS = {KIND: "vocoder", ENHANCER_KIND: "enhancer"}


def save(path: Path, model: SubbandWaveRNN, meta: dict[str, Any]) -> None:
    """Write a vocoder and how it came about (`meta`: plain JSON values), atomically."""
    _save(path, KIND, asdict(model.arch), model, meta)


def save_enhancer(path: Path, model: Enhancer, meta: dict[str, Any]) -> None:
    """Write an enhancer, its arithmetic and how it came about (`meta`: plain JSON values), atomically."""
    own = {"quantisation": asdict(model.quantisation)} if isinstance(model, QuantisedEnhancer) else {}
    _save(path, ENHANCER_KIND, asdict(model.arch) | own, model, meta)


def task(path: Path | str) -> str | None:
    """Return what a checkpoint's header says that it is, "vocoder" or "enhancer"; None where loading would say why."""
    try:
        with safe_open(str(path), framework="pt") as file:
            return _WORDS.get((file.metadata() or {}).get("kind", ""))
    except (SafetensorError, OSError):
        return None


def load(path: Path | str) -> tuple[SubbandWaveRNN, dict[str, Any]]:
    """Read a vocoder and its provenance.

    A file without a checksum, written before there was one, is taken as it is.

    Raises
    ------
    LanewiseError
        The file is missing, truncated, altered or of another kind.
    """
    arch, tensors, meta = _load(path, KIND)
    try:
        model = SubbandWaveRNN(Arch(**arch))
        if "gru.skip.weight" in tensors:
            model.gru.skip = SkipGate(model.arch.hidden)
        model.load_state_dict(tensors)
    except (RuntimeError, TypeError) as error:
        raise _damaged(path, error) from error
    return model, meta


def load_enhancer(path: Path | str) -> tuple[Enhancer, dict[str, Any]]:
    """Read an enhancer, in the arithmetic that it was saved in, and its provenance.

    Raises
    ------
    LanewiseError
        The file is missing, truncated, altered or of another kind.
    """
    arch, tensors, meta = _load(path, ENHANCER_KIND)
    try:
        integers = arch.pop("quantisation", None)
        sizes = EnhancerArch(**arch | {"kept": tuple(kept) if (kept := arch.get("kept")) else None})
        model = Enhancer(sizes) if integers is None else QuantisedEnhancer(sizes, Quantisation(**integers))
        model.load_state_dict(tensors)
    except (RuntimeError, TypeError, KeyError) as error:
        raise _damaged(path, error) from error
    return model.eval(), meta


def _save(path: Path, kind: str, arch: dict[str, Any], model: nn.Module, meta: dict[str, Any]) -> None:
    tensors = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    partial = path.with_suffix(path.suffix + ".partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    header = {"kind": kind, "arch": json.dumps(arch), "meta": json.dumps(meta)}
    save_file(tensors, partial, header | {"sha256": checksum(tensors)})
    partial.replace(path)


def _load(path: Path | str, kind: str) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, Any]]:
    """Return architecture, weights and provenance of a checkpoint of one kind."""
    if not Path(path).is_file():
        raise LanewiseError(f"{path}: no such model file; give a .safetensors checkpoint made by `lanewise train`")
    try:
        with safe_open(str(path), framework="pt") as file:
            header = file.metadata() or {}
            if header.get("kind") != kind:
                got = _WORDS.get(str(header.get("kind")), header.get("kind"))
                raise LanewiseError(f"{path}: not a Lanewise {_WORDS[kind]} checkpoint (header kind {got!r})")
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
        if "sha256" in header and header["sha256"] != checksum(tensors):
            raise LanewiseError(
                f"{path}: its weights are not those that were saved (their SHA-256 is not the one in its header); "
                "copy or train it again"
            )
        arch: dict[str, Any] = json.loads(header["arch"])
        meta: dict[str, Any] = json.loads(header["meta"])
    except (SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise _damaged(path, error) from error
    return arch, tensors, meta


def _damaged(path: Path | str, error: Exception) -> LanewiseError:
    reason = " ".join(str(error).split())  # torch lists mismatching sizes over many lines
    return LanewiseError(f"{path}: damaged checkpoint ({reason}); copy or train it again")


def checksum(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of the bytes of contiguous CPU tensors, one after another in the order of their names."""
    total = hashlib.sha256()
    for _, tensor in sorted(tensors.items()):
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()
