"""Planning, matrices and the rows of `lanewise kernels`. Nothing here asserts a time."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from bench.errors import LanewiseError, UsageError
from bench.measure.speed import kernels, peers
from bench.measure.speed.gate import Candidate, GatedRun, Timing
from bench.measure.speed.kernels import ABOVE_ROOF, COLUMNS, Row
from bench.measure.speed.plan import Case, Selection, fast_selection, plan


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANEWISE_CACHE", str(tmp_path))
    monkeypatch.setattr("bench.measure.speed.clock._STATE_S", 0.1)


ISAS = ["scalar", "avx2", "avx512"]
TABLE = [
    {"tile": tile, "format": "f32", "isa": isa}
    for tile in ("dense", "1x1", "16x1", "column")
    for isa in ISAS
    if (tile, isa) != ("column", "scalar")
]


def test_plan_without_filters_is_everything_that_exists() -> None:
    cases = plan(Selection(hidden=(256,), sparsity=(0.5, 0.9)), TABLE, ISAS)
    assert len(cases) == 3 * 1 + 3 * 2 * 2 + 2 * 2
    assert all(case.sparsity == 0.0 for case in cases if case.tile == "dense")


def test_plan_applies_every_filter() -> None:
    chosen = Selection(hidden=(512, 1024), sparsity=(0.7,), tiles=("16x1", "1x1"), formats=("f32",), isas=("avx2",))
    cases = plan(chosen, TABLE, ISAS)
    assert {(c.hidden, c.sparsity, c.tile, c.format, c.isa) for c in cases} == {
        (h, 0.7, t, "f32", "avx2") for h in (512, 1024) for t in ("16x1", "1x1")
    }


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (Selection(tiles=("3by7",)), "tile 3by7"),
        (Selection(tiles=("row",)), "tile row"),
        (Selection(formats=("int3",)), "format int3"),
        (Selection(isas=("avx1024",)), "isa avx1024"),
        (Selection(hidden=(4,)), "hidden 4"),
        (Selection(sparsity=(70.0,)), "sparsity 70"),
        (Selection(sparsity=(float("nan"),)), "sparsity nan"),
        (Selection(tiles=("column",), isas=("scalar",)), "--list"),
        (Selection(tiles=("dense", "column"), isas=("scalar",)), "tile column: no kernel"),
        (Selection(tiles=("column",), isas=("scalar", "avx2")), "isa scalar: no kernel"),
    ],
)
def test_plan_refuses_what_it_cannot_time(selection: Selection, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plan(selection, TABLE, ISAS)


def test_fast_keeps_what_the_user_chose() -> None:
    reduced = fast_selection(Selection(sparsity=(0.6,)), ISAS)
    assert reduced.sparsity == (0.6,)
    assert reduced.isas == ("avx512",)
    assert len(reduced.hidden) < len(Selection().hidden)


@pytest.mark.parametrize("tile", ["1x1", "16x1", "1x8", "gate-column", "column"])
@pytest.mark.parametrize("hidden", [40, 64])
def test_random_matrix_has_the_asked_count_and_whole_tiles(tile: str, hidden: int) -> None:
    import torch

    from bench.sparsity.count import kept_count
    from bench.sparsity.tile import Tile

    weight, mask = kernels.random_matrix(hidden, 0.7, tile)
    assert mask is not None
    grid = Tile.parse(tile).grid((3 * hidden, hidden), 3)
    kept = grid.reduce(torch.from_numpy(mask))  # refuses a mask that cuts a tile
    assert int(kept.sum()) == kept_count(grid.n_groups, 0.7)
    assert np.array_equal(weight != 0, mask)


def _run(us: dict[str, float]) -> GatedRun:
    timings = {name: Timing(name, 1, us=value, verdict="stable") for name, value in us.items()}
    return GatedRun(timings, 4.0, 0, 0, "stable", "", "cpu", 0, 1.0)


def _entry(name: str, tile: str, fmt: str = "f32") -> kernels._Entry:
    row = {"hidden": 256, "sparsity": 0.5, "tile": tile, "format": fmt, "isa": "avx2", "kernel": name}
    work = [Candidate(n, lambda times: 1.0 * times) for n in (name, f"wide {name}", f"narrow {name}")]
    return kernels._Entry(row, work[0], (work[1], work[2]), operations=1000, read_bytes=2000)


def _filled(us: dict[str, float], peak: float = 100.0) -> Row:
    entries = [_entry("a", "16x1"), _entry("b", "dense"), _entry("c", "dense"), _entry("d", "dense", "int8")]
    return kernels._filled(entries[0], entries, _run({"b": 5.0, "c": 4.0, "d": 1.0} | us), {"f32": peak})


def test_row_compares_with_the_fastest_read_and_the_best_dense_of_its_format() -> None:
    row = _filled({"a": 2.0, "wide a": 1.5, "narrow a": 1.2})
    assert row["limit_us"] == 1.2
    assert row["vs_limit"] == pytest.approx(0.6)
    assert (row["vs_best_dense"], row["best_dense"]) == (2.0, "c avx2")
    assert (row["gops"], row["ops_per_byte"]) == (0.5, 0.5)
    assert row["verdict"] == "stable"


@pytest.mark.parametrize(
    ("us", "peak", "verdict"),
    [(2.0, 100.0, "stable"), (1.96, 100.0, "stable"), (1.8, 100.0, ABOVE_ROOF), (4.0, 0.2, ABOVE_ROOF)],
)
def test_figure_above_its_roof_is_flagged(us: float, peak: float, verdict: str) -> None:
    assert _filled({"a": us, "wide a": 2.5, "narrow a": 2.0}, peak)["verdict"] == verdict


def test_doubt_about_the_limit_is_doubt_about_the_row() -> None:
    entry = _entry("a", "16x1")
    run = _run({"a": 2.0, "wide a": 1.5, "narrow a": 1.2})
    run.timings["narrow a"].verdict = "unstable"
    row = kernels._filled(entry, [entry], run, {})
    assert row["verdict"] == "unstable"
    assert (row["vs_best_dense"], row["best_dense"]) == (None, None)


def test_wrong_kernel_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.engine.MatVec.run", lambda self, x: np.zeros(96, np.float32))
    with pytest.raises(LanewiseError, match="wrong by"):
        kernels._engine_entry(Case(32, 0.5, "16x1", "f32", "scalar"))


def test_wrong_peer_is_left_out_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    wrong = peers.Product(lambda: None, lambda: np.zeros(96, np.float32), 1)
    liar = peers.Peer("liar", "f32", peers.is_dense, lambda: True, lambda weight, x, block: wrong)
    assert kernels._peer_entries([Case(32, 0.0, "dense", "f32", "scalar")], [liar], {}, shown=True) == []
    assert "liar f32 dense" in capsys.readouterr().err


def test_command_prints_one_flat_list_of_the_contract() -> None:
    from bench.cli.kernels import command

    options = ["--fast", "--hidden", "32,64", "--sparsity", "0.5", "--tile", "dense,16x1,1x1", "--format", "f32"]
    result = CliRunner().invoke(command, [*options, "--json"], catch_exceptions=False)
    assert result.exit_code == 0
    rows = json.loads(result.stdout)
    assert {row["hidden"] for row in rows} == {32, 64}
    there = {peer.name for peer in peers.installed() if peer.format == "f32" and not peer.stores("4x4")}
    assert {row["kernel"] for row in rows} == {"lanewise"} | there
    for row in rows:
        assert tuple(row) == COLUMNS
        assert row["us"] > 0
        assert row["vs_limit"] == pytest.approx(row["limit_us"] / row["us"])
        assert row["verdict"] in {"stable", "unstable", ABOVE_ROOF}
        assert (row["isa"] is None) == (row["kernel"] != "lanewise") == (row["call_us"] is not None)
    for hidden in (32, 64):
        dense = [row for row in rows if row["hidden"] == hidden and row["tile"] == "dense"]
        assert max(row["vs_best_dense"] for row in dense) == pytest.approx(1.0)
        fastest = min(dense, key=lambda row: row["us"])
        assert f"{fastest['kernel']} {fastest['isa'] or ''}".strip() == fastest["best_dense"]


def test_command_prints_tables_and_draws(tmp_path: Path) -> None:
    from bench.cli.kernels import command

    figure = tmp_path / "figures" / "roofline.svg"
    options = ["--fast", "--hidden", "32", "--sparsity", "0.5,0.9", "--tile", "dense,16x1", "--format", "f32"]
    result = CliRunner().invoke(command, [*options, "--no-peers", "--roofline", str(figure)], catch_exceptions=False)
    assert "W (96, 32): us" in result.stdout
    assert "break-even" in result.stdout
    assert "one core reads (GB/s)" in result.stdout
    assert figure.read_text().startswith("<?xml")


def test_command_refuses_a_figure_of_unknown_kind_before_timing() -> None:
    from bench.cli.kernels import command

    result = CliRunner().invoke(command, ["--fast", "--roofline", "roof.pdf"])
    assert isinstance(result.exception, UsageError)
    assert "roof.pdf" in str(result.exception)


def test_command_shows_only_the_tiles_asked_for() -> None:
    from bench.cli.kernels import command

    options = [
        "--fast",
        "--hidden",
        "32",
        "--sparsity",
        "0.5",
        "--tile",
        "16x1",
        "--format",
        "f32",
        "--no-peers",
        "--json",
    ]
    rows = json.loads(CliRunner().invoke(command, options, catch_exceptions=False).stdout)
    assert [row["tile"] for row in rows] == ["16x1"]


@pytest.mark.parametrize("options", [["--hidden", "a,b"], ["--sparsity", "x"]])
def test_command_refuses_what_is_no_list(options: list[str]) -> None:
    from bench.cli.kernels import command

    assert CliRunner().invoke(command, options).exit_code == 2
