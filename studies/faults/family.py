"""The processes of a disturbed study, and what can be done to them and to the ground they stand on."""

import contextlib
import ctypes
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import sqlalchemy

from studies.rehearsal import CLOCK_FILE

_LANEWISE = (sys.executable, "-c", "from bench.cli.main import main; main()")
_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE = 24, 1
_TROUBLE_S = 0.7
"""How long a disk stays full, or a folder read-only."""


@dataclass
class Family:
    """One study's parent, its workers, and those that joined.

    Attributes
    ----------
    root
        The study's folder.
    environment
        Of its processes: that they rehearse, and their stores.
    """

    root: Path
    environment: Mapping[str, str]
    parent: "subprocess.Popen[bytes] | None" = None
    joined: "list[subprocess.Popen[bytes]]" = field(default_factory=list)

    def lanewise(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """Start a command of ours; what it says goes to `log` beside the study's folder."""
        with self.root.with_suffix(".log").open("ab") as log:
            return subprocess.Popen(
                [*_LANEWISE, *arguments], env=os.environ | self.environment, stdout=log, stderr=log,
                start_new_session=True, preexec_fn=_obey_permissions,
            )  # fmt: skip

    def alive(self) -> bool:
        """Say whether the parent runs."""
        return self.parent is not None and self.parent.poll() is None

    def workers(self) -> list[int]:
        """Return the process ids of the workers, those that nobody started from here among them."""
        place, found = str(self.root).encode(), []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    words = (entry / "cmdline").read_bytes().split(b"\0")
                    if b"worker" in words and place in words:
                        found.append(int(entry.name))
        return found

    def processes(self) -> list[int]:
        """Return the process ids of everyone."""
        parent = [self.parent.pid] if self.parent is not None and self.alive() else []
        return parent + self.workers()

    def kill(self, who: str, rng: random.Random) -> bool:
        """`kill -9` the parent or a worker; False when there is none."""
        victims = [self.parent.pid] if who == "parent" and self.parent is not None and self.alive() else []
        victims = self.workers() if who == "worker" else victims
        if not victims:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(rng.choice(sorted(victims)), signal.SIGKILL)
        return True

    def join(self) -> None:
        """Have one more worker, of no parent, compete for the trials."""
        self.joined.append(self.lanewise("worker", str(self.root)))

    def fill_disk(self) -> None:
        """Let no process write to any file for a moment (a limit on file sizes, which needs no disk of its own)."""
        limited = [pid for pid in self.processes() if _limit(pid, 0)]
        time.sleep(_TROUBLE_S)
        for pid in limited:
            _limit(pid, resource.RLIM_INFINITY)

    def forbid_writing(self) -> None:
        """Make the study's folder read-only for a moment."""
        folders = [self.root, *(path for path in self.root.rglob("*") if path.is_dir())]
        with _modes(folders, 0o555):
            time.sleep(_TROUBLE_S)

    def jump_clock(self, rng: random.Random, database: str) -> None:
        """Set the study's clock wrong by up to a day, and every heartbeat of its database with it."""
        jump = rng.uniform(-86400, 86400)
        with contextlib.suppress(OSError):
            (self.root / CLOCK_FILE).write_text(str(jump))
        engine = sqlalchemy.create_engine(database)
        with contextlib.suppress(sqlalchemy.exc.SQLAlchemyError), engine.begin() as connection:
            table = sqlalchemy.Table("trial_heartbeats", sqlalchemy.MetaData(), autoload_with=connection)
            for row in connection.execute(sqlalchemy.select(table)).all():
                connection.execute(
                    table.update()
                    .where(table.c.trial_heartbeat_id == row.trial_heartbeat_id)
                    .values(heartbeat=row.heartbeat + timedelta(seconds=jump))
                )
        engine.dispose()

    def end(self) -> None:
        """End whatever still runs."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in [*self.joined, *([self.parent] if self.parent else [])]:
            process.wait()


def _obey_permissions() -> None:
    """Take from root what lets it write where nobody may."""
    if os.geteuid() == 0:
        ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE, 0, 0, 0)


def _limit(pid: int, size: int) -> bool:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        return True
    return False


@contextlib.contextmanager
def _modes(folders: list[Path], mode: int) -> Iterator[None]:
    """Give folders a mode, and their old one back."""
    before: dict[Path, int] = {}
    for folder in folders:
        with contextlib.suppress(FileNotFoundError):
            before[folder] = folder.stat().st_mode
            folder.chmod(mode)
    try:
        yield
    finally:
        for folder, old in before.items():
            with contextlib.suppress(FileNotFoundError):
                folder.chmod(old)
