"""Results of stages that several trials share, by the hash of everything that they depend on.

An entry is a folder. It appears whole, by a rename, and only when its stage succeeded; so what exists is complete.
Workers on one host that want the same entry wait for the first of them (a file lock, freed by the system when its
holder dies), instead of all computing it.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import UsageError
from bench.progress import say
from bench.trial.files import atomic_directory, write_json

INPUTS_FILE = "inputs.json"

ALLOWED = "LANEWISE_ALLOW_CACHE"
"""Environment variable with the folder that `--allow-cache` names; workers inherit it."""


def shared_folder(named: str | None, own: Path) -> Path:
    """Return the folder of shared stages: `own`, unless `data.cache` names another.

    That is the one place of a configuration that is written to, and its entries are taken as what they say they are.
    A file that someone else wrote must not choose it freely: it lies below `own`'s parent (the study's folder), or
    below the folder that whoever runs the file has named with `--allow-cache`.

    Raises
    ------
    UsageError
        It lies elsewhere, links resolved.
    """
    if named is None:
        return own
    folder = Path(named).expanduser()
    allowed = os.environ.get(ALLOWED)
    places = [own.parent, *([Path(allowed)] if allowed else [])]
    if not any(Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(place)) for place in places):
        raise UsageError(
            f"data.cache: {named!r} lies outside the study's folder ({own.parent}), and Lanewise writes there; if that "
            f"is meant, say so with --allow-cache {named}, or leave the key out"
        )
    return folder


@dataclass(frozen=True)
class StageCache:
    """Folder of cached stages.

    Attributes
    ----------
    root
        Where entries live, as `root/<stage>/<key>/`.

    Examples
    --------
    >>> cache = StageCache(Path("runs/demo/cache"))
    >>> entry = cache.fetch("dense", {"data": "9f2c", "seed": 0, "code": 1}, train_into)
    """

    root: Path

    def path(self, stage: str, inputs: Mapping[str, Any]) -> Path:
        """Return the entry's folder, whether it exists or not."""
        return self.root / stage / stage_key(stage, inputs)

    def find(self, stage: str, inputs: Mapping[str, Any]) -> Path | None:
        """Return the entry's folder if it exists."""
        path = self.path(stage, inputs)
        return path if path.is_dir() else None

    def fetch(self, stage: str, inputs: Mapping[str, Any], build: Callable[[Path, Path], None]) -> Path:
        """Return the entry's folder, building it if nobody has.

        Parameters
        ----------
        stage
            Name of the stage, such as `dense`.
        inputs
            Everything that the result depends on (data hash, settings, seed, version of the code), as JSON values.
        build
            Called with an empty folder to fill, and a folder that survives an interruption, for checkpoints. What it
            raises is raised here, and nothing is cached.
        """
        path = self.path(stage, inputs)
        if path.is_dir():
            return path
        with exclusive(_lock_file(path), f"waiting for another worker to finish the stage {stage!r}"):
            if not path.is_dir():
                entry = Entry(stage, inputs, path)
                entry.fill(lambda partial: build(partial, entry.work))
        return path

    @contextlib.contextmanager
    def claim(self, stage: str, inputs: Mapping[str, Any]) -> Iterator["Entry | None"]:
        """Hold an entry while it is made here; None, at once, if it exists or another worker makes it."""
        path = self.path(stage, inputs)
        if path.is_dir():
            yield None
            return
        with _lock_file(path).open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
                return
            yield None if path.is_dir() else Entry(stage, inputs, path)


@dataclass(frozen=True)
class Entry:
    """An entry under way, which nobody else makes meanwhile."""

    stage: str
    inputs: Mapping[str, Any]
    path: Path

    @property
    def work(self) -> Path:
        """A folder that survives an interruption, for checkpoints."""
        work = self.path.with_name(f".{self.path.name}.work")
        work.mkdir(parents=True, exist_ok=True)
        return work

    def fill(self, build: Callable[[Path], None]) -> None:
        """Make the entry of what `build` writes into an empty folder."""
        with atomic_directory(self.path) as partial:
            build(partial)
            write_json(partial / INPUTS_FILE, {"stage": self.stage, "inputs": dict(self.inputs)})
        shutil.rmtree(self.work, ignore_errors=True)


def _lock_file(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.name}.lock")


def stage_key(stage: str, inputs: Mapping[str, Any]) -> str:
    """Return 32 hexadecimal digits that name a stage's inputs."""
    text = json.dumps({"stage": stage, "inputs": dict(inputs)}, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@contextlib.contextmanager
def exclusive(path: Path, waiting: str = "") -> Iterator[None]:
    """Hold the lock file `path` among all processes of this host; say `waiting` when another holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting:
                say(waiting)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
