"""The clock's state, told by a chain of dependent additions, and the fastest state this CPU was ever seen in.

A chain of dependent integer additions runs at one addition a cycle, so additions per nanosecond is the core's clock
in GHz, whatever a guest's operating system claims. Shared hosts flip between states (3.7 and 2.1 GHz within a second
on the host that shaped this), steal time does not show it, and compute-bound kernels lose 1.6x then.
"""

import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench import host

Chain = Callable[[int], float]
"""Runs that many dependent additions and returns nanoseconds."""

CHAIN_NS = 5000.0
TOLERANCE = 1.08
"""A chain may take this much longer than at nominal speed."""

_STATE_READINGS = 200
_STATE_S = 2.0


def store_path() -> Path:
    """File that keeps the fastest state per CPU model: {"cpu": GHz}."""
    return host.cache_dir() / "clock.json"


def engine_chain() -> Chain:
    """Return the engine's chain (compiled, timed inside, the interpreter's lock released)."""
    from bench.engine import add_chain_ns

    chain: Chain = add_chain_ns
    return chain


class Clock:
    """Reads the clock and knows its nominal speed.

    A state is the upper quartile of all readings within two seconds: it finds the fast state when that holds only a
    quarter of the time, and neither a misread nor a moment of a boosting clock sets a speed that is hardly ever reached
    again (a Zen 5 guest wandered between 3.0 and 4.0 GHz; the fastest of its half-second states would have admitted 8 %
    of all samples, the fastest of its two-second states 18 %). Making a clock takes those two seconds. The nominal
    speed only rises; whoever keeps old readings judges them again when it does.

    Parameters
    ----------
    chain
        The chain to run; default the engine's.
    path
        Where nominal speeds are kept between processes; None keeps nothing.
    now
        Seconds, monotonic; replaced in tests.
    """

    def __init__(self, chain: Chain | None = None, path: Path | None = None, now: Callable[[], float] = time.monotonic):
        self._chain = chain or engine_chain()
        self._path = path
        self._now = now
        self._window: list[float] = []
        self._window_began = now()
        self._seen_ghz = 0.0
        self._key = host.cpu_key()
        self._recorded_ghz = self._load()
        self._additions = 1000
        self._first_look()

    @property
    def nominal_ghz(self) -> float:
        """Fastest state recorded on this CPU, in GHz."""
        return max(self._recorded_ghz, self._seen_ghz)

    def read_ghz(self) -> float:
        """Run one chain of about 5 us and return the clock in GHz."""
        ghz = self._additions / max(self._chain(self._additions), 1e-3)
        self._window.append(ghz)
        if len(self._window) >= _STATE_READINGS and self._now() - self._window_began >= _STATE_S:
            self._seen_ghz = max(self._seen_ghz, sorted(self._window)[len(self._window) * 3 // 4])
            self._restart_window()
        return ghz

    def _restart_window(self) -> None:
        self._window.clear()
        self._window_began = self._now()

    def is_nominal(self, ghz: float) -> bool:
        """Whether a reading lies within 1.08x of nominal."""
        return ghz * TOLERANCE >= self.nominal_ghz

    def save(self) -> None:
        """Record the nominal speed for later processes if it is a new best (atomic; a race loses one state)."""
        if self._path is None or self.nominal_ghz <= self._load():
            return
        speeds = _read_store(self._path) | {self._key: round(self.nominal_ghz, 4)}
        descriptor, name = tempfile.mkstemp(dir=self._path.parent, prefix=self._path.name)
        with os.fdopen(descriptor, "w") as file:
            json.dump(speeds, file, indent=1)
        os.replace(name, self._path)

    def _first_look(self) -> None:
        """Size the chain to 5 us, then read one state, so that every run knows the state it begins in."""
        self._additions = max(round(CHAIN_NS * max(self.read_ghz() for _ in range(20))), 1)
        self._restart_window()
        while self._seen_ghz == 0.0:
            self.read_ghz()

    def _load(self) -> float:
        return _read_store(self._path).get(self._key, 0.0) if self._path else 0.0


def _read_store(path: Path) -> dict[str, float]:
    """Speeds by CPU; empty when there are none or the file is not ours to understand (it is only a cache)."""
    try:
        found = json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {key: float(ghz) for key, ghz in found.items() if isinstance(ghz, int | float) and 0 < ghz < 20}
