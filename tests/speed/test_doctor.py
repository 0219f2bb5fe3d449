"""`lanewise doctor`: what it says, and its exit code when something is missing."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.cli import doctor
from bench.errors import LanewiseError


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANEWISE_CACHE", str(tmp_path))
    monkeypatch.setattr("bench.measure.speed.clock._STATE_S", 0.1)


def test_healthy_host_is_ok_and_json() -> None:
    result = CliRunner().invoke(doctor.command, ["--json", "--no-clock"], catch_exceptions=False)
    found = json.loads(result.stdout)
    assert result.exit_code == 0
    assert found["ok"] is True
    assert set(found["isas"]["runnable"]) <= set(found["isas"]["compiled"])
    assert found["isas"]["default"] in found["isas"]["runnable"]


def test_clock_is_examined_through_the_gate() -> None:
    seen = doctor.clock()
    assert seen["verdict"] in {"stable", "unstable"}
    assert (seen["why"] == "") == (seen["verdict"] == "stable")
    assert 0 <= seen["rejected_share"] <= 1
    assert 0.3 < seen["nominal_ghz"] < 10


def test_missing_required_part_fails_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(doctor._REQUIRED, "no_such_module_here", "no-such-package")
    result = CliRunner().invoke(doctor.command, ["--no-clock"])
    assert isinstance(result.exception, LanewiseError)
    assert result.exception.exit_code == 1
    assert "pip install no-such-package" in str(result.exception)
    assert "MISSING  no-such-package" in result.stdout


def test_missing_optional_part_is_told_and_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(doctor._OPTIONAL, "no_such_module_here", ("nothing", "pip install nothing"))
    result = CliRunner().invoke(doctor.command, ["--no-clock"], catch_exceptions=False)
    assert result.exit_code == 0
    assert "pip install nothing" in result.stdout


def test_compiler_is_looked_for_on_the_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    check = doctor.compiler()
    assert not check.ok
    assert not check.required
    assert "g++" in check.remedy
