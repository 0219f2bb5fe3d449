"""One timing at a time per host, and training that steps aside meanwhile.

One `flock`ed file in the cache directory does both: whoever times holds it exclusively, so that nobody else starts
to time and every trainer stops before its next step. The kernel drops a lock when its holder dies, so nothing can be
left behind. Processes that do not share the cache directory (`LANEWISE_CACHE`) do not see each other.
"""

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import host
from bench.progress import say

_POLL_S = 0.2
_MESSAGE_AFTER_S = 1.0


class _HeldByThread(threading.local):
    depth = 0


_held = _HeldByThread()
_reader: tuple[Path, int, int] | None = None


def lock_path() -> Path:
    """File whose lock is held while somebody times on this host."""
    return host.cache_dir() / "timing.lock"


def _wait(descriptor: int, kind: int, message: str) -> None:
    """Take the lock, polling so that Ctrl-C works at once; say `message` once when it takes longer than a second."""
    started, said = time.monotonic(), False
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if not said and time.monotonic() - started > _MESSAGE_AFTER_S:
                say(message)
                said = True
            time.sleep(_POLL_S)


@contextmanager
def timing_lock() -> Iterator[None]:
    """Hold this host for timing; waits, with a message, while another process does. Re-entrant within a thread."""
    if _held.depth:
        _held.depth += 1
        try:
            yield
        finally:
            _held.depth -= 1
        return
    descriptor = os.open(lock_path(), os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _wait(descriptor, fcntl.LOCK_EX, "waiting for another process of this host to finish timing")
        _held.depth = 1
        yield
    finally:
        _held.depth = 0
        os.close(descriptor)


def pause_while_timing(message: str = "training pauses while another process times the engine") -> float:
    """Wait while another process or thread times on this host; return the seconds waited.

    A training loop calls this before each step. When nobody times it costs two system calls (about a microsecond).
    The thread that itself holds the lock is never stopped.
    """
    if _held.depth:
        return 0.0
    descriptor = _reader_descriptor()
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        waited = 0.0
    except BlockingIOError:
        started = time.monotonic()
        _wait(descriptor, fcntl.LOCK_SH, message)
        waited = time.monotonic() - started
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return waited


def _reader_descriptor() -> int:
    """Descriptor for the cheap check, opened once per process (a forked child opens its own: flock is per open)."""
    global _reader
    path = lock_path() if _reader is None else _reader[0]
    if _reader is None or _reader[1] != os.getpid():
        _reader = (path, os.getpid(), os.open(path, os.O_RDWR | os.O_CREAT, 0o666))
    return _reader[2]
