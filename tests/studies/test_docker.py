"""What docker/ promises: valid files, nothing open by default, and commands that run (natively, on real servers)."""

import os
import shlex
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from studies.cli import worker
from studies.servers import Postgres, free_port

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker" / "compose.yaml"


def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())["services"]
    return found


def compose() -> list[str] | None:
    """Return the compose tool's command, if there is one."""
    plugin = shutil.which("docker")
    if plugin and subprocess.run([plugin, "compose", "version"], capture_output=True, check=False).returncode == 0:
        return [plugin, "compose"]
    return ["docker-compose"] if shutil.which("docker-compose") else None


def test_compose_accepts_the_file_and_insists_on_a_password() -> None:
    tool = compose()
    if tool is None:
        pytest.skip("no compose tool is installed")
    command = [*tool, "-f", str(COMPOSE), "config"]
    environment = {key: value for key, value in os.environ.items() if key != "POSTGRES_PASSWORD"}
    refused = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    assert "POSTGRES_PASSWORD" in refused.stderr
    accepted = subprocess.run(
        command, env=environment | {"POSTGRES_PASSWORD": "s3cret"}, capture_output=True, text=True, check=False
    )
    assert accepted.returncode == 0, accepted.stderr
    assert set(yaml.safe_load(accepted.stdout)["services"]) >= {"postgresql", "mlflow", "dashboard"}


def test_nothing_is_open_or_unwatched() -> None:
    for name, service in services().items():
        for port in service.get("ports", []):
            assert port.startswith("${LANEWISE_BIND:-127.0.0.1}:"), name
        if name != "sweep":
            assert service["healthcheck"]["test"], name
    text = COMPOSE.read_text()
    assert "POSTGRES_PASSWORD:-" not in text, "no default password"
    assert text.count("${POSTGRES_PASSWORD:?") == 3
    urls = [
        str(service.get("environment", {}).get(key, ""))
        for service in services().values()
        for key in ("LANEWISE_STORAGE", "MLFLOW_BACKEND_STORE_URI")
    ]
    databases = {url.rpartition("/")[2] for url in urls if url}
    assert databases == {"optuna", "mlflow"}


def test_every_service_runs_natively(postgres: Postgres, tmp_path: Path) -> None:
    database = f"optuna{free_port()}"
    postgres.add(database)
    backend = f"mlflow{free_port()}"
    postgres.add(backend)
    ports = {"5000": str(free_port()), "8080": str(free_port())}
    changes = {"0.0.0.0": "127.0.0.1", "/home/lanewise/artifacts": str(tmp_path / "artifacts"), **ports}
    stores = {
        "LANEWISE_STORAGE": postgres.url(database),
        "MLFLOW_BACKEND_STORE_URI": postgres.url(backend),
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{ports['5000']}",
    }
    given = {**stores, "LANEWISE_REHEARSAL": "1", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    launcher = tmp_path / "bin" / "lanewise"
    launcher.parent.mkdir()
    launcher.write_text(f"#!/bin/sh\nexec {sys.executable} -c 'from bench.cli.main import main; main()' \"$@\"\n")
    launcher.chmod(0o755)
    path = os.pathsep.join([str(launcher.parent), str(Path(sys.executable).parent), os.environ["PATH"]])
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "tiny.yaml").write_text(
        "name: tiny\nbase: {model.init: dense}\narms: {dense-continued: {}, a: {prune.kind: magnitude, "
        "prune.tile: 16x1, prune.sparsity: 0.7}}\nbaselines: false\n"
    )

    def run(name: str, *words: str) -> "subprocess.Popen[bytes]":
        service = services()[name]
        command = service.get("command", [])
        command = shlex.split(command.replace("${LANEWISE_HOSTS:-}", "")) if isinstance(command, str) else command
        words = tuple(
            word.replace("$$", "$") for word in (*service.get("entrypoint", ["lanewise"]), *(words or command))
        )
        for old, new in changes.items():
            words = tuple(word.replace(old, new) for word in words)
        fixed = {key: value for key, value in service.get("environment", {}).items() if "$" not in value}
        with (tmp_path / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                words, env=os.environ | fixed | given | {"PATH": path}, cwd=tmp_path, stdout=log, stderr=log
            )

    servers = [run("mlflow"), run("dashboard")]
    try:
        _answers(f"http://127.0.0.1:{ports['5000']}/health", servers[0], tmp_path / "mlflow.log")
        assert run("sweep", "run", "studies/tiny.yaml").wait(120) == 0, (tmp_path / "sweep.log").read_text()
        assert run("worker").wait(60) == 0, (tmp_path / "worker.log").read_text()
        assert run("sweep").wait(60) == 0
        assert "tiny: 2 trials: 2 complete" in (tmp_path / "sweep.log").read_text()
        _answers(f"http://127.0.0.1:{ports['8080']}/dashboard", servers[1], tmp_path / "dashboard.log")
        shown = urllib.request.urlopen(f"http://127.0.0.1:{ports['8080']}/api/studies", timeout=20).read()
        assert b'"tiny"' in shown
    finally:
        for server in servers:
            server.terminate()
        for server in servers:
            server.wait(30)
    for log in tmp_path.glob("*.log"):
        assert postgres.password.encode() not in log.read_bytes(), f"{log.name} shows the password"


def test_the_kubernetes_job_runs_the_worker_command() -> None:
    documents = list(yaml.safe_load_all((ROOT / "docker" / "kubernetes.yaml").read_text()))
    (job,) = (document for document in documents if document["kind"] == "Job")
    assert job["spec"]["completionMode"] == "Indexed"
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["args"][0] == "worker"
    parsed = worker.make_context("worker", list(container["args"][1:]))
    assert parsed.params["timing"] == "later"
    for variable in container["env"]:
        secret = variable["name"] in ("LANEWISE_STORAGE", "MLFLOW_TRACKING_URI")
        assert ("valueFrom" in variable) == secret
    assert CliRunner().invoke(worker, ["--help"]).exit_code == 0


def _answers(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 90
    while True:
        try:
            assert urllib.request.urlopen(url, timeout=5).status == 200
            return
        except (urllib.error.URLError, OSError):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.3)
