"""Workers as processes of this host: started by one parent, replaced when they are killed, interrupted together."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from bench.host import usable_cores
from bench.progress import say
from bench.trial.cache import ALLOWED
from studies.folder import StudyFolder

if TYPE_CHECKING:
    from studies.store import Store

STORES = ("LANEWISE_STORAGE", "MLFLOW_TRACKING_URI")
"""Environment variables that name stores."""

_SAVE_S = 120.0
"""How long an interrupted worker may take to save."""

_POLL_S = 0.2
_MAX_REPLACED = 5
"""Workers that may be killed one after another without any trial getting on; then something is wrong with the host."""


def worker_command(folder: StudyFolder, timing: str = "here") -> list[str]:
    """Return the one command that every launcher starts: it joins the study in `folder`."""
    command = [sys.executable, "-c", "from bench.cli.main import main; main()", "worker", str(folder.root.resolve())]
    return command if timing == "here" else [*command, "--timing", timing]


@contextlib.contextmanager
def changed_environment(values: Mapping[str, str], without: Sequence[str] = ()) -> Iterator[None]:
    """Set environment variables and take others away, in here alone."""
    before = dict(os.environ)
    os.environ.update(values)
    for name in without:
        os.environ.pop(name, None)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def worker_environment(storage: str | None, tracking_uri: str | None) -> dict[str, str]:
    """Return the variables that tell a worker its stores and where it may write.

    Not its command line: that is shown to every user of the host, and a URL may hold a password.
    """
    given = {"LANEWISE_STORAGE": storage, "MLFLOW_TRACKING_URI": tracking_uri, ALLOWED: os.environ.get(ALLOWED)}
    return {key: value for key, value in given.items() if value}


def in_processes(
    folder: StudyFolder,
    store: "Store",
    workers: int,
    storage: str | None = None,
    tracking_uri: str | None = None,
    timing: str = "here",
) -> None:
    """Start workers and wait until all have ended; one that is killed is replaced while there is work for it.

    Raises
    ------
    KeyboardInterrupt
        After every worker has saved and ended.
    """
    environment = dict(os.environ) | worker_environment(storage, tracking_uri)
    environment.setdefault("OMP_NUM_THREADS", str(max(1, usable_cores() // workers)))
    command = [*worker_command(folder, timing), "--with-parent"]
    running = [_start(command, environment) for _ in range(workers)]
    replaced, progress = 0, _progress(store)
    try:
        while running:
            time.sleep(_POLL_S)
            ended = [worker for worker in running if worker.poll() is not None]
            running = [worker for worker in running if worker.poll() is None]
            for worker in ended:
                if worker.returncode >= 0:  # it ended by itself, well or not
                    continue
                for number in store.reap():
                    say(f"trial {number}: its worker was killed; it is continued from its last checkpoint")
                now = _progress(store)
                replaced, progress = (1, now) if now != progress else (replaced + 1, progress)
                if replaced <= _MAX_REPLACED and not store.attribute("stop"):
                    say(f"a worker was ended by {signal.Signals(-worker.returncode).name}; starting another")
                    running.append(_start(command, environment))
    except KeyboardInterrupt:
        for worker in running:
            worker.send_signal(signal.SIGINT)
        deadline = time.monotonic() + _SAVE_S
        for worker in running:
            worker.wait(max(deadline - time.monotonic(), 0.1))
        raise


def _start(command: list[str], environment: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(command, env=environment, start_new_session=True, stdout=sys.stderr)


def _progress(store: "Store") -> object:
    """Return what changes when any trial gets on."""
    return [(row.state, row.step) for row in store.rows() if row.state not in ("waiting", "running", "interrupted")]
