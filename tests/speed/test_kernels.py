"""Planning, peers, break-even and the rows of `lanewise kernels`. Nothing here asserts a time."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import UsageError
from bench.measure.speed import kernels, peers
from bench.measure.speed.breakeven import break_evens
from bench.measure.speed.kernels import COLUMNS, Selection, plan


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
        (Selection(tiles=("3x7",)), "tile 3x7"),
        (Selection(formats=("int3",)), "format int3"),
        (Selection(isas=("avx1024",)), "isa avx1024"),
        (Selection(hidden=(4,)), "hidden 4"),
        (Selection(sparsity=(70.0,)), "sparsity 70"),
        (Selection(sparsity=(float("nan"),)), "sparsity nan"),
        (Selection(tiles=("column",), isas=("scalar",)), "--list"),
    ],
)
def test_plan_refuses_what_it_cannot_time(selection: Selection, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plan(selection, TABLE, ISAS)


def test_fast_keeps_what_the_user_chose() -> None:
    reduced = kernels.fast(Selection(sparsity=(0.6,)), ISAS)
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


@pytest.mark.parametrize("peer", peers.ALL, ids=lambda peer: peer.name)
def test_peer_computes_the_product_and_counts_its_bytes(peer: peers.Peer) -> None:
    tile = peer.tile
    weight, _ = kernels.random_matrix(32, 0.0 if tile == "dense" else 0.8, tile)
    x = np.linspace(-1, 1, 32, dtype=np.float32)
    with peers.single_thread():
        product = peer.prepare(weight, x)
        assert np.allclose(product.result(), weight.astype(np.float64) @ x, atol=1e-4)
        assert peers.timed(product)(3) > 0
    nonzeros = int(np.count_nonzero(weight))
    assert product.read_bytes == (weight.nbytes if tile == "dense" else nonzeros * 8 + 4 * (len(weight) + 1))


def test_single_thread_restores_what_it_found() -> None:
    import torch

    before = torch.get_num_threads()
    with peers.single_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


def _rows(relative: dict[float, float], tile: str = "16x1") -> list[dict[str, object]]:
    return [
        {
            "hidden": 512,
            "sparsity": s,
            "tile": tile,
            "format": "f32",
            "isa": "avx2",
            "kernel": "lanewise",
            "vs_best_dense": 1 / t,
        }
        for s, t in relative.items()
    ]


def test_break_even_lies_where_the_line_crosses_dense() -> None:
    line = {s: 1.5 * (1 - s) + 0.1 for s in (0.25, 0.5, 0.9)}  # 1 at s = 0.4
    (found,) = break_evens(_rows(line))
    assert found.sparsity == pytest.approx(0.4)
    assert found.words == "0.40"


def test_break_even_outside_the_grid_is_said_in_words() -> None:
    (never,) = break_evens(_rows({0.5: 3.0, 0.9: 1.2}))
    (always,) = break_evens(_rows({0.5: 0.6, 0.9: 0.1}))
    assert (never.sparsity, never.words) == (None, "not up to 0.90")
    assert (always.sparsity, always.words) == (None, "below 0.50")


def test_break_even_counts_from_the_last_loss() -> None:
    (found,) = break_evens(_rows({0.3: 0.9, 0.5: 1.1, 0.7: 0.7}))
    assert found.sparsity == pytest.approx(0.55)


def test_break_even_ignores_dense_rows() -> None:
    assert break_evens(_rows({0.0: 1.0}, tile="dense")) == []


@given(st.dictionaries(st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9]), st.floats(0.05, 20.0), min_size=1))
def test_break_even_splits_losses_from_wins(relative: dict[float, float]) -> None:
    (found,) = break_evens(_rows(relative))
    if found.sparsity is not None:
        assert min(relative) <= found.sparsity <= max(relative)
        assert all(t < 1 + 1e-9 for s, t in relative.items() if s > found.sparsity)


def test_command_prints_one_flat_list_of_the_contract() -> None:
    from bench.cli.kernels import command

    options = ["--fast", "--hidden", "32,64", "--sparsity", "0.5", "--tile", "dense,16x1,1x1", "--json"]
    result = CliRunner().invoke(command, options, catch_exceptions=False)
    assert result.exit_code == 0
    rows = json.loads(result.stdout)
    assert {row["hidden"] for row in rows} == {32, 64}
    assert {"lanewise", "numpy", "torch", "scipy-csr", "torch-csr"} == {row["kernel"] for row in rows}
    for row in rows:
        assert tuple(row) == COLUMNS
        assert row["us"] > 0
        assert row["vs_limit"] == pytest.approx(row["limit_us"] / row["us"])
        assert row["verdict"] in {"stable", "unstable"}
        assert (row["isa"] is None) == (row["kernel"] != "lanewise")
    for hidden in (32, 64):
        dense = [row for row in rows if row["hidden"] == hidden and row["tile"] == "dense"]
        assert max(row["vs_best_dense"] for row in dense) == pytest.approx(1.0)


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
