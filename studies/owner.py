"""Who is working on a trial: an identity of one process that outlives no reboot, container or reused pid."""

import os
import socket
import subprocess
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Owner:
    """One process. `place` is host, boot and pid namespace: only there does `pid` mean anything."""

    host: str
    place: str
    pid: int
    started: str

    @classmethod
    def me(cls) -> "Owner":
        """Return the identity of this process."""
        started = _start_time(os.getpid())
        assert started is not None, "a running process has a start time"
        return cls(host=socket.gethostname(), place=_place(), pid=os.getpid(), started=started)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Owner":
        """Rebuild an identity that `to_json` made."""
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """Return the identity as JSON values."""
        return asdict(self)

    def alive(self) -> bool | None:
        """Say whether the process still runs; None where this host cannot know (another machine or container)."""
        if self.place != _place():
            return None
        return _start_time(self.pid) == self.started


@cache
def _place() -> str:
    """Name this host's boot and pid namespace (a pid of another container of the same name says nothing here)."""
    parts = [socket.gethostname()]
    boot = Path("/proc/sys/kernel/random/boot_id")
    if boot.exists():
        parts.append(boot.read_text().strip())
    namespace = Path("/proc/self/ns/pid")
    if namespace.is_symlink():
        parts.append(os.readlink(namespace))
    return " ".join(parts)


def _start_time(pid: int) -> str | None:
    """Return when process `pid` started, in the system's own words; None if there is none, or only a zombie."""
    if Path("/proc/self/stat").exists():
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return None
        fields = stat.rpartition(")")[2].split()  # the command's name may hold spaces and brackets
        return None if fields[0] in "ZX" else fields[19]
    listed = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return listed.stdout.strip() or None
