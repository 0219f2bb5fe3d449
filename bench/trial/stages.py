"""Stages of one trial that remember their result in the trial's folder, so that a resumed trial repeats nothing.

A stage writes its files first and then `stages/<name>.json`: its result, and the key of its inputs. A file without
that marker is unfinished work; a marker of other inputs (changed data, say) is out of date, and the stage runs anew.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench.errors import LanewiseError
from bench.trial.cache import stage_key
from bench.trial.files import read_json, write_json


class Stages:
    """Stage results below one trial's folder.

    Parameters
    ----------
    folder
        The trial's folder.

    Attributes
    ----------
    seconds
        How long each stage took, when it ran.
    ran
        Names of the stages that this process ran itself.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "stages"
        self.seconds: dict[str, float] = {}
        self.ran: list[str] = []

    def run(
        self,
        name: str,
        inputs: Mapping[str, Any],
        work: Callable[[], Any],
        again: Callable[[Any], Any] | None = None,
    ) -> Any:
        """Return the result of a stage (JSON values): the kept one when its inputs are the same, else that of `work`.

        What `work` raises is raised, and nothing is kept. `again`, given a kept result, returns it or a better one,
        which then is the one kept.
        """
        path = self._folder / f"{name}.json"
        key = stage_key(name, inputs)
        kept = self._kept(path)
        if kept is not None and kept["key"] == key:
            self.seconds[name] = float(kept["seconds"])
            result = kept["result"] if again is None else again(kept["result"])
            if result != kept["result"]:
                write_json(path, kept | {"result": result})
            return result
        started = time.monotonic()
        result = work()
        self.seconds[name] = round(time.monotonic() - started, 3)
        self.ran.append(name)
        write_json(path, {"key": key, "seconds": self.seconds[name], "result": result})
        return result

    @staticmethod
    def _kept(path: Path) -> dict[str, Any] | None:
        if not path.is_file():
            return None
        try:
            kept = read_json(path)
        except LanewiseError:  # damaged by something else than us: the stage runs again
            return None
        return kept if isinstance(kept, dict) and {"key", "seconds", "result"} <= set(kept) else None
