"""Whose folder a trial's folder is."""

import contextlib
from pathlib import Path

from bench.errors import LanewiseError, UsageError
from bench.trial.files import read_json, write_json

IDENTITY_FILE = "trial.json"


def adopt(folder: Path, digest: str, name: str, now: str) -> str:
    """Make the folder this trial's, or check that it is; return when the trial was first started.

    Raises
    ------
    UsageError
        It is another trial's.
    """
    path = folder / IDENTITY_FILE
    kept = None
    if path.is_file():
        # A damaged file says nothing: the stages check their own inputs anyway.
        with contextlib.suppress(LanewiseError):
            kept = read_json(path)
    if isinstance(kept, dict) and {"config_hash", "name", "started"} <= set(kept):
        if kept["config_hash"] != digest:
            raise UsageError(
                f"{folder}: holds trial {kept['name']} of another configuration ({kept['config_hash']}, this one is "
                f"{digest}); give another folder, or remove that one"
            )
        return str(kept["started"])
    write_json(path, {"config_hash": digest, "name": name, "started": now})
    return now
