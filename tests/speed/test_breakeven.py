"""The break-even: where a line crosses dense, and what is said outside of what was measured."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.measure.speed.breakeven import break_evens


def _rows(relative: dict[float, float], tile: str = "16x1") -> list[dict[str, object]]:
    return [
        {
            "hidden": 512,
            "sparsity": s,
            "tile": tile,
            "format": "f32",
            "isa": "avx2",
            "kernel": "lanewise",
            "us": 20.0 * t,
            "vs_best_dense": 1 / t,
            "best_dense": "numpy",
        }
        for s, t in relative.items()
    ]


def test_break_even_lies_where_the_line_crosses_dense() -> None:
    line = {s: 1.5 * (1 - s) + 0.1 for s in (0.25, 0.5, 0.9)}  # 1 at s = 0.4
    (found,) = break_evens(_rows(line))
    assert found.sparsity == pytest.approx(0.4)
    assert found.words == "0.40"
    assert (found.best_dense, found.dense_us) == ("numpy", pytest.approx(20.0))


def test_break_even_outside_the_grid_is_said_in_words() -> None:
    (never,) = break_evens(_rows({0.5: 3.0, 0.9: 1.2}))
    (always,) = break_evens(_rows({0.5: 0.6, 0.9: 0.1}))
    assert (never.sparsity, never.words) == (None, "not up to 0.90")
    assert (always.sparsity, always.words) == (None, "below 0.50")


def test_break_even_counts_from_the_last_loss() -> None:
    (found,) = break_evens(_rows({0.3: 0.9, 0.5: 1.1, 0.7: 0.7}))
    assert found.sparsity == pytest.approx(0.55)


def test_break_even_ignores_dense_rows_and_rows_without_a_dense_kernel() -> None:
    assert break_evens(_rows({0.0: 1.0}, tile="dense")) == []
    assert break_evens([row | {"vs_best_dense": None} for row in _rows({0.5: 1.0})]) == []


@given(st.dictionaries(st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9]), st.floats(0.05, 20.0), min_size=1))
def test_break_even_splits_losses_from_wins(relative: dict[float, float]) -> None:
    (found,) = break_evens(_rows(relative))
    if found.sparsity is not None:
        assert min(relative) <= found.sparsity <= max(relative)
        assert all(t < 1 + 1e-9 for s, t in relative.items() if s > found.sparsity)
