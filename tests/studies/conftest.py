"""A small study file to start from."""

from collections.abc import Callable
from pathlib import Path

import pytest

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
