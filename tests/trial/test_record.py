"""The record: round trip, refusal of what is not one, aggregation with failures visible."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import LanewiseError
from bench.trial.record import STATES, UTTERANCE_METRICS, Record, aggregate, empty_metrics
from tests.trial.records import example

numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53)
words = st.text(min_size=1, max_size=20)


@given(
    state=st.sampled_from(STATES),
    params=st.dictionaries(words, st.none() | st.booleans() | st.integers() | words, max_size=5),
    metrics=st.dictionaries(words, numbers, max_size=5),
    utterances=st.lists(st.fixed_dictionaries({"id": words, "nll_bits": numbers}), max_size=3),
)
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, **parts: Any) -> None:
    record = Record(study={"name": "s"}, trial={"number": 1}, reason="why", **parts)
    folder = tmp_path_factory.mktemp("trial")
    record.write(folder)
    assert Record.read(folder) == record
    assert [path.name for path in folder.iterdir()] == ["record.json"], "no temporary file is left"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[: len(text) // 2], "not valid JSON"),
        (lambda text: "[1, 2]", "not a trial's record"),
        (lambda text: '{"a": 1}', "not a trial's record"),
        (lambda text: text.replace('"schema": 3', '"schema": 99'), "schema 99, this version reads 3"),
        (lambda text: text.replace('"tags"', '"tagz"'), "unknown key 'tagz'; missing key 'tags'"),
        (lambda text: text.replace('"complete"', '"done"'), "expected one of complete"),
        (lambda text: json.dumps({**json.loads(text), "metrics": {"speed.rtf": float("nan")}}), "finite"),
        (lambda text: json.dumps({**json.loads(text), "metrics": {"speed.rtf": "fast"}}), "expected a number"),
        (lambda text: json.dumps({**json.loads(text), "utterances": [{}]}), "no id"),
    ],
)
def test_a_damaged_record_is_one_clear_error(tmp_path: Path, change: Any, message: str) -> None:
    path = example().write(tmp_path)
    path.write_text(change(path.read_text()))
    with pytest.raises(LanewiseError, match=message) as caught:
        Record.read(tmp_path)
    assert str(path) in str(caught.value)


def test_nan_is_never_written(tmp_path: Path) -> None:
    record = example()
    record.metrics["speed.rtf"] = float("nan")
    with pytest.raises(LanewiseError, match=r"speed\.rtf"):
        record.write(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_state_other_than_complete_needs_a_reason(tmp_path: Path) -> None:
    record = example(state="failed")
    record.reason = None
    with pytest.raises(LanewiseError, match="without a reason"):
        record.write(tmp_path)


def test_aggregate_counts_failures_and_says_why() -> None:
    rows: list[dict[str, Any]] = [{"id": str(i), "nll_bits": 2.0 + i, "pesq_wb": None, "reasons": {}} for i in range(4)]
    rows[1]["nll_bits"] = None
    for row in rows:
        row["reasons"] = {"pesq_wb": "no utterance detected"}
    metrics, reasons = aggregate(rows, seed=1)
    assert metrics["quality.nll_bits"] == pytest.approx((2 + 4 + 5) / 3)
    assert metrics["quality.nll_bits.n"] == 3
    assert metrics["quality.nll_bits.n_failed"] == 1
    half = 4.302653 * np.std([2, 4, 5], ddof=1) / np.sqrt(3)  # Student's t: three scores are too few for a bootstrap
    assert metrics["quality.nll_bits.ci_low"] == pytest.approx((2 + 4 + 5) / 3 - half, abs=1e-5)
    assert metrics["quality.nll_bits.ci_high"] == pytest.approx((2 + 4 + 5) / 3 + half, abs=1e-5)
    assert metrics["quality.pesq_wb"] is None
    assert metrics["quality.pesq_wb.n_failed"] == 4
    assert reasons["quality.pesq_wb"] == "no utterance detected"
    assert set(metrics) <= set(empty_metrics())
    assert {f"quality.{name}" for name in UTTERANCE_METRICS} <= set(metrics)


def test_one_utterance_has_no_interval() -> None:
    metrics, _ = aggregate([{"id": "a", "stoi": 0.5}], seed=0)
    assert (metrics["quality.stoi"], metrics["quality.stoi.ci_low"]) == (0.5, None)
