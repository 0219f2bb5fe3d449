"""The fault campaign in small: ten kills and every other fault, on PostgreSQL, mirrored in an MLflow server."""

import tempfile
from pathlib import Path

import pytest

from bench.errors import LanewiseError
from studies.faults.campaign import check, run_campaign
from studies.servers import _binary


def test_ten_kills() -> None:
    try:
        _binary("postgres")
        postgresql = True
    except LanewiseError:
        postgresql = False
    with tempfile.TemporaryDirectory(prefix="lanewise-") as name:
        Path(name).chmod(0o755)
        outcome = run_campaign(Path(name), seed=20, kills=10, postgresql=postgresql)
    check(outcome)
    assert outcome.kills == 10
    assert outcome.rounds >= 2, "a study of arms and one that a sampler draws"
    assert set(outcome.done) >= {"full disk", "read-only folder", "clock jump", "one more worker", "MLflow stop"}


def test_a_campaign_that_finds_something_says_so() -> None:
    from studies.faults.campaign import Outcome

    with pytest.raises(LanewiseError, match="seed 3: round-1: 27 of 28 trials"):
        check(Outcome(3, problems=["round-1: 27 of 28 trials; different: []"]))
