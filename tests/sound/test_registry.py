"""What the metrics declare, and that declaring costs nothing."""

import subprocess
import sys

import pytest

from bench.errors import UsageError
from bench.measure.sound.registry import METRICS, SCORES, choose, chosen_keys

RECORD_KEYS = ["pesq_wb", "stoi", "estoi", "mcd_db", "logf0_rmse", "voicing_error", "mrstft", "visqol"]
RECORD_KEYS += ["si_sdr", "sdr", "dnsmos_sig", "dnsmos_bak", "dnsmos_ovr"]


def test_keys_are_those_of_records_in_order() -> None:
    assert list(SCORES) == RECORD_KEYS
    assert chosen_keys(None) == tuple(RECORD_KEYS)


def test_every_metric_declares_what_a_reader_needs() -> None:
    for metric in METRICS:
        assert metric.sample_rate_hz == 16_000
        assert len(metric.definition) > 20
        assert "not installed" not in metric.version
        assert all(score.low < score.high for score in metric.scores)
    assert [metric.name for metric in METRICS if not metric.needs_reference] == ["dnsmos"]
    lower_is_better = [key for key, score in SCORES.items() if not score.higher_is_better]
    assert lower_is_better == ["mcd_db", "logf0_rmse", "voicing_error", "mrstft"]


def test_choose_by_metric_or_key_in_registry_order() -> None:
    assert chosen_keys(["dnsmos", "stoi"]) == ("stoi", "dnsmos_sig", "dnsmos_bak", "dnsmos_ovr")
    assert chosen_keys(["dnsmos_ovr", "pesq_wb"]) == ("pesq_wb", "dnsmos_ovr")
    for wrong in (["pesq"], []):
        with pytest.raises(UsageError, match="pesq_wb, stoi"):
            choose(wrong)


def _loaded_after(code: str) -> set[str]:
    out = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return set(out.stdout.split())


def test_import_is_light() -> None:
    loaded = _loaded_after("import bench.measure.sound.pool, bench.measure.sound.references, bench.cli.score")
    assert not loaded & {"scipy", "pesq", "pystoi", "pyworld", "visqol", "onnxruntime", "torch", "soundfile", "rich"}


def test_scoring_imports_no_training_or_tracking() -> None:
    loaded = _loaded_after(
        "import numpy as np\n"
        "from bench.measure.sound.scoring import score_pair\n"
        "x = np.random.default_rng(0).standard_normal(16000) / 10\n"
        "score_pair(x, x)"
    )
    assert {"pesq", "pystoi", "pyworld", "visqol", "onnxruntime"} <= loaded
    assert not loaded & {"torch", "mlflow", "optuna", "pandas", "matplotlib"}
