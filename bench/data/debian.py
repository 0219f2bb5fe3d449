"""Read members of a Debian package (`.deb`) or of the folder it was unpacked into, without dpkg."""

import io
import lzma
import tarfile
from collections.abc import Iterator
from pathlib import Path

from bench.errors import LanewiseError

_AR_MAGIC = b"!<arch>\n"
_AR_HEADER_BYTES = 60


def _ar_members(data: bytes, origin: Path) -> Iterator[tuple[str, bytes]]:
    """Members of an `ar` archive (deb(5)): 60-byte headers, data padded to even length."""
    if not data.startswith(_AR_MAGIC):
        raise LanewiseError(f"{origin}: not a Debian package (no ar header); expected a .deb file")
    at = len(_AR_MAGIC)
    while at + _AR_HEADER_BYTES <= len(data):
        header = data[at : at + _AR_HEADER_BYTES]
        size_field = header[48:58].strip()
        start = at + _AR_HEADER_BYTES
        if not size_field.isdigit() or start + int(size_field) > len(data):
            raise LanewiseError(f"{origin}: this Debian package is truncated or damaged; download it again")
        size = int(size_field)
        yield header[:16].decode("ascii", "replace").strip().rstrip("/"), data[start : start + size]
        at = start + size + size % 2


def _deb_files(deb: Path) -> Iterator[tuple[str, bytes]]:
    archives = [(name, data) for name, data in _ar_members(deb.read_bytes(), deb) if name.startswith("data.tar")]
    if len(archives) != 1:
        raise LanewiseError(f"{deb}: this Debian package has no data archive; download it again")
    name, data = archives[0]
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:*") as tar:
            for member in tar:
                content = tar.extractfile(member) if member.isfile() else None
                if content is not None:
                    yield member.name.removeprefix("./"), content.read()
    except (tarfile.TarError, lzma.LZMAError, EOFError) as error:
        raise LanewiseError(f"{deb}: its {name} cannot be unpacked ({error}); download the package again") from error


def package_files(source: Path, *suffixes: str) -> dict[str, bytes]:
    """Content of every file ending in one of `suffixes`, by path inside the package, sorted by path.

    Parameters
    ----------
    source : Path
        A `.deb` file or a folder that holds unpacked files.

    Raises
    ------
    LanewiseError
        `source` does not exist, is no Debian package, or is damaged.
    """
    if source.is_dir():
        inside = (path for path in source.rglob("*") if path.name.endswith(suffixes) and path.is_file())
        files = {str(path.relative_to(source).as_posix()): path.read_bytes() for path in inside}
    elif source.is_file():
        files = {name: data for name, data in _deb_files(source) if name.endswith(suffixes)}
    else:
        raise LanewiseError(f"{source}: no such file or folder; `lanewise data fetch embedded` says how to get it")
    return dict(sorted(files.items()))
