"""Arm's compiler on exported enhancers: what it credits, and what is said where it is missing or fails."""

import importlib.util
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.errors import LanewiseError
from bench.measure import vela
from bench.models.enhancer import Enhancer, EnhancerArch, matrices
from bench.models.quantised import Quantisation, QuantisedEnhancer, quantise

installed = pytest.mark.skipif(importlib.util.find_spec("ethosu") is None, reason="ethos-u-vela is not installed")


def network(hidden: int, density: float = 1.0) -> QuantisedEnhancer:
    """A random network with single weights pruned at random."""
    torch.manual_seed(0)
    model = Enhancer(EnhancerArch(hidden=hidden, fc=32, mels=64))
    with torch.no_grad():
        for key, _ in matrices(model.arch).values():
            weights = model.get_parameter(key)
            weights.mul_(torch.rand_like(weights) < density)
    return quantise(model, Quantisation())


@installed
def test_zeros_shorten_reading_and_not_multiplying() -> None:
    dense, sparse, small = (vela.vela_estimate(model) for model in (network(96), network(96, 0.1), network(32)))
    count = sum(integers.size for integers, _ in network(96).stored().values())
    assert 0.8 * count < dense.weight_bytes < 1.1 * count
    assert sparse.weight_bytes < 0.25 * dense.weight_bytes
    assert sparse.flash_us < 0.5 * dense.flash_us
    assert sparse.sram_us == pytest.approx(dense.sram_us, rel=0.05)
    assert small.sram_us < 0.4 * dense.sram_us
    for found in (dense, sparse, small):
        assert found.flash_us == pytest.approx(found.flash_cycles / 500)
        assert found.sram_us == pytest.approx(found.sram_cycles / 500)
        assert found.sram_us <= found.flash_us


def test_where_it_is_missing_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        LanewiseError, match=r"ethos-u-vela is missing; install it with: pip install 'lanewise\[vela\]'"
    ):
        vela.vela_estimate(network(16))


def test_a_compiler_that_fails_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(words: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(words, 1, "", "Traceback\nValueError: no such accelerator\n")

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: True)
    monkeypatch.setattr(subprocess, "run", fails)
    with pytest.raises(LanewiseError, match=r"failed \(exit code 1\) on Shared_Sram; it said: ValueError: no such acc"):
        vela.vela_estimate(network(16))


def test_weights_left_to_the_cpu_are_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    def leaves_some(words: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        out = Path(words[words.index("--output-dir") + 1])
        out.mkdir()
        (out / f"frame_summary_{vela.SYSTEM}.csv").write_text("total_original_weights\n100\n")
        return subprocess.CompletedProcess(words, 0, "", "")

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: True)
    monkeypatch.setattr(subprocess, "run", leaves_some)
    with pytest.raises(LanewiseError, match="took 100 of the model's"):
        vela.vela_estimate(network(16))
