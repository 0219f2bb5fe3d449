"""Identity of files by content, read once as long as a file does not change."""

import hashlib
from functools import lru_cache
from pathlib import Path


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, hexadecimal.

    Raises
    ------
    OSError
        The file cannot be read.
    """
    now = path.stat()
    return _sha256(path.absolute(), now.st_mtime_ns, now.st_size)


@lru_cache(maxsize=65536)
def _sha256(path: Path, changed_ns: int, size: int) -> str:
    """Hash a file; its time of change and its size tell it from what was read before."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
