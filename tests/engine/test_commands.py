"""`lanewise pack` and `lanewise synth`, from the command line."""

import json
from pathlib import Path

import numpy as np
import pytest

from bench.cli.main import main
from tests.engine.models import ABSENT_ISA


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["lanewise", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch

    from bench.data.audio import write_wav
    from bench.models.checkpoint import save
    from bench.models.wavernn import Arch, SubbandWaveRNN

    folder = tmp_path_factory.mktemp("commands")
    torch.manual_seed(40)
    model = SubbandWaveRNN(Arch(hidden=32, embed=8, cond=16, head=16))
    with torch.no_grad():
        model.gru.w_hh[:16] = 0.0
    model.band_scale.fill_(0.1)
    save(folder / "model.safetensors", model, {})
    noise = np.random.default_rng(41).uniform(-0.3, 0.3, 8123).astype(np.float32)
    write_wav(folder / "in.wav", noise, 16000)
    return folder


def test_pack_and_synth(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from bench.data.audio import read_wav

    model, checkpoint = str(folder / "m.lwm"), str(folder / "model.safetensors")
    assert run(monkeypatch, "pack", checkpoint, model, "--tile", "gru.recurrent=16x1", "--json") == 0
    packed = json.loads(capsys.readouterr().out)
    assert packed["file_bytes"] == (folder / "m.lwm").stat().st_size
    recurrent = next(row for row in packed["matrices"] if row["name"] == "gru.w_hh")
    assert (recurrent["tile"], recurrent["blocks"]) == ("16x1", 5 * 32)

    results = []
    for isa in ("scalar", "scalar", "auto"):
        out = folder / f"{isa}.wav"
        assert run(monkeypatch, "synth", model, str(folder / "in.wav"), str(out), "--isa", isa, "--json") == 0
        row = json.loads(capsys.readouterr().out)
        assert row["samples"] == 8123 // 160 * 160
        results.append(read_wav(out))
        assert len(results[-1]) == row["samples"]
    np.testing.assert_array_equal(results[0], results[1])
    assert np.std(results[2]) > 0


def test_errors(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    model, checkpoint = str(folder / "e.lwm"), str(folder / "model.safetensors")
    source, out = str(folder / "in.wav"), str(folder / "out.wav")
    assert run(monkeypatch, "pack", checkpoint, model) == 0
    cases = [
        (("pack", checkpoint, model, "--tile", "gru.recurrent"), 2, "expected MATRIX=TILE"),
        (("pack", checkpoint, model, "--tile", "gru.other=16x1"), 2, "unknown matrix"),
        (("pack", checkpoint, model, "--tile", "gru.recurrent=3by5"), 2, "no kernel"),
        (("pack", str(folder / "none"), model), 1, "no such model file"),
        (("synth", model, str(folder / "none.wav"), out), 1, "no such audio file"),
        (("synth", source, source, out), 1, "not a packed model"),
        (("synth", model, source, out, "--isa", ABSENT_ISA), 2, f"cannot run '{ABSENT_ISA}'"),
    ]
    capsys.readouterr()
    for arguments, code, message in cases:
        assert run(monkeypatch, *arguments) == code
        captured = capsys.readouterr()
        assert message in captured.err
        assert captured.out == ""
