"""Which checkpoint `model.init` means and what shape it has, read from the file's header alone (no torch)."""

import json
import os
import struct
from dataclasses import fields
from pathlib import Path
from typing import Any

from bench.config.matrices import Architecture
from bench.digest import file_sha256
from bench.errors import LanewiseError

PRETRAINED = Path(__file__).parent.parent / "models" / "pretrained"
SHIPPED = {"shipped": "dense.safetensors", "shipped-small": "small-dense.safetensors"}

KIND = "lanewise.subband-wavernn"
"""What the header of every checkpoint says that it is."""

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


def checkpoint_hash(init: str) -> str:
    """Return the SHA-256 of the checkpoint that `model.init` names: another file under the same name is another start.

    Raises
    ------
    LanewiseError
        There is no such file, or it cannot be read.
    """
    path = checkpoint_path(init)
    try:
        return file_sha256(path)
    except OSError as error:
        raise LanewiseError(f"{path}: cannot be read ({error.strerror})") from error


def architecture_of(init: str) -> Architecture:
    """Return the shape of the checkpoint that `model.init` names.

    Raises
    ------
    LanewiseError
        The file is missing, is no checkpoint of Lanewise, or has sizes that nothing here can prune.
    """
    path = checkpoint_path(init)
    found = _metadata(path)
    if found.get("kind") != KIND:
        raise LanewiseError(
            f"{path}: is a safetensors file of another kind ({found.get('kind')!r}); "
            "expected a checkpoint of `lanewise train`"
        )
    try:
        sizes = json.loads(found["arch"])
        values = {field.name: sizes[field.name] for field in fields(Architecture)}
        if any(type(value) is not int or value < 1 for key, value in values.items() if key != "causal"):
            raise ValueError("sizes must be whole numbers of at least 1")
        return Architecture(**values)
    except (KeyError, TypeError, ValueError) as error:
        raise LanewiseError(
            f"{path}: names no architecture in its header; expected a checkpoint of `lanewise train`"
        ) from error


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
