"""A whole trial with skip-update gates: trained, pruned beside them, packed, judged as the network that it is."""

import json
from pathlib import Path

import pytest

from bench.engine import Vocoder
from bench.trial.record import Record
from bench.trial.run import run_trial
from tests.trial.conftest import tiny_config

SKIP = ("reg.kind=skip_update", "reg.tile=null", "reg.options.cost=10", "prune.tile=8x1", "train.lr=0.1")
FEW = ("train.validate_every=12", "measure.valid_clips=1", "measure.test_clips=1")  # torch steps through whole clips


def test_a_trial_packs_and_judges_the_gates(tiny_corpus: Path, tmp_path: Path) -> None:
    config = tiny_config(tiny_corpus, *SKIP, *FEW)
    record = run_trial(config, tmp_path / "trial", study="tiny", number=0, cache=tmp_path / "cache")
    assert record == Record.read(tmp_path / "trial")
    assert record.state == "complete"
    assert record.trial["name"] == "t0000-skip-update-8x1-s70-seed0"
    assert record.params["reg.options"] == "cost=10"
    assert record.metrics["sparsity.achieved"] == pytest.approx(0.7, abs=0.01)
    (facts,) = (tmp_path / "cache").rglob("facts.json")
    shares = json.loads(facts.read_text())["facts"]["reg"]["updates"]
    assert (len(shares), shares[0]) == (12, 1.0)
    assert shares[-1] < 0.9
    packed = Vocoder(tmp_path / "trial" / "model.lwm")
    assert packed.skips
    assert packed.skipped(packed.timing_mel(10)) > 0.05
    assert record.metrics["quality.nll_bits"] == pytest.approx(record.metrics["valid.loss"], abs=2.0)
