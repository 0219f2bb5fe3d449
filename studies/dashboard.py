"""`lanewise dashboard`: MLflow's pages on a study, and Optuna's where optuna-dashboard is installed."""

import contextlib
import os
import signal
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.errors import LanewiseError
from bench.progress import say
from studies.folder import UNTRACKED, StudyFolder, find
from studies.servers import HOST, LEAN, Server, running, script

if TYPE_CHECKING:
    from studies.study_file import Study


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
        shown += _pages(tracking, tracking, study, folder)
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
        shown += _pages(tracking or f"sqlite:///{database}", url, study, folder)
    optuna_dashboard = script("optuna-dashboard")
    if Path(optuna_dashboard).exists():
        url = f"http://{HOST}:{_free(port + 1)}"
        command_line = (optuna_dashboard, folder.storage_url(), "--host", HOST, "--port", str(port + 1), "--quiet")
        servers.append(Server("optuna-dashboard", command_line, url, environment, folder.root / "optuna-dashboard.log"))
        shown.append((f"Optuna, {study.name}", f"{url}/dashboard/{_optuna_place(study.name, folder.storage_url())}"))
    else:
        say("optuna-dashboard is not installed (pip install 'lanewise[dashboard]'); showing MLflow alone")
    return shown, servers


def _pages(store: str, url: str, study: "Study", folder: StudyFolder) -> list[tuple[str, str]]:
    """Return MLflow's pages on a study, with useful columns and charts chosen; its first page where it is not there.

    The choice is a tag of the experiment, written anew here: whatever version ran the study, it suits the pages now.
    """
    from bench.trial.tracking import Tracking
    from bench.trial.view import view_path
    from studies.described import study_view

    found = Tracking(folder.root, study.name, store).set_view(study_view(study))
    if found is None:
        return [("MLflow", url)]
    experiment, parent = found
    pages = {"trials": view_path(experiment), "charts": view_path(experiment, charts=True)}
    pages["the study itself"] = f"/#/experiments/{experiment}/runs/{parent}"
    return [(f"MLflow, {study.name}, {what}", url.rstrip("/") + path) for what, path in pages.items()]


def _optuna_place(name: str, storage: str) -> str:
    """Return where optuna-dashboard shows the study; empty, its list of studies, where the database has none."""
    import optuna

    try:
        return f"studies/{optuna.storages.get_storage(storage).get_study_id_from_name(name)}"
    except KeyError:
        return ""


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
