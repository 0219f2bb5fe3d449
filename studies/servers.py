"""Servers as processes of this host: MLflow's, Optuna's, PostgreSQL, started, waited for and ended with all they start.

PostgreSQL of its own is for rehearsals and tests: a cluster in a folder, an unprivileged user, a password, a free port.
"""

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.errors import LanewiseError
from bench.progress import say

HOST = "127.0.0.1"
LEAN = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "DO_NOT_TRACK": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}
"""Environment of an MLflow server that is a mirror and nothing else: 0.5 GB in place of 2.2."""

_START_S = 90.0
_STOP_S = 10.0


@dataclass(frozen=True)
class Server:
    """One web server to start: its command, address and environment, and the file that keeps what it prints."""

    name: str
    command: tuple[str, ...]
    url: str
    environment: dict[str, str]
    log: Path


def mlflow_server(folder: Path, backend: str, port: int) -> Server:
    """Return a lean MLflow server that keeps artifacts in `folder` and runs in the database `backend`."""
    artifacts = ("--artifacts-destination", (folder / "mlflow-artifacts").resolve().as_uri())
    command = (script("mlflow"), "server", "--backend-store-uri", backend, *artifacts, "--workers", "1")
    address = ("--host", HOST, "--port", str(port))
    environment = dict(os.environ) | LEAN
    return Server("MLflow", (*command, *address), f"http://{HOST}:{port}", environment, folder / "mlflow.log")


@contextlib.contextmanager
def running(servers: list[Server]) -> Iterator[None]:
    """Start servers, wait until each answers over HTTP, and end them with all their children afterwards.

    Raises
    ------
    LanewiseError
        A server ends by itself or does not answer in time; the message names its log.
    """
    started: list[subprocess.Popen[bytes]] = []
    with contextlib.ExitStack() as stack:
        stack.callback(end, started)
        for server in servers:
            started.append(start(server))
        for server, process in zip(servers, started, strict=True):
            say(f"starting {server.name} ...")
            wait(server, process)
        yield


def start(server: Server) -> "subprocess.Popen[bytes]":
    """Start a server in a session of its own."""
    with server.log.open("ab") as log:
        return subprocess.Popen(server.command, env=server.environment, stdout=log, stderr=log, start_new_session=True)


def wait(server: Server, process: "subprocess.Popen[bytes]") -> None:
    """Wait until a server answers.

    Raises
    ------
    LanewiseError
        It ends by itself or does not answer in time.
    """
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise LanewiseError(
                f"{server.name} ended with exit code {process.returncode}; its last words are in {server.log}"
            )
        with (
            contextlib.suppress(OSError, urllib.error.URLError),
            urllib.request.urlopen(server.url, timeout=5) as answer,
        ):
            if answer.status == 200:
                return
        time.sleep(0.3)
    raise LanewiseError(f"{server.name} did not answer at {server.url} within {_START_S:.0f} s; see {server.log}")


def end(started: "list[subprocess.Popen[bytes]]") -> None:
    """End servers with everything that they started."""
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
    for process in started:
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def script(name: str) -> str:
    """Return where a command of this Python environment is."""
    return str(Path(sys.executable).with_name(name))


def free_port() -> int:
    """Return a port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    return port


@dataclass
class Postgres:
    """A PostgreSQL cluster in a folder (which an unprivileged user must be able to reach).

    Examples
    --------
    >>> server = Postgres(Path("/tmp/cluster"))
    >>> server.create("optuna")
    >>> server.start()
    >>> server.url("optuna")
    """

    folder: Path
    port: int = field(default_factory=free_port)
    password: str = field(default_factory=lambda: secrets.token_hex(12), repr=False)
    _process: "subprocess.Popen[bytes] | None" = None

    def create(self, *databases: str) -> None:
        """Make the cluster with its databases, and leave it running.

        Raises
        ------
        LanewiseError
            PostgreSQL is not installed, or refuses.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        secret = self.folder / "password"
        secret.write_text(self.password)
        account = _account()
        if account:
            shutil.chown(self.folder, account)
            shutil.chown(secret, account)
        options = ("--username=lanewise", "--auth=scram-sha-256", f"--pwfile={secret}", "--encoding=UTF8", "--no-sync")
        self._run("initdb", "--pgdata", str(self.folder / "data"), "--locale=C.UTF-8", *options)
        self.start()
        for database in databases:
            self.add(database)

    def add(self, database: str) -> None:
        """Make one more database."""
        self._run("createdb", *self._login(), database)

    def start(self) -> None:
        """Start the server and wait until it answers."""
        settings = {"listen_addresses": HOST, "port": self.port, "unix_socket_directories": self.folder, "fsync": "off"}
        flags = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        with (self.folder / "postgres.log").open("ab") as log:
            self._process = subprocess.Popen(
                [_binary("postgres"), "-D", str(self.folder / "data"), *flags],
                stdout=log, stderr=log, start_new_session=True, user=_account(), cwd="/",
            )  # fmt: skip
        deadline = time.monotonic() + _START_S
        while subprocess.run([_binary("pg_isready"), "-q", *self._login()], check=False).returncode:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise LanewiseError(f"PostgreSQL does not start; see {self.folder / 'postgres.log'}")
            time.sleep(0.1)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop the server: SIGINT throws its clients out, SIGQUIT makes it crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(_START_S)
            self._process = None

    def url(self, database: str) -> str:
        """Return the SQLAlchemy URL of a database."""
        return f"postgresql://lanewise:{self.password}@{HOST}:{self.port}/{database}"

    def _login(self) -> tuple[str, ...]:
        return ("--host", HOST, "--port", str(self.port), "--username", "lanewise")

    def _run(self, *command: str) -> None:
        done = subprocess.run(
            [_binary(command[0]), *command[1:]], capture_output=True, text=True, check=False, cwd="/", user=_account(),
            env=dict(os.environ) | {"PGPASSWORD": self.password},
        )  # fmt: skip
        if done.returncode:
            raise LanewiseError(f"{command[0]} failed: {done.stderr.strip()}")


def _account() -> str | None:
    """Return the user that PostgreSQL runs as: it refuses root."""
    if os.geteuid():
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


def _binary(name: str) -> str:
    """Return where a program of PostgreSQL is (Debian keeps the server's off the PATH).

    Raises
    ------
    LanewiseError
        It is not installed.
    """
    kept = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    found = shutil.which(name) or (str(kept[0]) if kept else None)
    if found is None:
        raise LanewiseError(f"PostgreSQL's {name} is not installed; Debian, Ubuntu: apt install postgresql")
    return found
