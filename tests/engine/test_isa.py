"""Choosing an ISA, the table of kernels, and building without a compiler."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench.engine import MatVec, Vocoder, isas, resolve_isa, table
from bench.engine.isa import built_isas
from bench.engine.native import core
from bench.errors import LanewiseError, UsageError
from tests.engine.models import ABSENT_ISA


def test_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LANEWISE_ISA", raising=False)
    assert isas()[0] == "scalar"
    assert resolve_isa() == resolve_isa("auto") == isas()[-1]
    for isa in isas():
        assert resolve_isa(isa) == isa
        monkeypatch.setenv("LANEWISE_ISA", isa)
        assert resolve_isa() == isa
        assert MatVec(np.eye(4), "1x1").isa == isa
    assert resolve_isa("scalar") == "scalar"  # what is asked for goes before the environment


def test_isa_that_the_host_lacks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for build in (lambda: resolve_isa(ABSENT_ISA), lambda: Vocoder(tmp_path / "none.lwm", ABSENT_ISA)):
        with pytest.raises(UsageError, match=f"isa: this host cannot run '{ABSENT_ISA}'; it runs scalar"):
            build()
    monkeypatch.setenv("LANEWISE_ISA", "avx1024")
    with pytest.raises(UsageError, match="LANEWISE_ISA: this host cannot run 'avx1024'"):
        resolve_isa()
    with pytest.raises(LanewiseError, match="cannot run"):
        core.read_ns(np.zeros(64, np.uint8), 1, ABSENT_ISA)


def test_table() -> None:
    rows = table.rows()
    assert len(rows) == len({(row["tile"], row["format"], row["isa"]) for row in rows})
    assert {row["isa"] for row in rows} == set(built_isas())
    assert {row["isa"] for row in rows if row["runs_here"]} == set(isas())
    for row in rows:
        assert table.supports(str(row["tile"]), str(row["format"]), str(row["isa"]))
    assert table.tiles("f32") == table.tiles() == list(table.TILES)
    assert table.tiles("bf16") == ["dense", "16x1", "16x2", "row"]
    assert table.tiles("int8") == ["dense", "16x1", "4x4", "8x4", "16x4", "row"]
    assert not table.supports("8x1", "int8")
    assert not table.supports("16x4", "int8", "sse4.2")
    assert not table.supports("16x1", isa="avx1024")


def test_missing_compiler_is_one_clear_message(tmp_path: Path) -> None:
    environment = os.environ | {"CXX": "/nonexistent/c++"}
    source = Path(__file__).parents[2] / "bench" / "engine"
    command = [sys.executable, "-m", "cmake", "-S", str(source), "-B", str(tmp_path)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode != 0
    assert "Lanewise needs a C++20 compiler" in run.stderr


def test_documentation_lists_the_kernels_that_exist() -> None:
    page = (Path(__file__).parents[2] / "docs" / "kernels.md").read_text()
    for fmt in ("f32", "bf16", "int8"):
        cells = next(line for line in page.splitlines() if line.startswith(f"| {fmt} |")).split("|")
        tiles, named = ([word.strip() for word in cell.split(",")] for cell in cells[2:4])
        rows = [row for row in table.rows() if row["format"] == fmt]
        assert tiles == list(dict.fromkeys(row["tile"] for row in rows))
        arm = {"neon", "neon-dot"}  # a build has x86's or Arm's
        there = {str(row["isa"]) for row in rows}
        assert there == (set(named) & ({"scalar"} | arm) if there & arm else set(named) - arm)
