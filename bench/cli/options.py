"""Option parsing that several commands share."""

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import click

from bench.errors import UsageError

T = TypeVar("T")


def comma_list(of: Callable[[str], T]) -> Callable[[click.Context, click.Parameter, str | None], tuple[T, ...]]:
    """Callback of an option that holds comma-separated values: "512,1024" becomes (512, 1024) with `of=int`."""

    def parse(_: click.Context, __: click.Parameter, text: str | None) -> tuple[T, ...]:
        try:
            return tuple(dict.fromkeys(of(part.strip()) for part in (text or "").split(",") if part.strip()))
        except ValueError:
            raise click.BadParameter(f"{text!r} is not a comma-separated list of {of.__name__}") from None

    return parse


def _allow_cache(_: click.Context, __: click.Parameter, folder: Path | None) -> None:
    if folder is not None:
        from bench.trial.cache import ALLOWED

        os.environ[ALLOWED] = str(folder.resolve())  # for workers too, wherever they start


allow_cache = click.option(
    "--allow-cache", metavar="DIR", type=click.Path(path_type=Path, file_okay=False), expose_value=False,
    callback=_allow_cache, help="Let the file's `data.cache` be this folder, or one below.",
)  # fmt: skip
"""Option of every command that runs a file which may come from someone else."""


def model_and_files(paths: Sequence[Path], task: str) -> tuple[Path, Path, Path]:
    """Return the packed model, the input and the output of a command whose model may be left out.

    Raises
    ------
    UsageError
        There are not two or three paths.
    """
    from bench.config.checkpoints import PACKED

    if len(paths) not in (2, 3):
        raise UsageError(f"expected [MODEL.lwm] IN.wav OUT.wav, got {len(paths)} file{'s' * (len(paths) != 1)}")
    model, source, out = paths if len(paths) == 3 else (PACKED[task], *paths)
    return model, source, out


def check_writable(path: Path) -> None:
    """Make the folder of a file that is about to be computed, and see that it can be written, before time is spent.

    Raises
    ------
    UsageError
        It cannot.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror}); name another place") from error
    if path.is_dir():
        raise UsageError(f"{path}: is a folder; name a file")
