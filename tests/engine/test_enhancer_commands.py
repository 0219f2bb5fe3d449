"""`lanewise pack`, `lanewise enhance` and `lanewise rtf` with enhancers, from the command line; packing's refusals."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.cli.main import main
from bench.data.audio import read_wav, write_wav
from bench.engine import Enhancer, Vocoder
from bench.engine.pack import pack_vocoder
from bench.engine.pack_enhancer import pack_enhancer
from bench.errors import LanewiseError, UsageError
from bench.measure.footprint import footprint
from bench.measure.speed.enhancer import measure_enhancer
from bench.measure.speed.gate import GateRules
from tests.engine.enhancers import random_enhancer
from tests.engine.models import ABSENT_ISA
from tests.engine.models import random_model as random_vocoder

RULES = GateRules(minimum=3, maximum=5, sample_us=50, patience_s=2)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANEWISE_CACHE", str(tmp_path))
    monkeypatch.setattr("bench.measure.speed.clock._STATE_S", 0.1)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["lanewise", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch

    from bench.models import checkpoint, wavernn
    from bench.models.enhancer import Enhancer as Model
    from bench.models.enhancer import EnhancerArch

    folder = tmp_path_factory.mktemp("enhancers")
    torch.manual_seed(50)
    model = Model(EnhancerArch(hidden=32, fc=16, mels=32))
    with torch.no_grad():
        model.rnn[0].w_hh.view(-1, 16, 8, 4)[:, :, ::2] = 0.0  # type: ignore[operator]
    checkpoint.save_enhancer(folder / "enhancer.safetensors", model, {})
    checkpoint.save(
        folder / "vocoder.safetensors",
        wavernn.SubbandWaveRNN(wavernn.Arch(hidden=32, embed=8, cond=16, head=16)),
        {},
    )
    rng = np.random.default_rng(51)
    noise = rng.uniform(-0.3, 0.3, 8123).astype(np.float32)
    write_wav(folder / "in.wav", noise, 16000)
    write_wav(folder / "silent.wav", np.zeros(8000, np.float32), 16000)
    write_wav(folder / "slow.wav", noise, 8000)
    return folder


def test_pack_enhance_and_rtf(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from bench.models.checkpoint import load_enhancer

    model, checkpoint = str(folder / "m.lwm"), str(folder / "enhancer.safetensors")
    assert run(monkeypatch, "pack", checkpoint, model, "--tile", "rnn1.recurrent=16x4", "--json") == 0
    packed = json.loads(capsys.readouterr().out)
    assert packed["file_bytes"] == (folder / "m.lwm").stat().st_size
    assert packed["table_bytes"] == 0
    recurrent = next(row for row in packed["matrices"] if row["name"] == "rnn.0.w_hh")
    assert (recurrent["tile"], recurrent["blocks"], recurrent["sparsity"]) == ("16x4", 8 * 4, 0.5)

    for isa in ("scalar", "auto"):
        out = folder / f"{isa}.wav"
        assert run(monkeypatch, "enhance", model, str(folder / "in.wav"), str(out), "--isa", isa, "--json") == 0
        row = json.loads(capsys.readouterr().out)
        assert (row["samples"], row["latency_ms"]) == (8123, 32.0)
        assert row["rtf_ungated"] > 0
        expected = Enhancer(model, isa).enhance(read_wav(folder / "in.wav"))
        np.testing.assert_allclose(read_wav(out), expected, atol=1 / 32768)
    assert run(monkeypatch, "enhance", model, str(folder / "silent.wav"), str(folder / "still.wav")) == 0
    assert not read_wav(folder / "still.wav").any()

    monkeypatch.setattr("bench.measure.speed.enhancer.measure", _short_measure())
    capsys.readouterr()
    assert run(monkeypatch, "rtf", model) == 0
    assert "us a frame: analysis" in capsys.readouterr().out
    assert run(monkeypatch, "rtf", model, "--json") == 0
    row = json.loads(capsys.readouterr().out)
    assert row["rtf"] == pytest.approx(row["frame_us"] / 16000)
    assert row["dense"] == "twin"
    assert run(monkeypatch, "rtf", model, model) == 0
    assert "us a frame" in capsys.readouterr().out
    assert load_enhancer(checkpoint)[0].arch.hidden == 32


def _short_measure() -> Any:
    from bench.measure.speed import gate

    def measure(candidates: Any, *, rules: Any = None, seed: int = 0) -> Any:
        return gate.measure(candidates, rules=RULES, seed=seed)

    return measure


def test_errors(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    model, checkpoint = str(folder / "e.lwm"), str(folder / "enhancer.safetensors")
    vocoder, voice = str(folder / "v.lwm"), str(folder / "vocoder.safetensors")
    source, out = str(folder / "in.wav"), str(folder / "out.wav")
    assert run(monkeypatch, "pack", checkpoint, model, "--format", "int8") == 0
    assert run(monkeypatch, "pack", voice, vocoder) == 0
    cases = [
        (("pack", checkpoint, model, "--tile", "gru.recurrent=16x1"), 2, "unknown matrix"),
        (("pack", voice, model, "--tile", "rnn1.recurrent=16x1"), 2, "unknown matrix"),
        (("pack", checkpoint, model, "--tile", "rnn1.input=1x1", "--format", "int8"), 2, "no int8 kernel"),
        (("pack", checkpoint, model, "--format", "bf16"), 2, "expected one of f32, int8"),
        (("pack", checkpoint, model, "--tables", "int8"), 2, "--tables: is for vocoders"),
        (("pack", checkpoint, model, "--delta", "0.1"), 2, "--delta: is for vocoders"),
        (("enhance", vocoder, source, out), 1, "is a vocoder, expected an enhancer; `lanewise synth` runs it"),
        (("synth", model, source, out), 1, "is an enhancer, expected a vocoder; `lanewise enhance` runs it"),
        (("enhance", model, str(folder / "none.wav"), out), 1, "no such audio file"),
        (("enhance", model, str(folder / "slow.wav"), out), 1, "8000"),
        (("enhance", source, source, out), 1, "not a packed model"),
        (("enhance", model, source, str(folder)), 2, "is a folder"),
        (("enhance", model, source, out, "--isa", ABSENT_ISA), 2, f"cannot run '{ABSENT_ISA}'"),
        (("enhance", model, source, out, "--isa", "sse4.2"), 1, "no kernel on sse4.2"),
    ]
    capsys.readouterr()
    for arguments, code, message in cases:
        if "sse4.2" in arguments and ABSENT_ISA == "avx2":
            continue
        assert run(monkeypatch, *arguments) == code, arguments
        captured = capsys.readouterr()
        assert message in captured.err
        assert captured.out == ""


def test_packing_refuses(tmp_path: Path) -> None:
    arch, tensors = random_enhancer(np.random.default_rng(52))
    mask = np.ones((160, 40), dtype=bool)
    mask[:16] = False
    cases: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any], type[Exception], str]] = [
        ({}, {"fc.bias": np.zeros(35)}, {}, LanewiseError, "fc.weight: has shape (36, 40), expected (35, 40)"),
        ({}, {"rnn.1.w_ih": np.zeros((160, 39))}, {}, LanewiseError, "rnn.1.w_ih: has shape"),
        ({}, {"rnn.0.bias": np.full(160, np.nan)}, {}, LanewiseError, "rnn.0.bias: holds NaN"),
        ({}, {"feature_std": None}, {}, LanewiseError, "no tensor 'feature_std'"),
        ({"cell": "rnn"}, {}, {}, LanewiseError, "cell: got 'rnn'"),
        ({"n_fft": 384}, {}, {}, LanewiseError, "power of two"),
        ({}, {}, {"fmt": "f16"}, UsageError, "format: got 'f16'"),
        ({}, {}, {"tiles": {"fc.bias": "16x1"}}, UsageError, "'fc.bias' cannot be sparse"),
        ({}, {}, {"masks": {"fc.weight": np.ones((36, 40), bool)}}, UsageError, "has a mask but no tile"),
        ({}, {}, {"tiles": {"rnn.0.w_hh": "1x1"}, "fmt": "int8"}, UsageError, "rnn.0.w_hh: tile 1x1: no int8 kernel"),
        (
            {}, {}, {"tiles": {"rnn.0.w_hh": "8x1"}, "masks": {"rnn.0.w_hh": mask}}, LanewiseError,
            "non-zero where the mask drops them",
        ),
    ]  # fmt: skip
    for changes, replaced, options, kind, message in cases:
        given = {key: value for key, value in (tensors | replaced).items() if value is not None}
        with pytest.raises(kind) as caught:
            pack_enhancer(tmp_path / "e.lwm", arch | changes, given, **options)
        assert message in str(caught.value)
        assert not (tmp_path / "e.lwm").exists()


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    arch, tensors = random_enhancer(np.random.default_rng(53))
    for name in ("a", "b"):
        info = pack_enhancer(tmp_path / name, arch, tensors, fmt="int8")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert footprint(tmp_path / "a").nonzeros == info.nonzeros
    damaged = bytearray((tmp_path / "a").read_bytes())
    damaged[-100] ^= 1
    (tmp_path / "a").write_bytes(damaged)
    for network in (Enhancer, Vocoder):
        with pytest.raises(LanewiseError) as caught:
            network(tmp_path / "a")
        assert "altered" in str(caught.value)


def test_speed_beside_the_dense_version(tmp_path: Path) -> None:
    rng = np.random.default_rng(54)
    arch, tensors = random_enhancer(rng, hidden0=24, hidden1=16)
    path, dense = tmp_path / "lost-units.lwm", tmp_path / "dense.lwm"
    pack_enhancer(path, arch, tensors, fmt="int8")
    pack_enhancer(dense, *random_enhancer(rng), fmt="int8")
    itself = measure_enhancer(path, None, RULES)
    twin = measure_enhancer(path, "scalar", RULES, hidden=40)
    given = measure_enhancer(path, rules=RULES, dense_path=dense)
    assert [result.dense for result in (itself, twin, given)] == ["itself", "twin", "given"]
    for result in (itself, twin, given):
        assert result.vs_dense == pytest.approx(result.frame_us_dense / result.frame_us)
        assert result.rtf == pytest.approx(result.frame_us / (128 / 16000 * 1e6))
        assert sum(result.parts_us.values()) == pytest.approx(result.frame_us)
        assert (result.format, set(result.samples_us)) == ("int8", {"model", "dense"})
        assert (result.verdict == "unstable") == bool(result.why)
        json.dumps(result.to_json(), allow_nan=False)
        assert {"verdict", "parts_us", "samples_us"} <= result.timing().keys()
    other = tmp_path / "other.lwm"
    pack_enhancer(other, *random_enhancer(rng, mels=20))
    with pytest.raises(LanewiseError, match="mels differ"):
        measure_enhancer(path, rules=RULES, dense_path=other)
    pack_vocoder(tmp_path / "vocoder.lwm", *random_vocoder(rng))
    with pytest.raises(LanewiseError, match="is a vocoder"):
        measure_enhancer(tmp_path / "vocoder.lwm", rules=RULES)
