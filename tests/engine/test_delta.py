"""Delta networks: against the slow double-precision reference, against the plain engine, and what is refused.

Where an element of the state comes so close to the threshold that single precision decides, the two part rightly; steps
from the first such one on are not compared.
"""

import json
import secrets
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from bench.engine import Vocoder, isas
from bench.engine.pack import GATES, pack_vocoder
from bench.engine.reference import ReferenceVocoder
from bench.engine.vocoder import read_header
from bench.errors import LanewiseError, UsageError
from tests.engine.edges import assert_only_at_edges
from tests.engine.models import fresh, prune, random_model

DOUBT = 2e-6
REFRESH_STEPS = 128


def packed(
    path: Path, delta: float | None, tile: str = "dense", rng: np.random.Generator | None = None, **sizes: Any
) -> tuple[dict[str, Any], dict[str, Any], Path]:
    rng = rng or np.random.default_rng(70)
    arch, tensors = random_model(rng, **sizes)
    masks: Any = {}
    tiles = {} if tile == "dense" else {"gru.w_hh": tile}
    tensors, masks = prune(rng, tensors, tiles, GATES, 0.5)
    pack_vocoder(path, arch, tensors, tiles, masks, delta=delta)
    return arch, tensors, path


@pytest.mark.parametrize("tile", ["dense", "column", "gate-column"])
@pytest.mark.parametrize("delta", [0.01, 0.05, 0.3])
def test_teacher_forced(tile: str, delta: float, tmp_path: Path) -> None:
    arch, tensors, path = packed(tmp_path / "m.lwm", delta, tile, fresh())
    seed = secrets.randbits(64)
    rng = np.random.default_rng(seed)
    mel = rng.standard_normal((10, arch["mels"])).astype(np.float32)
    forced = np.clip(rng.normal(128, 30, (400, 4)), 0, 255).astype(np.uint8)
    reference = ReferenceVocoder(arch, tensors, float(np.float32(delta)))
    trace = reference.run(mel, [seed], forced=forced)
    doubtful = np.nonzero(trace.doubts[:, 0] < DOUBT)[0]
    sure = int(doubtful[0]) if len(doubtful) else 400
    print(f"seed {seed}: {sure} steps compared")
    for isa in isas():
        vocoder = Vocoder(path, isa)
        differ = vocoder.teacher_force(mel, forced, seed) != trace.levels[:, 0]
        margins = trace.margins[:sure, 0][differ[:sure]]
        assert_only_at_edges(reference, mel, forced[:sure], margins, f"seed {seed}, {isa}")
        if tile == "dense":
            moved = trace.moved[:, 0].copy()
            moved[::REFRESH_STEPS] = 1.0
            assert vocoder.skipped(mel, forced) == pytest.approx(1.0 - moved.mean(), abs=1e-3)


@pytest.mark.parametrize("tile", ["dense", "column"])
def test_threshold_zero_is_the_plain_engine(tile: str, tmp_path: Path) -> None:
    plain, zero = packed(tmp_path / "p.lwm", None, tile)[2], packed(tmp_path / "z.lwm", 0.0, tile)[2]
    mel = np.random.default_rng(72).standard_normal((20, 20)).astype(np.float32)
    for isa in isas():
        levels = Vocoder(plain, isa).indices(mel, 3)
        parameters = [Vocoder(path, isa).parameters(mel, levels) for path in (plain, zero)]
        np.testing.assert_allclose(parameters[0], parameters[1], atol=5e-6)
    assert Vocoder(plain).delta is None
    assert Vocoder(zero).delta == 0.0
    assert Vocoder(plain).skipped(mel) == 0.0


def test_a_higher_threshold_skips_more(tmp_path: Path) -> None:
    mel = np.random.default_rng(73).standard_normal((8, 20)).astype(np.float32)
    forced = np.random.default_rng(74).integers(90, 166, (320, 4)).astype(np.uint8)
    shares = [
        Vocoder(packed(tmp_path / "m.lwm", delta)[2]).skipped(mel, forced) for delta in (0.001, 0.01, 0.1, 0.5, 1.0)
    ]
    assert shares == sorted(shares)
    assert 0 < shares[0] < shares[-1] <= 1 - 3 / 320  # of which every 128th makes the whole product


def test_streams_equal_the_whole(tmp_path: Path) -> None:
    vocoder = Vocoder(packed(tmp_path / "m.lwm", 0.05, causal=True)[2])
    mel = np.random.default_rng(75).standard_normal((23, 20)).astype(np.float32)
    stream = vocoder.stream(5)
    pieces = [stream.push(part) for part in np.split(mel, [1, 2, 9, 9, 17])]
    np.testing.assert_array_equal(np.concatenate([*pieces, stream.finish()]), vocoder.synthesize(mel, 5))
    assert stream.skipped == vocoder.skipped(mel, seed=5) > 0


def test_the_header_holds_the_threshold(tmp_path: Path) -> None:
    path = packed(tmp_path / "m.lwm", 0.05)[2]
    assert read_header(path)["delta"] == float(np.float32(0.05)) == Vocoder(path).delta
    assert "delta" not in read_header(packed(tmp_path / "p.lwm", None)[2])


def test_refusals(tmp_path: Path) -> None:
    for delta in (-0.1, 1.5, float("nan")):
        with pytest.raises(UsageError, match=r"delta: got .*, expected a threshold from 0 to 1"):
            packed(tmp_path / "m.lwm", delta)
    for tile in ("16x1", "1x1", "row"):
        with pytest.raises(UsageError, match=f"delta: .* tile column or gate-column, got f32 {tile}"):
            packed(tmp_path / "m.lwm", 0.1, tile)
    arch, tensors = random_model(np.random.default_rng(76))
    with pytest.raises(UsageError, match=r"delta: .* got int8 dense"):
        pack_vocoder(tmp_path / "m.lwm", arch, tensors, fmt="int8", delta=0.1)
    assert not (tmp_path / "m.lwm").exists()


def test_pack_command_and_rtf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from bench.cli.pack import command
    from bench.measure.speed.gate import GateRules
    from bench.measure.speed.rtf import measure_rtf
    from bench.models.checkpoint import save
    from bench.models.wavernn import Arch, SubbandWaveRNN

    monkeypatch.setenv("LANEWISE_CACHE", str(tmp_path))
    monkeypatch.setattr("bench.measure.speed.clock._STATE_S", 0.1)
    torch.manual_seed(77)
    checkpoint, plain, model = (str(tmp_path / name) for name in ("m.safetensors", "plain.lwm", "delta.lwm"))
    save(Path(checkpoint), SubbandWaveRNN(Arch(hidden=32, embed=8, cond=16, head=16)), {})
    for out, options in ((plain, []), (model, ["--delta", "0.1"])):
        made = CliRunner().invoke(command, [checkpoint, out, *options, "--json"], catch_exceptions=False)
        assert json.loads(made.stdout)["path"] == out
    rules = GateRules(patience_s=0.2)
    timed = measure_rtf(model, plain, rules=rules)
    assert timed.to_json()["skipped"] == Vocoder(model).skipped(Vocoder(model).timing_mel(8)) > 0
    assert measure_rtf(model, rules=rules).dense == "twin"
    assert measure_rtf(plain, rules=rules).skipped == 0.0
    with pytest.raises(LanewiseError, match="sparse or skips columns"):
        measure_rtf(plain, model, rules=rules)
