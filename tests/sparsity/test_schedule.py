"""Schedules rise, hold and end where they say; the one rounding of counts."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import UsageError
from bench.sparsity.count import kept_count
from bench.sparsity.schedule import KINDS, Schedule


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    low, high = sorted((draw(st.floats(0, 1)), draw(st.floats(0, 1))))
    start = draw(st.integers(0, 20))
    return Schedule(
        kind=draw(st.sampled_from(KINDS)),
        final=high,
        initial=low,
        start=start,
        end=start + draw(st.integers(0, 60)),
        frequency=draw(st.integers(1, 80)),
        stages=draw(st.integers(1, 9)),
    )


@given(schedules())
def test_monotone_from_initial_to_exactly_final(schedule: Schedule) -> None:
    values = [schedule.sparsity_at(step) for step in range(schedule.end + 3)]
    assert all(a <= b for a, b in itertools.pairwise(values))
    assert all(schedule.initial <= value <= schedule.final for value in values)
    assert values[schedule.end :] == [schedule.final] * 3
    if schedule.start:
        assert values[schedule.start - 1] == schedule.initial


@given(schedules())
def test_masks_change_exactly_where_sparsity_does(schedule: Schedule) -> None:
    value = 0.0
    for step in range(schedule.end + 3):
        assert schedule.changes_at(step) == (schedule.sparsity_at(step) != value)
        value = schedule.sparsity_at(step)
        if step < schedule.end and schedule.kind not in ("one-shot", "staged") and schedule.changes_at(step) and step:
            assert (step - schedule.start) % schedule.frequency == 0


def test_shapes() -> None:
    def at(kind: str, step: int, **more: int) -> float:
        return Schedule(kind, 0.8, start=100, end=200, **more).sparsity_at(step)  # type: ignore[arg-type]

    assert [at("one-shot", step) for step in (99, 100, 500)] == [0.0, 0.8, 0.8]
    assert at("cubic", 150) == pytest.approx(0.8 * (1 - 0.5**3))
    assert at("progress5", 150) == pytest.approx(0.8 * 0.5**5)
    assert at("linear", 125) == pytest.approx(0.2)
    assert [round(at("staged", step), 6) for step in (100, 124, 125, 150, 175, 199, 200)] == [
        0, 0, 0.2, 0.4, 0.6, 0.6, 0.8,
    ]  # fmt: skip
    assert at("linear", 149, frequency=20) == pytest.approx(0.8 * 0.4)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "cube"}, "got 'cube', allowed: one-shot, offline, cubic"),
        ({"final": 1.2}, "initial <= final <= 1"),
        ({"final": float("nan")}, "initial <= final <= 1"),
        ({"initial": 0.9}, "initial <= final <= 1"),
        ({"start": 9, "end": 3}, "start <= end"),
        ({"start": -1}, "0 <= start"),
        ({"frequency": 0}, "at least 1"),
        ({"stages": 0}, "at least 1"),
    ],
)
def test_bad_values(values: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Schedule(**{"kind": "cubic", "final": 0.7, "end": 10} | values)  # type: ignore[arg-type]


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_kept_count_is_the_nearest(n: int, sparsity: float) -> None:
    kept = kept_count(n, sparsity)
    assert 0 <= kept <= n
    assert abs((n - kept) - sparsity * n) <= 0.5 + 1e-9
    assert kept == n - math.floor(sparsity * n + 0.5)


def test_kept_count_edges() -> None:
    assert kept_count(7, 0.0) == 7
    assert kept_count(7, 1e-12) == 7
    assert kept_count(7, 1.0) == 0
    assert kept_count(2, 0.25) == 1  # halves prune one more
    assert kept_count(0, 0.5) == 0
    for bad in (-0.1, 1.1, float("nan")):
        with pytest.raises(UsageError, match=r"within 0\.\.1"):
            kept_count(7, bad)
