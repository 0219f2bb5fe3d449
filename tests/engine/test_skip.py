"""Skip gates in the engine: equal to the double-precision reference, the work really left out, streams, bad files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.engine import Vocoder, isas
from bench.engine.pack import GATES, pack_vocoder
from bench.engine.reference import ReferenceVocoder, Trace
from bench.errors import LanewiseError
from tests.engine.models import Tensors, prune, random_model

EDGE = 1e-5


def gated(seed: int, bias: float = -0.8, **sizes: Any) -> tuple[dict[str, Any], Tensors]:
    rng = np.random.default_rng(seed)
    arch, tensors = random_model(rng, **sizes)
    tensors["gru.skip.weight"] = rng.normal(0, 0.1, arch["hidden"]).astype(np.float32)
    tensors["gru.skip.bias"] = np.array([bias], dtype=np.float32)
    return arch, tensors


def fed(arch: dict[str, Any], frames: int, seed: int = 5) -> tuple[Any, Any]:
    """Frames, and levels to feed back."""
    rng = np.random.default_rng(seed)
    steps = frames * arch["hop"] // arch["bands"]
    levels = np.clip(rng.normal(128, 30, (steps, arch["bands"])), 0, 255).astype(np.uint8)
    return rng.standard_normal((frames, arch["mels"])).astype(np.float32), levels


def certain(trace: Trace) -> int:
    """Steps before the first at which rounding could decide otherwise whether the state is updated."""
    doubtful = trace.doubts[:, 0] <= EDGE
    steps = int(doubtful.argmax()) if doubtful.any() else len(doubtful)
    print(f"{steps} of {len(doubtful)} steps are certain, {1 - trace.moved.mean():.3f} skipped")
    return steps


@pytest.mark.parametrize("sizes", [{}, {"hidden": 53, "head": 37, "bands": 5, "mixtures": 3}])
@pytest.mark.parametrize("bias", [-2.0, -0.8])
def test_teacher_forced(tmp_path: Path, bias: float, sizes: dict[str, Any]) -> None:
    arch, tensors = gated(1, bias, **sizes)
    pack_vocoder(tmp_path / "m.lwm", arch, tensors)
    mel, forced = fed(arch, 8)
    trace = ReferenceVocoder(arch, tensors).run(mel, [7], forced=forced)
    steps = certain(trace)
    assert steps > 50
    for isa in isas():
        vocoder = Vocoder(tmp_path / "m.lwm", isa)
        differ = vocoder.teacher_force(mel, forced, 7)[:steps] != trace.levels[:steps, 0]
        assert not (differ & (trace.margins[:steps, 0] > EDGE)).any()
        if steps == len(trace.moved):
            assert vocoder.skipped(mel, forced, 7) == pytest.approx(1 - trace.moved.mean(), abs=1e-12)
        assert 0.1 < vocoder.skipped(mel, forced, 7) < 0.955


def test_held_steps_keep_their_distribution(tmp_path: Path) -> None:
    """What is counted is what is done: of a held step the distribution is that of the step before, to the last bit."""
    arch, tensors = gated(2)
    pack_vocoder(tmp_path / "m.lwm", arch, tensors)
    mel, forced = fed(arch, 6)
    vocoder = Vocoder(tmp_path / "m.lwm")
    parameters = vocoder.parameters(mel, forced)
    held = (parameters[1:] == parameters[:-1]).all(axis=1)
    assert vocoder.skips
    assert vocoder.skipped(mel, forced) == pytest.approx(held.sum() / len(parameters), abs=1e-12)


def test_an_open_gate_changes_nothing(tmp_path: Path) -> None:
    arch, tensors = gated(3, bias=1.0)
    tensors["gru.skip.weight"][:] = 0.0
    plain = {key: value for key, value in tensors.items() if not key.startswith("gru.skip")}
    gates, none = (pack_vocoder(tmp_path / name, arch, t) for name, t in (("g.lwm", tensors), ("n.lwm", plain)))
    assert gates.nonzeros == none.nonzeros + arch["hidden"] + 1
    mel, _ = fed(arch, 4)
    with_gates, without = Vocoder(tmp_path / "g.lwm"), Vocoder(tmp_path / "n.lwm")
    np.testing.assert_array_equal(with_gates.synthesize(mel, 1), without.synthesize(mel, 1))
    assert with_gates.skipped(mel) == without.skipped(mel) == 0.0
    assert (with_gates.skips, without.skips) == (True, False)


def test_a_stream_in_pieces_is_the_whole(tmp_path: Path) -> None:
    arch, tensors = gated(4)
    pack_vocoder(tmp_path / "m.lwm", arch, tensors)
    vocoder = Vocoder(tmp_path / "m.lwm")
    mel, _ = fed(arch, 11)
    stream = vocoder.stream(3, 4)
    pieces = [stream.push(mel[:2]), stream.push(mel[2:9]), stream.push(mel[9:]), stream.finish()]
    np.testing.assert_array_equal(np.concatenate(pieces), vocoder.synthesize(mel, 3, 4))
    assert stream.skipped == vocoder.skipped(mel, seed=3, utterance=4) > 0.1


def test_sparse_and_narrow_models_skip_too(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    arch, dense = gated(6)
    tiles = dict.fromkeys(GATES, "16x1")
    tensors, masks = prune(rng, dense, tiles, GATES, 0.6)
    mel, forced = fed(arch, 4)
    trace = ReferenceVocoder(arch, tensors).run(mel, [7], forced=forced)
    steps = certain(trace)
    pack_vocoder(tmp_path / "s.lwm", arch, tensors, tiles, masks)
    differ = Vocoder(tmp_path / "s.lwm").teacher_force(mel, forced, 7)[:steps] != trace.levels[:steps, 0]
    assert not (differ & (trace.margins[:steps, 0] > EDGE)).any()
    for number in ("bf16", "int8"):
        pack_vocoder(tmp_path / "n.lwm", arch, dense, fmt=number, tables="bf16")
        assert 0.1 < Vocoder(tmp_path / "n.lwm").skipped(mel, forced) < 0.95


def test_beside_a_delta_threshold(tmp_path: Path) -> None:
    arch, tensors = gated(8)
    mel, forced = fed(arch, 4)
    trace = ReferenceVocoder(arch, tensors, delta=0.05).run(mel, [7], forced=forced)
    steps = certain(trace)
    pack_vocoder(tmp_path / "m.lwm", arch, tensors, delta=0.05)
    vocoder = Vocoder(tmp_path / "m.lwm")
    differ = vocoder.teacher_force(mel, forced, 7)[:steps] != trace.levels[:steps, 0]
    assert not (differ & (trace.margins[:steps, 0] > EDGE)).any()
    pack_vocoder(tmp_path / "p.lwm", arch, tensors)
    assert vocoder.skipped(mel, forced) > Vocoder(tmp_path / "p.lwm").skipped(mel, forced) > 0.1


def test_half_a_gate_is_refused(tmp_path: Path) -> None:
    arch, tensors = gated(9)
    alone = {key: value for key, value in tensors.items() if key != "gru.skip.bias"}
    with pytest.raises(LanewiseError, match=r"no tensor 'gru\.skip\.bias'"):
        pack_vocoder(tmp_path / "m.lwm", arch, alone)
    long = tensors | {"gru.skip.weight": np.zeros(65, dtype=np.float32)}
    with pytest.raises(LanewiseError, match=r"gru\.skip\.weight: has shape \(65,\), expected \(64,\)"):
        pack_vocoder(tmp_path / "m.lwm", arch, long)
