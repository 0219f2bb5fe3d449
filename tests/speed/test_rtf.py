"""Real-time factor of packed models: what is compared with what, and the contract. Nothing here asserts a time."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from bench.engine import Vocoder
from bench.engine.pack import pack_vocoder
from bench.engine.vocoder import read_header
from bench.errors import LanewiseError, UsageError
from bench.measure.speed.gate import GateRules
from bench.measure.speed.kernels import random_matrix
from bench.measure.speed.like import Like
from bench.measure.speed.rtf import RtfResult, measure_rtf, median_parts, pack_twin, random_tensors, scale_parts

DIMS = {
    "bands": 4, "hidden": 32, "embed": 8, "cond": 16, "head": 16, "mixtures": 2, "mels": 20,
    "conv1_taps": 5, "conv2_taps": 3, "pqmf_taps": 64,
}  # fmt: skip
RULES = GateRules(minimum=3, maximum=5, sample_us=50, patience_s=2)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANEWISE_CACHE", str(tmp_path))
    monkeypatch.setattr("bench.measure.speed.clock._STATE_S", 0.1)


def pack(path: Path, sparse: bool, hidden: int = 32, delta: float | None = None) -> Path:
    tensors: dict[str, Any] = dict(random_tensors(DIMS | {"hidden": hidden}))
    tiles, masks = {}, {}
    if sparse:
        _, mask = random_matrix(hidden, 0.7, "8x1")
        assert mask is not None
        tensors["gru.w_hh"] = np.where(mask, tensors["gru.w_hh"], 0)
        tiles, masks = {"gru.w_hh": "8x1"}, {"gru.w_hh": mask}
    pack_vocoder(path, {"hop": 160}, tensors, tiles, masks, delta=delta)
    return path


@pytest.fixture
def sparse(tmp_path: Path) -> Path:
    return pack(tmp_path / "sparse.lwm", sparse=True)


def check(result: RtfResult) -> None:
    assert result.rtf == pytest.approx(result.us_per_step / 250)
    assert result.vs_dense == pytest.approx(result.rtf_dense / result.rtf)
    assert result.vs_limit == pytest.approx(result.limit_us / result.kernel_us)
    assert list(result.parts_us) == ["conditioning", "gru", "heads", "sampling", "synthesis"]
    assert sum(result.parts_us.values()) == pytest.approx(result.us_per_step)
    assert set(result.samples_us) == {"model", "dense", "kernel", "limit"}
    assert result.verdict in {"stable", "unstable"}
    assert ("model:" in result.why or "dense:" in result.why) == (result.verdict == "unstable")
    assert result.samples == len(result.samples_us["model"])
    json.dumps(result.to_json(), allow_nan=False)
    assert {"isa", "cpu", "verdict", "nominal_ghz", "rejected", "samples_us", "parts_us", "pinned"} <= set(
        result.timing()
    )


def test_sparse_model_is_compared_with_a_twin(sparse: Path) -> None:
    result = measure_rtf(sparse, isa="scalar", rules=RULES)
    check(result)
    assert (result.dense, result.isa) == ("twin", "scalar")


def test_dense_model_is_compared_with_itself(tmp_path: Path) -> None:
    result = measure_rtf(pack(tmp_path / "dense.lwm", sparse=False), rules=RULES)
    check(result)
    assert result.dense == "itself"


def test_a_smaller_model_is_compared_with_what_it_was_pruned_from(tmp_path: Path) -> None:
    result = measure_rtf(pack(tmp_path / "units.lwm", sparse=False), rules=RULES, hidden=128)
    assert result.dense == "twin"


def test_a_delta_network_is_compared_with_a_plain_twin(tmp_path: Path) -> None:
    assert measure_rtf(pack(tmp_path / "delta.lwm", sparse=False, delta=0.1), rules=RULES).dense == "twin"


def test_given_dense_model_is_used(sparse: Path, tmp_path: Path) -> None:
    result = measure_rtf(sparse, pack(tmp_path / "dense.lwm", sparse=False), rules=RULES)
    check(result)
    assert result.dense == "given"


def test_rate_of_the_model_counts(tmp_path: Path) -> None:
    path = tmp_path / "fast.lwm"
    pack_vocoder(path, {"hop": 160, "sample_rate_hz": 24000}, random_tensors(DIMS))
    result = measure_rtf(path, rules=RULES)
    assert result.rtf == pytest.approx(result.us_per_step * 1e-6 * 24000 / DIMS["bands"])


def test_wrong_dense_model_is_refused(sparse: Path, tmp_path: Path) -> None:
    with pytest.raises(LanewiseError, match="expected a dense packed model"):
        measure_rtf(sparse, sparse, rules=RULES)
    with pytest.raises(LanewiseError, match="hidden"):
        measure_rtf(sparse, pack(tmp_path / "wide.lwm", sparse=False, hidden=64), rules=RULES)


def test_missing_file_and_unknown_isa_are_user_errors(sparse: Path, tmp_path: Path) -> None:
    with pytest.raises(LanewiseError, match=r"nothing\.lwm"):
        measure_rtf(tmp_path / "nothing.lwm", rules=RULES)
    with pytest.raises(UsageError, match="avx1024"):
        measure_rtf(sparse, isa="avx1024", rules=RULES)


def test_twin_has_the_same_sizes_and_speaks(sparse: Path, tmp_path: Path) -> None:
    header = read_header(sparse)
    pack_twin(tmp_path / "twin.lwm", header)
    twin = read_header(tmp_path / "twin.lwm")
    assert twin["dims"] == header["dims"]
    assert {matrix["tile"] for matrix in twin["matrices"]} == {"dense"}
    audio = Vocoder(tmp_path / "twin.lwm").synthesize(np.zeros((2, 20), np.float32))
    assert np.isfinite(audio).all()
    pack_twin(tmp_path / "larger.lwm", header, 48)
    assert read_header(tmp_path / "larger.lwm")["dims"]["hidden"] == 48


def test_parts_keep_their_shares_and_sum_to_the_whole() -> None:
    split = [{"a": 1.0, "b": 3.0}] * 3 + [{"a": 9.0, "b": 9.0}] * 2
    assert median_parts(split) == {"a": 1.0, "b": 3.0}
    assert scale_parts(median_parts(split), 2.0) == pytest.approx({"a": 0.5, "b": 1.5})


def test_command_prints_the_contract(sparse: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.cli.rtf import command
    from bench.measure.speed import rtf

    def quick(*arguments: Any, **options: Any) -> RtfResult:
        return measure_rtf(*arguments, **options, rules=RULES)

    monkeypatch.setattr(rtf, "measure_rtf", quick)
    printed = json.loads(CliRunner().invoke(command, [str(sparse), "--json"], catch_exceptions=False).stdout)
    contract = {"rtf", "rtf_dense", "us_per_step", "parts_us", "format", "isa", "samples", "rejected", "verdict"}
    assert contract <= set(printed)
    assert printed["format"] == "f32"
    text = CliRunner().invoke(command, [str(sparse)], catch_exceptions=False).stdout
    assert text.startswith("RTF ")
    assert "dense twin" in text
    shapes = ["--like", "32:0.5:16x4:int8", "--like", "32:0:dense:f32"]
    rows = json.loads(CliRunner().invoke(command, [str(sparse), *shapes, "--json"], catch_exceptions=False).stdout)
    assert [row["model"] for row in rows] == [str(sparse), "GRU 32 16x4 50% int8", "GRU 32 dense f32"]
    assert [row["format"] for row in rows] == ["f32", "int8", "f32"]
    table = CliRunner().invoke(command, shapes, catch_exceptions=False).stdout.splitlines()
    assert table[0].split()[:2] == ["model", "RTF"]
    assert len(table) >= 4


def test_a_missing_model_is_found_before_others_are_measured(
    sparse: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.cli.rtf import command
    from bench.measure.speed import rtf

    def never(*_: Any, **__: Any) -> RtfResult:
        raise AssertionError("measured before every model was looked at")

    monkeypatch.setattr(rtf, "measure_rtf", never)
    with pytest.raises(LanewiseError, match=r"nothing\.lwm"):
        CliRunner().invoke(command, [str(sparse), str(tmp_path / "nothing.lwm")], catch_exceptions=False)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("512:0.7:16x4", "HIDDEN:SPARSITY:TILE:FORMAT"),
        ("x:0.7:16x4:int8", "HIDDEN:SPARSITY:TILE:FORMAT"),
        ("512:1.5:16x4:int8", "HIDDEN:SPARSITY:TILE:FORMAT"),
        ("512:0.5:8x1:int8", "no kernel for tile 8x1 in int8"),
    ],
)
def test_impossible_shapes_are_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Like.parse(text)
