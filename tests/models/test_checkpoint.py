"""Checkpoints: what was saved comes back bit by bit, and a file with one changed bit does not pass for it."""

import hashlib
import json
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from bench.config.checkpoints import KIND, architecture_of
from bench.errors import LanewiseError
from bench.models import checkpoint
from bench.models.wavernn import Arch, SubbandWaveRNN


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, SubbandWaveRNN]:
    torch.manual_seed(0)
    model = SubbandWaveRNN(Arch(hidden=16, head=8, mixtures=2))
    path = tmp_path / "model.safetensors"
    checkpoint.save(path, model, {"note": "a test"})
    return path, model


def header_of(path: Path) -> dict[str, dict[str, str]]:
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length])


def test_what_was_saved_comes_back(saved: tuple[Path, SubbandWaveRNN]) -> None:
    path, model = saved
    loaded, meta = checkpoint.load(path)
    assert meta == {"note": "a test"}
    for key, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value)
    assert architecture_of(str(path)).hidden == 16


def test_the_checksum_is_of_the_tensors_in_the_order_of_their_names(saved: tuple[Path, SubbandWaveRNN]) -> None:
    path, _ = saved
    tensors = load_file(path)
    slow = hashlib.sha256(b"".join(tensors[name].numpy().tobytes() for name in sorted(tensors))).hexdigest()
    assert header_of(path)["__metadata__"]["sha256"] == slow


@pytest.mark.parametrize("place", [-1, -5000])
def test_one_altered_bit_is_an_error(saved: tuple[Path, SubbandWaveRNN], place: int) -> None:
    path, _ = saved
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    with pytest.raises(LanewiseError, match=r"model\.safetensors: its weights are not those that were saved.*again"):
        checkpoint.load(path)


def test_a_file_of_before_the_checksum_is_read(saved: tuple[Path, SubbandWaveRNN]) -> None:
    path, model = saved
    header = {key: value for key, value in header_of(path)["__metadata__"].items() if key != "sha256"}
    assert header["kind"] == KIND
    save_file(load_file(path), path, header)
    assert torch.equal(checkpoint.load(path)[0].gru.w_hh, model.gru.w_hh)
