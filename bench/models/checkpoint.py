"""Models on disk: safetensors (no pickle), architecture and provenance in the header."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from bench.errors import LanewiseError
from bench.models.wavernn import Arch, SubbandWaveRNN

KIND = "lanewise.subband-wavernn"


def save(path: Path, model: SubbandWaveRNN, meta: dict[str, Any]) -> None:
    """Write a model and how it came about (`meta`: plain JSON values), atomically."""
    tensors = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    partial = path.with_suffix(path.suffix + ".partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, partial, {"kind": KIND, "arch": json.dumps(asdict(model.arch)), "meta": json.dumps(meta)})
    partial.replace(path)


def load(path: Path | str) -> tuple[SubbandWaveRNN, dict[str, Any]]:
    """Read a model and its provenance.

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
            model = SubbandWaveRNN(Arch(**json.loads(header["arch"])))
            model.load_state_dict({key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118 (not a dict)
            meta: dict[str, Any] = json.loads(header["meta"])
    except (SafetensorError, RuntimeError, TypeError, KeyError, json.JSONDecodeError) as error:
        reason = " ".join(str(error).split())  # torch lists mismatching sizes over many lines
        raise LanewiseError(f"{path}: damaged checkpoint ({reason}); copy or train it again") from error
    return model, meta
