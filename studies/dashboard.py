"""`lanewise dashboard`: MLflow's pages on a study, and Optuna's where optuna-dashboard is installed."""

import contextlib
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from bench.errors import LanewiseError
from bench.progress import say
from studies.folder import StudyFolder, find
from studies.run import UNTRACKED

HOST = "127.0.0.1"
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


@click.command()
@click.argument("study", required=False)
@click.option(
    "--port", type=click.IntRange(1, 65534), default=5000, show_default=True, help="MLflow's; Optuna's is the next."
)
@click.option("--out", type=click.Path(path_type=Path), help="The study's folder; by default runs/NAME.")
@click.option("--check", is_flag=True, help="Start, see that the pages answer, stop.")
def command(study: str | None, port: int, out: Path | None, check: bool) -> int:
    """Open MLflow (and optuna-dashboard) on a study, until Ctrl-C.

    STUDY is a folder, a name below runs/, or the study file; by default the study used last.

    \b
    lanewise dashboard
    lanewise dashboard runs/demo --port 5010
    """
    folder = find(study, out)
    shown, servers = plan_servers(folder, port)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a closed terminal ends the servers as Ctrl-C does
    signal.signal(signal.SIGHUP, signal.default_int_handler)
    with running(servers):
        for name, url in shown:
            say(f"{name}: {url}")
        if check or not servers:
            return 0
        say("Ctrl-C ends both" if len(servers) > 1 else "Ctrl-C ends it")
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                time.sleep(3600)
    return 0


def plan_servers(folder: StudyFolder, port: int) -> tuple[list[tuple[str, str]], list[Server]]:
    """Return the pages (name, address) to show and the servers to start for them.

    A study that was tracked on an MLflow server needs none started: its own address is shown.

    Raises
    ------
    LanewiseError
        The folder holds no study, nothing was tracked yet, or a port is taken.
    """
    study = folder.load()
    environment = dict(os.environ) | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "DO_NOT_TRACK": "true"}
    shown: list[tuple[str, str]] = []
    servers: list[Server] = []
    tracking = folder.tracking_uri()
    if tracking == UNTRACKED:
        raise LanewiseError(f"{folder.root}: runs without MLflow; `lanewise tracking resync` brings it there")
    if tracking is not None and tracking.startswith(("http://", "https://")):
        shown.append(("MLflow", tracking))
    else:
        database = folder.root.resolve() / "mlflow.db"
        if tracking is None and not database.exists():
            raise LanewiseError(f"{folder.root}: nothing was tracked yet; run the study first")
        arguments = ("--backend-store-uri", tracking or f"sqlite:///{database}", "--workers", "1")
        artifacts = ("--default-artifact-root", (folder.root.resolve() / "artifacts").as_uri())
        url = f"http://{HOST}:{_free(port)}"
        command_line: tuple[str, ...] = (
            _script("mlflow"),
            "server",
            *arguments,
            *artifacts,
            "--host",
            HOST,
            "--port",
            str(port),
        )
        servers.append(Server("MLflow", command_line, url, environment, folder.root / "mlflow-server.log"))
        page = _experiment_page(database, study.name) if tracking is None else ""
        shown.append((f"MLflow, experiment {study.name}", url + page))
    optuna_dashboard = _script("optuna-dashboard")
    if Path(optuna_dashboard).exists():
        url = f"http://{HOST}:{_free(port + 1)}"
        command_line = (optuna_dashboard, folder.storage_url(), "--host", HOST, "--port", str(port + 1), "--quiet")
        servers.append(Server("optuna-dashboard", command_line, url, environment, folder.root / "optuna-dashboard.log"))
        shown.append(("Optuna", f"{url}/dashboard"))
    else:
        say("optuna-dashboard is not installed (pip install 'lanewise[dashboard]'); showing MLflow alone")
    return shown, servers


def _experiment_page(database: Path, experiment: str) -> str:
    """Return the path of an experiment's table of runs in MLflow's pages; empty if it is not there yet."""
    with contextlib.closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        row = connection.execute("SELECT experiment_id FROM experiments WHERE name = ?", (experiment,)).fetchone()
    return f"/#/experiments/{row[0]}/runs" if row else ""


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
        stack.callback(_end, started)
        for server in servers:
            log = stack.enter_context(server.log.open("wb"))
            started.append(
                subprocess.Popen(server.command, env=server.environment, stdout=log, stderr=log, start_new_session=True)
            )
        for server, process in zip(servers, started, strict=True):
            say(f"starting {server.name} ...")
            _wait(server, process)
        yield


def _wait(server: Server, process: "subprocess.Popen[bytes]") -> None:
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


def _end(started: "list[subprocess.Popen[bytes]]") -> None:
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
    for process in started:
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _script(name: str) -> str:
    """Return where a command of this Python environment is."""
    return str(Path(sys.executable).with_name(name))


def _free(port: int) -> int:
    """Return `port` if nothing listens there.

    Raises
    ------
    LanewiseError
        Something does.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise LanewiseError(f"port {port} is taken ({error.strerror}); choose another with --port") from error
    return port
