"""Progress of long jobs: a live bar on a terminal, plain lines (at most one every 5 s) elsewhere, always on stderr."""

import contextlib
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
_PLAIN_INTERVAL_S = 5.0


def say(message: str) -> None:
    """Print one line for a person (stderr, so that stdout stays data); lost, and no more, where it has no room."""
    with contextlib.suppress(OSError):  # its disk is full, or its reader has gone: no reason to end a study
        print(message, file=sys.stderr, flush=True)


class Progress:
    """Progress of `total` equal units of work under one label.

    Examples
    --------
    >>> with Progress("training", total=100) as progress:
    ...     progress.advance(1, note="3.21 bit")
    """

    def __init__(self, label: str, total: int, done: int = 0) -> None:
        self.label, self.total, self.done = label, total, done
        self._first = done
        self._start = time.monotonic()
        self._shown = -1.0
        self._live = sys.stderr.isatty()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self._live and self._shown >= 0:
            print(file=sys.stderr)

    def advance(self, units: int = 1, note: str = "") -> None:
        """Count `units` more as done; `note` is the newest figure worth seeing."""
        self.done += units
        elapsed = time.monotonic() - self._start
        last = self.done >= self.total
        if not last and elapsed - self._shown < (0.2 if self._live else _PLAIN_INTERVAL_S):
            return
        self._shown = elapsed
        left = elapsed / max(self.done - self._first, 1) * (self.total - self.done)
        line = f"{self.label}: {self.done}/{self.total}  {elapsed:.0f} s, {left:.0f} s left  {note}".rstrip()
        if self._live:
            print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
        else:
            say(line)


def track(iterable: Iterable[T], label: str, total: int) -> Iterator[T]:
    """Yield from `iterable`, showing progress."""
    with Progress(label, total) as progress:
        for item in iterable:
            yield item
            progress.advance()
