"""Plug-ins: Python files beside a trial or study file that add methods and tiles before the file is checked.

A name that was loaded is *pinned*: `my_method.py@0123456789abcdef`, the digits being those of its content. Resolved
configurations and kept study files hold pinned names, so that a changed file is another trial and never stands in for
the one that a study was started with.
"""

import hashlib
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path, PurePosixPath

from bench.config.yaml_lines import ConfigError, Document
from bench.errors import UsageError
from bench.sparsity import catalogue

_NAME = re.compile(r"([\w ./+-]+\.py)(?:@([0-9a-f]{16}))?")
_SOURCES: dict[str, bytes] = {}
"""What this process has loaded, by the 16 digits of its content: each content is run once."""


def load(document: Document) -> Document:
    """Load the plug-ins that a document names under `plugins`; return it with their names pinned.

    Raises
    ------
    ConfigError
        A name that leads out of the document's folder, a file that cannot be read, is not what it was pinned to, or
        fails when it is run: the problem names the file and its line.
    """
    given = document.data.get("plugins")
    names = [given] if isinstance(given, str) else [] if given is None else given
    if not isinstance(names, list):
        raise ConfigError([document.problem(("plugins",), f"got {given!r}, expected a list such as [my_method.py]")])
    pinned: list[str] = []
    for position, name in enumerate(names):
        try:
            found = _load(Path(document.source).parent, name)
            if found in pinned:
                raise UsageError(f"{name!r} is named twice")
        except UsageError as error:
            raise ConfigError([document.problem(("plugins", position), str(error))]) from error
        pinned.append(found)
    return replace(document, data=document.data | {"plugins": pinned}) if "plugins" in document.data else document


def sources(pinned: Iterable[str]) -> dict[str, str]:
    """Return the text of plug-ins that this process has loaded, by their names without the digits."""
    return {name.rpartition("@")[0]: _SOURCES[name.rpartition("@")[2]].decode() for name in pinned}


def _load(folder: Path, name: object) -> str:
    match = _NAME.fullmatch(name) if isinstance(name, str) else None
    if match is None:
        raise UsageError(f"got {name!r}, expected the name of a Python file such as my_method.py")
    relative = PurePosixPath(match[1])
    path = folder / relative
    real = Path(os.path.realpath(path))  # which, unlike `resolve`, leaves a loop of links as it is
    if relative.is_absolute() or ".." in relative.parts or not real.is_relative_to(os.path.realpath(folder)):
        raise UsageError(
            f"got {name!r}, expected a file in the folder of the file that names it ({folder}) or below; copy it there"
        )
    if not path.is_file():
        raise UsageError(f"{path}: there is no such file; plug-ins are looked for beside the file that names them")
    try:
        source = path.read_bytes()
        source.decode()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is not UTF-8 text") from error
    digest = hashlib.sha256(source).hexdigest()[:16]
    if match[2] not in (None, digest):
        raise UsageError(
            f"{path}: its content ({digest}) is not the one that is asked for ({match[2]}); restore the file, or write "
            f"{str(relative)!r} to take it as it is now"
        )
    if digest not in _SOURCES:
        _run(path, source, f"lanewise_plugin_{digest}")
        _SOURCES[digest] = source
    return f"{relative}@{digest}"


def _run(path: Path, source: bytes, module_name: str) -> None:
    """Run a plug-in as a module of its own; what it registered before it failed is taken back."""
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None, "a .py file has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # dataclasses look their module up while they are made
    try:
        with catalogue.undone_on_error():
            exec(compile(source, str(path), "exec"), module.__dict__)  # these bytes: the file may change meanwhile
    except (Exception, SystemExit) as error:
        del sys.modules[module_name]
        what = str(error) if isinstance(error, UsageError) else f"{type(error).__name__}: {error}"
        if isinstance(error, SyntaxError):
            what = f"{type(error).__name__}: {error.msg}"
        raise UsageError(f"{path}:{_line(error, str(path))}: {what}") from error


def _line(error: BaseException, path: str) -> int:
    """Return the plug-in's own line that an error comes from."""
    if isinstance(error, SyntaxError) and error.filename == path:
        return error.lineno or 1
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    return (lines[-1] if lines else 1) or 1
