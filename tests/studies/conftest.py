"""A small study file to start from."""

import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.errors import LanewiseError
from studies.servers import Postgres

BASE = """\
name: tiny
base:
  model: {init: dense, hidden: 64}
  train: {steps: 20, dense_steps: 20}
"""


@pytest.fixture
def study_file(tmp_path: Path) -> Callable[[str], Path]:
    """Write a study file of `BASE` and the given lines; return its path."""

    def write(lines: str, base: str = BASE) -> Path:
        path = tmp_path / "tiny.yaml"
        path.write_text(base + lines)
        return path

    return write


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server of its own, with a password and a free port."""
    with tempfile.TemporaryDirectory(prefix="lanewise-pg-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # it runs as another user when we are root
        try:
            server = Postgres(folder / "cluster")
            server.create()
        except LanewiseError as error:
            pytest.skip(str(error))
        yield server
        server.stop()


@pytest.fixture
def database(postgres: Postgres) -> str:
    """The URL of an empty database."""
    name = f"t{uuid.uuid4().hex[:12]}"
    postgres.add(name)
    return postgres.url(name)
