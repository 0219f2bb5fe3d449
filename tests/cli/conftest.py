"""The command line as a user meets it: exit code, what stands on stdout, what stands on stderr."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.cli.main import main


@dataclass(frozen=True)
class Outcome:
    """What one command left behind."""

    code: int
    out: str
    err: str


Lanewise = Callable[..., Outcome]


@pytest.fixture
def lanewise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Lanewise:
    """Run `lanewise WORDS...` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LANEWISE_ISA", raising=False)

    def run(*words: object) -> Outcome:
        capfd.readouterr()
        with pytest.raises(SystemExit) as caught:
            main([str(word) for word in words])
        out, err = capfd.readouterr()
        return Outcome(int(caught.value.code or 0), out, err)

    return run
