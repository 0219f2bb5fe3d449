"""Files that appear whole or not at all, so that a killed process leaves nothing half written."""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.errors import LanewiseError


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder, with the same suffix; on success it replaces `path`, else it goes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        partial.chmod(0o644)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically and durably.

    Raises
    ------
    LanewiseError
        The file cannot be written (disk full, read-only folder).
    """
    try:
        with atomic_path(path) as partial, partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise LanewiseError(
            f"{path}: cannot be written ({error.strerror}); free space or choose another --out"
        ) from error


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically.

    Raises
    ------
    ValueError
        `value` holds NaN or infinity, which JSON has no word for: use None and a reason.
    """
    write_text(path, json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises
    ------
    LanewiseError
        The file is missing, unreadable, or not JSON (truncated, say).
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise LanewiseError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise LanewiseError(
            f"{path}: is not valid JSON ({error}); it was cut short or changed by something else"
        ) from error


_PROBE_BYTES = 1 << 20


def unwritable(folder: Path) -> str | None:
    """Return why `folder` takes no file of a megabyte (a full disk, a quota, permissions); None when it does."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(_PROBE_BYTES))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        return f"{folder} cannot be written ({error.strerror})"
    return None


@contextlib.contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on success it becomes `path`, unless another process made it first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield partial
        partial.chmod(0o755)
        try:
            os.rename(partial, path)
        except OSError:
            if not path.is_dir():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
