"""What ships: packed models that are those of the checkpoints beside them, run by default, and that make speech."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from bench.cli.main import cli
from bench.config.checkpoints import PACKED, PRETRAINED, SHIPPED
from bench.data.audio import read_wav, write_wav
from bench.data.corpus import load_corpus


def run(*arguments: str | Path) -> str:
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shipped") / "in.wav"
    write_wav(path, load_corpus("embedded").split("test")[0].audio(), 16000)
    return path


def test_every_checkpoint_is_there() -> None:
    assert [name for names in SHIPPED.values() for name in names.values() if not (PRETRAINED / name).is_file()] == []


@pytest.mark.parametrize("task", PACKED)
def test_packed_models_are_those_of_the_checkpoints(task: str, tmp_path: Path) -> None:
    number_format = {"vocoder": "f32", "enhancer": "int8"}[task]
    run("pack", PRETRAINED / SHIPPED[task]["shipped"], tmp_path / "m.lwm", "--format", number_format)
    assert (tmp_path / "m.lwm").read_bytes() == PACKED[task].read_bytes()


@pytest.mark.parametrize("command", ["synth", "enhance"])
def test_the_shipped_model_runs_when_none_is_named(command: str, recording: Path, tmp_path: Path) -> None:
    task = {"synth": "vocoder", "enhance": "enhancer"}[command]
    row = json.loads(run(command, recording, tmp_path / "default.wav", "--json"))
    assert Path(row["model"]) == PACKED[task]
    run(command, PACKED[task], recording, tmp_path / "named.wav", "--json")
    made = read_wav(tmp_path / "default.wav")
    np.testing.assert_array_equal(made, read_wav(tmp_path / "named.wav"))
    level = 20 * np.log10(np.std(made) / np.std(read_wav(recording)))
    assert abs(level) < 3, "speech of about the recording's level"


def test_too_few_files_is_one_clear_error(recording: Path) -> None:
    result = CliRunner().invoke(cli, ["synth", str(recording)])
    assert "expected [MODEL.lwm] IN.wav OUT.wav, got 1 file" in str(result.exception)
