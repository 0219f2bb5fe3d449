"""The host's roofs and the roofline's data and drawing."""

from pathlib import Path

import numpy as np
import pytest

from bench.engine import isas, peak
from bench.errors import LanewiseError
from bench.measure.speed import roofs
from bench.measure.speed.gate import GatedRun, Timing
from bench.measure.speed.kernels import ABOVE_ROOF, Row
from bench.measure.speed.roofline import draw_roofline, roofline_data
from bench.measure.speed.roofs import Roof

ROOFS = [Roof("L1d 24 KiB", None, 400.0), Roof("L2 512 KiB", None, 200.0), Roof("f32 peak", "f32", 250.0)]


def _row(kernel: str, tile: str, gops: float, hidden: int = 256, verdict: str = "stable") -> Row:
    known = {"hidden": hidden, "sparsity": 0.5, "tile": tile, "format": "f32", "isa": "avx2", "kernel": kernel}
    return known | {"gops": gops, "vs_limit": 0.5, "ops_per_byte": 0.48, "verdict": verdict}


ROWS = [
    _row("lanewise", "16x1", 90.0),
    _row("lanewise", "dense", 80.0, 512),
    _row("numpy", "dense", 40.0),
    _row("lanewise", "1x1", 500.0, verdict=ABOVE_ROOF),
]


@pytest.mark.parametrize("isa", isas())
def test_peak_counts_operations_in_proportion(isa: str) -> None:
    for fmt in roofs.FORMATS:
        ns, operations = peak(fmt, 200, isa)
        assert ns >= 0
        assert peak(fmt, 600, isa)[1] == 3 * operations
    assert peak("f32", 200, isa)[1] > 0


def test_peak_of_an_unknown_format_is_refused() -> None:
    with pytest.raises(LanewiseError, match="unknown number format"):
        peak("fp8", 1)


def test_host_has_reads_and_an_f32_peak() -> None:
    found = roofs.host_roofs()
    assert "f32" in {roof.format for roof in found}
    assert len({roof.candidate.name for roof in found}) == len(found)
    assert all(roof.amount > 0 and roof.candidate.run(2) > 0 for roof in found)


def test_fastest_way_is_the_roof() -> None:
    candidates = [
        roofs.RoofCandidate("L2", None, 4000, c) for name in "ab" for c in roofs.read_candidates(name, 4000)[-1:]
    ]
    us = dict(zip([c.candidate.name for c in candidates], (2.0, 1.0), strict=True))
    run = GatedRun({n: Timing(n, 1, us=t) for n, t in us.items()}, 4.0, 0, 0, "stable", "", "cpu", 0, 1.0)
    assert roofs.fastest(candidates, run) == [Roof("L2", None, 4.0)]


def test_data_are_tidy() -> None:
    points, limits = roofline_data(ROWS, [*ROOFS, Roof("L2 512 KiB", None, 220.0)])
    assert list(points["series"]) == ["16x1", "dense", "numpy", "1x1"]
    assert np.allclose(points["roof_gops"], points["gops"] / 0.5)
    assert dict(zip(limits["label"], limits["per_ns"], strict=True)) == {
        "L1d 24 KiB": 400.0,
        "L2 512 KiB": 220.0,
        "f32 peak": 250.0,
    }


@pytest.mark.parametrize("roofs_found", [ROOFS, []], ids=["roofs", "caches unknown"])
def test_figure_shows_series_roofs_and_flags(tmp_path: Path, roofs_found: list[Roof]) -> None:
    draw_roofline(*roofline_data(ROWS, roofs_found), "cpu", tmp_path / "roofline.svg")
    draw_roofline(*roofline_data(ROWS, roofs_found), "cpu", tmp_path / "again.svg")
    assert (tmp_path / "roofline.svg").read_bytes() == (tmp_path / "again.svg").read_bytes()
    drawn = (tmp_path / "roofline.svg").read_text()
    for words in ("W (768, 256)", "W (1536, 512)", "measuring error", *(roof.label for roof in roofs_found)):
        assert words in drawn
