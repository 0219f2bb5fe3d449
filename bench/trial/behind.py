"""The mirror in MLflow kept up to date behind the trials' back, so that a slow or hanging server costs them nothing."""

import queue
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from bench.errors import LanewiseError
from bench.measure.speed.lock import pause_while_timing
from bench.progress import say
from bench.trial.record import Scalar

if TYPE_CHECKING:
    from bench.trial.tracking import Tracking

PATIENCE_S = 30.0
"""How long a worker that is done waits for the mirror; what is left then, `lanewise tracking resync` brings."""


class TrialMirror(Protocol):
    """What a trial asks of the mirror: `bench.trial.tracking.Tracking` itself, or `Behind` before it."""

    def start_trial(
        self, number: int, name: str, params: Mapping[str, Scalar], tags: Mapping[str, str], /
    ) -> str | None:
        """Show a trial as running."""

    def sync_record(self, record_dir: Path, /) -> str | None:
        """Make the trial's run equal to its record."""


class Behind:
    """A thread that writes to MLflow what it is given, in order, and keeps nobody waiting.

    Use it as a context: at its end it waits for what is left, up to `PATIENCE_S` (not at all after an interruption).

    Parameters
    ----------
    tracking
        The bridge; while the context is open only this thread uses it.
    """

    def __init__(self, tracking: "Tracking") -> None:
        self._tracking = tracking
        self._work: queue.SimpleQueue[tuple[str, Callable[[], object]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._latest: dict[str, int] = {}
        self._count = 0

    def __enter__(self) -> "Behind":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._work.put(None)
        self._thread.join(0.0 if kind else PATIENCE_S)
        if self._thread.is_alive() and kind is None:
            say("tracking: MLflow is slow; what it lacks can be brought there with `lanewise tracking resync`")

    def start_trial(self, number: int, name: str, params: Mapping[str, Scalar], tags: Mapping[str, str]) -> None:
        """See `Tracking.start_trial`."""
        tags = dict(tags)  # the trial goes on adding to its own
        self._put(f"start {number}", lambda: self._tracking.start_trial(number, name, params, tags))

    def sync_record(self, record_dir: Path) -> None:
        """See `Tracking.sync_record`; of several calls for one record the last one counts."""
        self._put(str(record_dir), lambda: self._tracking.sync_record(record_dir))

    def log_study(self, files: Mapping[Path, str | None], tags: Mapping[str, str], view: Mapping[str, str]) -> None:
        """See `Tracking.log_study`."""
        self._put("study", lambda: self._tracking.log_study(files, tags, view=view))

    def _put(self, key: str, action: Callable[[], object]) -> None:
        self._count += 1
        count = self._latest[key] = self._count
        self._work.put((key, lambda: action() if self._latest[key] == count else None))

    def _run(self) -> None:
        while (item := self._work.get()) is not None:
            try:
                pause_while_timing("tracking waits while the engine is timed")
                item[1]()
            except LanewiseError as error:  # a record that was damaged meanwhile
                say(f"tracking: left out: {error}")
