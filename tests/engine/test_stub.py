"""The committed type stub of the compiled module is the one it has, so that a changed interface shows in review."""

import ast
from pathlib import Path

from nanobind.stubgen import StubGen

from bench.engine import _core


def test_stub_is_current() -> None:
    generator = StubGen(_core)
    generator.put(_core)
    committed = (Path(__file__).parents[2] / "bench" / "engine" / "_core.pyi").read_text()
    assert ast.dump(ast.parse(generator.get())) == ast.dump(ast.parse(committed)), (
        "write it anew: python -m nanobind.stubgen -m bench.engine._core -o bench/engine/_core.pyi"
    )
