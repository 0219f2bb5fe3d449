"""`sweep status --watch`: what it shows of rows in every state, and when it ends."""

from collections.abc import Iterator
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studies.rows import Row
from studies.watch import finished, front, snapshot, watch

STUDY: Any = SimpleNamespace(
    name="tiny", objectives=("valid.loss", "speed.vs_dense"), directions=("minimize", "maximize")
)


def row(number: int, state: str, values: tuple[float, ...] | None = None, **more: Any) -> Row:
    settings: dict[str, Any] = {
        "trial_id": number, "number": number, "arm": f"arm{number}", "state": state, "values": values, "reason": None,
        "seconds": 60.0 if state == "complete" else None, "duplicate_of": None, "config_hash": None,
        "provenance": None, "point": {}, "owner": None, "step": None, "needs": None, "deaths": 0, "death_step": 0,
    }  # fmt: skip
    return Row(**settings | more)


def test_progress_end_and_front() -> None:
    rows = [
        row(0, "complete", (3.0, 1.0)), row(1, "complete", (3.1, 2.0)), row(2, "complete", (3.2, 1.5)),
        row(3, "failed"), row(4, "running", step=120), row(5, "waiting"), row(6, "waiting"), row(7, "interrupted"),
    ]  # fmt: skip
    text = "\n".join(snapshot(STUDY, rows, None))
    assert "[###############...............] 4 of 8 trials" in text
    assert "3 complete, 1 failed, 1 running, 2 waiting, 1 interrupted" in text
    assert "runs: trial 4, arm4, step 120" in text
    assert "estimated end: in 0:04:00" in text  # three wait and half of one: 3.5 minutes, to the minute
    assert "front so far, 2 of 3 complete trials" in text
    assert "arm2" not in text.split("front so far")[1]
    assert "estimated end: Mon 12:04" in "\n".join(snapshot(STUDY, rows, datetime(2026, 11, 23, 12, 0)))


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([row(0, "waiting")], "1 trials wait and none runs: lanewise sweep resume"),
        ([row(0, "running"), row(1, "waiting")], "known once a trial is complete"),
        ([row(0, "complete", (3.0, 1.0))], "done"),
        ([], "done"),
    ],
)
def test_the_end_is_said_only_where_it_is_known(rows: list[Row], says: str) -> None:
    assert says in snapshot(STUDY, rows, None)[1]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=8))
def test_front_is_that_of_its_definition(points: list[tuple[int, int]]) -> None:
    rows = [row(i, "complete", (float(a), float(b))) for i, (a, b) in enumerate(points)]
    expected = {
        i for i, (a, b) in enumerate(points)
        if not any((c <= a and d >= b) and (c < a or d > b) for c, d in points)
    }  # fmt: skip
    assert {found.number for found in front(STUDY, rows)} == expected


@pytest.mark.parametrize(("last", "code"), [("complete", 0), ("failed", 3)])
def test_it_ends_with_the_study(last: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    looks: Iterator[list[Row]] = iter([[row(0, "running")], [row(0, "running")], [row(0, last, (3.0, 1.0))]])
    assert watch(STUDY, lambda: next(looks), 0.0) == code
    out = capsys.readouterr().out
    assert out.count("1 running") == 1, "said once, not at every look"
    assert finished([row(0, last)])


def test_ctrl_c_stops_the_watching_alone() -> None:
    def interrupted() -> list[Row]:
        raise KeyboardInterrupt

    assert watch(STUDY, interrupted, 0.0) == 0
