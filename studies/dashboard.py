"""`lanewise dashboard`: MLflow's pages on a study, and Optuna's where optuna-dashboard is installed."""

import contextlib
import os
import signal
import socket
import sqlite3
import time
from pathlib import Path

import click

from bench.errors import LanewiseError
from bench.progress import say
from studies.folder import UNTRACKED, StudyFolder, find
from studies.servers import HOST, LEAN, Server, running, script


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
    environment = dict(os.environ) | LEAN
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
            script("mlflow"),
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
    optuna_dashboard = script("optuna-dashboard")
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
