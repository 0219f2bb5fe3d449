"""Which checkpoint `model.init` means and what shape it has, read from the file's header alone (no torch)."""

import json
import struct
from dataclasses import fields
from pathlib import Path
from typing import Any

from bench.config.matrices import Architecture
from bench.errors import LanewiseError

PRETRAINED = Path(__file__).parent.parent / "models" / "pretrained"
SHIPPED = {"shipped": "dense.safetensors", "shipped-small": "small-dense.safetensors"}

_MAX_HEADER_BYTES = 100_000_000


def checkpoint_path(init: str) -> Path:
    """Return the file that `model.init` names.

    Raises
    ------
    LanewiseError
        There is no such file.
    """
    path = PRETRAINED / SHIPPED[init] if init in SHIPPED else Path(init).expanduser()
    if not path.is_file():
        raise LanewiseError(f"{path}: no such checkpoint")
    return path


def architecture_of(init: str) -> Architecture:
    """Return the shape of the checkpoint that `model.init` names.

    Raises
    ------
    LanewiseError
        The file is missing, is no checkpoint of Lanewise, or has sizes that nothing here can prune.
    """
    path = checkpoint_path(init)
    arch = _metadata(path).get("arch")
    try:
        sizes = json.loads(arch) if arch else {}
        return Architecture(**{field.name: sizes[field.name] for field in fields(Architecture)})
    except (KeyError, TypeError, ValueError) as error:
        raise LanewiseError(
            f"{path}: names no architecture in its header; expected a checkpoint of `lanewise train`"
        ) from error


def _metadata(path: Path) -> dict[str, Any]:
    """Return the metadata of a safetensors file: a little-endian u64 length, then that much JSON."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > _MAX_HEADER_BYTES:
                raise ValueError("header too long")
            header = json.loads(file.read(length))
        return dict(header.get("__metadata__", {}))
    except (OSError, struct.error, ValueError, AttributeError) as error:
        raise LanewiseError(f"{path}: is not a safetensors file; expected a checkpoint of `lanewise train`") from error
