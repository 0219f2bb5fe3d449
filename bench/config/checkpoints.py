"""Which checkpoint `model.init` means and what shape it has, read from the file's header alone (no torch)."""

import json
import os
import struct
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

from bench.config.matrices import EnhancerShape, Shape, VocoderShape
from bench.digest import file_sha256
from bench.errors import LanewiseError

PRETRAINED = Path(__file__).parent.parent / "models" / "pretrained"
SHIPPED = {
    "vocoder": {"shipped": "dense.safetensors", "shipped-small": "small-dense.safetensors"},
    "enhancer": {"shipped": "enhancer.safetensors", "shipped-small": "small-enhancer.safetensors"},
}
"""Checkpoints that come with Lanewise, by task and word."""

PACKED = {"vocoder": PRETRAINED / "vocoder.lwm", "enhancer": PRETRAINED / "enhancer.lwm"}
"""Packed models that come with Lanewise: what `lanewise synth` and `lanewise enhance` run unless told otherwise."""

KIND = "lanewise.subband-wavernn"
ENHANCER_KIND = "lanewise.enhancer"
KINDS = {"vocoder": KIND, "enhancer": ENHANCER_KIND}
"""What the header of every checkpoint says that it is, by task."""
_COMMANDS = {"vocoder": "lanewise train", "enhancer": "lanewise train-enhancer"}

_MAX_HEADER_BYTES = 100_000_000


def checkpoint_path(init: str, task: str = "vocoder") -> Path:
    """Return the file that `model.init` names for a task.

    Raises
    ------
    LanewiseError
        There is no such file.
    """
    shipped = SHIPPED[task]
    path = PRETRAINED / shipped[init] if init in shipped else Path(init).expanduser()
    if not path.is_file():
        raise LanewiseError(f"{path}: no such checkpoint")
    return path


def checkpoint_hash(init: str, task: str = "vocoder") -> str:
    """Return the SHA-256 of the checkpoint that `model.init` names: another file under the same name is another start.

    Raises
    ------
    LanewiseError
        There is no such file, or it cannot be read.
    """
    path = checkpoint_path(init, task)
    try:
        return file_sha256(path)
    except OSError as error:
        raise LanewiseError(f"{path}: cannot be read ({error.strerror})") from error


def architecture_of(init: str, task: str = "vocoder") -> Shape:
    """Return the shape of the checkpoint that `model.init` names.

    Raises
    ------
    LanewiseError
        The file is missing, is no checkpoint of the task, or has sizes that nothing here can prune.
    """
    path, command = checkpoint_path(init, task), _COMMANDS[task]
    found = _metadata(path)
    if found.get("kind") != KINDS[task]:
        raise LanewiseError(
            f"{path}: is a safetensors file of another kind ({found.get('kind')!r}); "
            f"expected a checkpoint of `{command}`"
        )
    try:
        sizes = json.loads(found["arch"])
        shape = _enhancer(sizes) if task == "enhancer" else _vocoder(sizes)
    except (KeyError, TypeError, ValueError) as error:
        raise LanewiseError(
            f"{path}: names no architecture in its header; expected a checkpoint of `{command}`"
        ) from error
    if sizes.get("kept") is not None:
        raise LanewiseError(f"{path}: has lost hidden units by pruning already; give the model that it was made from")
    return shape


def computes_in_integers(init: str) -> bool:
    """Say whether the enhancer that `model.init` names, one of known architecture, was saved in integer arithmetic."""
    return "quantisation" in json.loads(_metadata(checkpoint_path(init, "enhancer"))["arch"])


def _vocoder(sizes: dict[str, Any]) -> VocoderShape:
    values = {field.name: sizes[field.name] for field in fields(VocoderShape)}
    _check_whole(value for key, value in values.items() if key != "causal")
    return VocoderShape(**values)


def _enhancer(sizes: dict[str, Any]) -> EnhancerShape:
    numbers = [sizes[key] for key in ("hidden", "layers", "fc", "mels")]
    _check_whole(numbers)
    if sizes["cell"] not in ("lstm", "gru"):
        raise ValueError("cell must be lstm or gru")
    return EnhancerShape(sizes["cell"], *numbers)


def _check_whole(values: Iterable[Any]) -> None:
    if any(type(value) is not int or value < 1 for value in values):
        raise ValueError("sizes must be whole numbers of at least 1")


def _metadata(path: Path) -> dict[str, Any]:
    """Return the metadata of a safetensors file: a little-endian u64 length, then that much JSON, then the tensors."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > _MAX_HEADER_BYTES:
                raise ValueError("header too long")
            header = json.loads(file.read(length))
            metadata = dict(header.pop("__metadata__", {}))
            expected = file.tell() + max((entry["data_offsets"][1] for entry in header.values()), default=0)
            size = file.seek(0, os.SEEK_END)
    except OSError as error:
        raise LanewiseError(f"{path}: cannot be read ({error.strerror})") from error
    except (struct.error, ValueError, AttributeError, LookupError, TypeError) as error:
        raise LanewiseError(f"{path}: is not a safetensors file; expected a checkpoint of `lanewise train`") from error
    if size != expected:
        raise LanewiseError(f"{path}: is {size} bytes long, its header promises {expected}; copy or train it again")
    return metadata
