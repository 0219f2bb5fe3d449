"""Other ways to start workers. Each is one small file around the one worker command, and an optional extra.

A launcher has one function, `launch(command, environment, workers, settings)`: it starts `workers` processes of
`command` with `environment` added to theirs, somewhere that reaches the study's folder and database, and returns when
all have ended. `settings` are the user's `--launcher-set KEY=VALUE`.
"""

import importlib
from collections.abc import Mapping, Sequence
from typing import Protocol, cast

from bench.errors import UsageError

EXTRAS = {"slurm": "submitit", "ray": "ray"}


class Launch(Protocol):
    """See the module."""

    def __call__(
        self, command: Sequence[str], environment: Mapping[str, str], workers: int, settings: Mapping[str, str], /
    ) -> None:
        """Start workers and wait for them."""


def launcher(name: str) -> Launch:
    """Return a launcher by name.

    Raises
    ------
    UsageError
        The package that it stands on is not installed.
    """
    package = EXTRAS[name]
    try:
        importlib.import_module(package)
    except ImportError as error:
        raise UsageError(
            f"--launcher {name}: the package {package} is not installed; pip install 'lanewise[{name}]'"
        ) from error
    return cast(Launch, importlib.import_module(f"studies.launchers.{name}").launch)


def read_settings(assignments: Sequence[str]) -> dict[str, str]:
    """Return `KEY=VALUE` words as a mapping.

    Raises
    ------
    UsageError
        A word has no `=`.
    """
    wrong = [word for word in assignments if "=" not in word]
    if wrong:
        raise UsageError(f"--launcher-set {wrong[0]}: expected KEY=VALUE")
    return dict(word.split("=", 1) for word in assignments)
