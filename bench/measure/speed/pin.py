"""Hold the timing thread on one core while it measures."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.errors import UsageError

_STAT = Path("/proc/stat")
_LOOK_S = 0.1


def _idle_ticks() -> dict[int, int]:
    """Idle clock ticks of each core since boot."""
    lines = (line.split() for line in _STAT.read_text().splitlines() if line.startswith("cpu") and line[3].isdigit())
    return {int(fields[0][3:]): int(fields[4]) for fields in lines}


def quietest_core(allowed: set[int]) -> int:
    """Return the allowed core that was idle most over a tenth of a second (the lowest number among equals)."""
    if len(allowed) == 1 or not _STAT.exists():
        return min(allowed)
    before = _idle_ticks()
    time.sleep(_LOOK_S)
    after = _idle_ticks()
    return max(sorted(allowed), key=lambda core: after.get(core, 0) - before.get(core, 0))


@contextmanager
def pinned(core: int | None = None) -> Iterator[int | None]:
    """Pin the calling thread to `core` (default: LANEWISE_CORE, else the quietest allowed one), then restore.

    Yields the core, or None where the operating system cannot pin; the record says which.

    Raises
    ------
    UsageError
        `core` or LANEWISE_CORE is not a core that this process may use.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield None
        return
    allowed = os.sched_getaffinity(0)
    asked = os.environ.get("LANEWISE_CORE") if core is None else str(core)
    if asked is None:
        chosen = quietest_core(allowed)
    elif asked.isdigit() and int(asked) in allowed:
        chosen = int(asked)
    else:
        raise UsageError(f"cannot pin to core {asked!r}: this process may use {sorted(allowed)}")
    os.sched_setaffinity(0, {chosen})
    try:
        yield chosen
    finally:
        os.sched_setaffinity(0, allowed)
