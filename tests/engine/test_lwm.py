"""Packed models: the same bytes each time, sizes that add up, and one clear error for every damaged file."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.engine import Vocoder
from bench.engine.native import core
from bench.engine.pack import GATES, pack_vocoder
from bench.engine.vocoder import read_header
from bench.errors import LanewiseError, UsageError
from bench.measure.footprint import footprint
from tests.engine.models import prune, random_model

PREFIX = struct.Struct("<8sIIQQ")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(30)
    arch, dense = random_model(rng, hidden=32, cond=16, head=16, mels=8)
    tiles = {"gru.w_hh": "16x1", "head.fc.weight": "1x4", "gru.w_embed": "column"}
    tensors, masks = prune(rng, dense, tiles, GATES, 0.5)
    path = tmp_path_factory.mktemp("lwm") / "good.lwm"
    numbers: dict[str, str] = {"head.out.weight": "int8", "gru.w_cond": "bf16"}
    pack_vocoder(path, arch, tensors, tiles, masks, numbers)
    return path


def sign(file: bytes) -> bytes:
    """The file with its checksum made right again."""
    return file[:24] + struct.pack("<Q", core.checksum(file)) + file[32:]


def with_header(file: bytes, change: Any) -> bytes:
    """The file with an altered header of the same length, checksum right."""
    size = PREFIX.unpack_from(file)[2]
    header = json.loads(file[32 : 32 + size])
    change(header)
    text = json.dumps(header, sort_keys=True).encode()
    assert len(text) <= size
    return sign(file[:32] + text.ljust(size) + file[32 + size :])


def refused(tmp_path: Path, file: bytes, match: str) -> None:
    path = tmp_path / "bad.lwm"
    path.write_bytes(file)
    with pytest.raises(LanewiseError, match=match) as caught:
        Vocoder(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_damaged_files(good: Path, tmp_path: Path) -> None:
    file = good.read_bytes()
    refused(tmp_path, b"", "not a packed model")
    refused(tmp_path, b"RIFF" + file[4:], "not a packed model")
    refused(tmp_path, file[:20], "not a packed model")
    refused(tmp_path, file[:-1], "truncated")
    refused(tmp_path, file[: len(file) // 2], "truncated")
    refused(tmp_path, file + b"\0", "appended")
    refused(tmp_path, file[:8] + struct.pack("<I", 1) + file[12:], "format version 1")
    refused(tmp_path, sign(file[:12] + struct.pack("<I", 2**31) + file[16:]), "larger than the file")
    refused(tmp_path, sign(file[:32] + b"[" + file[33:]), "not valid JSON")
    with pytest.raises(LanewiseError, match="cannot be opened"):
        Vocoder(tmp_path / "none.lwm")
    with pytest.raises(LanewiseError, match="not a regular file"):
        Vocoder(tmp_path)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_flipped_bit_is_noticed(good: Path, data: st.DataObject) -> None:
    file = bytearray(good.read_bytes())
    file[data.draw(st.integers(0, len(file) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path = good.with_name("flipped.lwm")
    path.write_bytes(file)
    with pytest.raises(LanewiseError):
        Vocoder(path)


def matrix(header: dict[str, Any], name: str) -> dict[str, Any]:
    return next(entry for entry in header["matrices"] if entry["name"] == name)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda h: h["dims"].update(hidden=31), "expected 93 x 16|expected 93"),
        (lambda h: h["dims"].update(hidden=0), "'hidden' must be a whole number"),
        (lambda h: h["dims"].update(bands=1.5), "'bands' must be"),
        (lambda h: h["dims"].pop("mels"), "no 'mels'"),
        (lambda h: h.pop("dims"), "no 'dims'"),
        (lambda h: h["vectors"].pop(), "among its vectors"),
        (lambda h: h["matrices"].pop(), "among its matrices"),
        (lambda h: h["vectors"][0].update(offset=10**8), "outside the file"),
        (lambda h: h["vectors"][0].update(offset=1), "outside the file"),
        (lambda h: matrix(h, "gru.w_hh").update(tile_rows=8), "gru.w_hh"),
        (lambda h: matrix(h, "gru.w_hh").update(tile_rows=3), "no kernel"),
        (lambda h: matrix(h, "gru.w_hh").update(tile_cols=4), "gru.w_hh"),
        (lambda h: matrix(h, "gru.w_hh").update(layout="dense", tile_rows=1), "gru.w_hh"),
        (lambda h: matrix(h, "gru.w_hh").update(layout="bad"), "unknown matrix layout"),
        (lambda h: matrix(h, "gru.w_hh").update(number="f16"), "unknown number format"),
        (lambda h: matrix(h, "gru.w_hh").update(number="bf16"), "number of weights"),
        (lambda h: matrix(h, "head.out.weight").update(number="f32"), "lies outside|number of weights"),
        (lambda h: matrix(h, "head.out.weight").update(number="bf16"), "lies outside|number of weights"),
        (lambda h: matrix(h, "head.out.weight")["scales"].update(size=1), "number of scales"),
        (lambda h: matrix(h, "gru.w_hh")["scales"].update(size=1), "number of scales"),
        (lambda h: matrix(h, "gru.w_hh")["weights"].update(size=1), "number of weights"),
        (lambda h: matrix(h, "gru.w_hh")["index"].update(size=0), "number of indices"),
        (lambda h: matrix(h, "gru.w_hh")["counts"].update(size=2**32), "outside the file"),
        (lambda h: matrix(h, "head.fc.weight").update(gates=3), "expected|gates"),
    ],
)
def test_inconsistent_headers_with_a_right_checksum(good: Path, tmp_path: Path, change: Any, match: str) -> None:
    refused(tmp_path, with_header(good.read_bytes(), change), match)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_hostile_bytes_with_a_right_checksum(good: Path, data: st.DataObject) -> None:
    """Any content is either refused with one message or runs; nothing crashes."""
    file = bytearray(good.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        file[data.draw(st.integers(32, len(file) - 1))] = data.draw(st.integers(0, 255))
    path = good.with_name("hostile.lwm")
    path.write_bytes(sign(bytes(file)))
    try:
        vocoder = Vocoder(path)
        vocoder._native.indices(np.zeros((1, len(vocoder._native.mel_mean)), np.float32), 0, 0, 1.0)
    except LanewiseError:
        pass


def test_stored_index_beyond_the_matrix(good: Path, tmp_path: Path) -> None:
    entry = matrix(read_header(good), "gru.w_hh")
    at = entry["index"]["offset"]
    file = good.read_bytes()
    refused(tmp_path, sign(file[:at] + b"\xff\xff" + file[at + 2 :]), "column index is outside")
    at = entry["counts"]["offset"]
    refused(tmp_path, sign(file[:at] + b"\xff\xff\xff\xff" + file[at + 4 :]), "tile count is larger")
    at = entry["weights"]["offset"]
    refused(tmp_path, sign(file[:at] + struct.pack("<f", np.nan) + file[at + 4 :]), "NaN")
    at = matrix(read_header(good), "gru.w_cond")["weights"]["offset"]
    refused(tmp_path, sign(file[:at] + b"\x80\x7f" + file[at + 2 :]), "gru.w_cond: holds NaN")
    quantised = matrix(read_header(good), "head.out.weight")
    at = quantised["weights"]["offset"]
    refused(tmp_path, sign(file[:at] + b"\x80" + file[at + 1 :]), "int8 weight is -128")
    at = quantised["scales"]["offset"]
    refused(tmp_path, sign(file[:at] + struct.pack("<f", np.inf) + file[at + 4 :]), "NaN or infinite")


def test_changing_one_weight_changes_the_audio(good: Path, tmp_path: Path) -> None:
    file, at = good.read_bytes(), matrix(read_header(good), "gru.w_hh")["weights"]["offset"]
    path = tmp_path / "changed.lwm"
    path.write_bytes(sign(file[:at] + struct.pack("<f", 5.0) + file[at + 4 :]))
    mel = np.random.default_rng(31).standard_normal((5, 8)).astype(np.float32)
    assert not np.array_equal(Vocoder(good).synthesize(mel), Vocoder(path).synthesize(mel))


def test_packing_is_deterministic_and_adds_up(tmp_path: Path) -> None:
    arch, dense = random_model(np.random.default_rng(32))
    sizes = []
    for sparsity in (0.5, 0.7, 0.9):
        tiles = dict.fromkeys(GATES, "16x1")
        tensors, masks = prune(np.random.default_rng(33), dense, tiles, GATES, sparsity)
        first = pack_vocoder(tmp_path / "a.lwm", arch, tensors, tiles, masks)
        assert pack_vocoder(tmp_path / "b.lwm", arch, tensors, tiles, masks) == first
        assert (tmp_path / "a.lwm").read_bytes() == (tmp_path / "b.lwm").read_bytes()
        size = footprint(tmp_path / "a.lwm")
        assert size.file_bytes == first.bytes == (tmp_path / "a.lwm").stat().st_size
        assert size.nonzeros == first.nonzeros
        for entry in size.matrices:
            if entry.name in masks:
                assert entry.nonzeros == int(masks[entry.name].sum())
                assert entry.sparsity == pytest.approx(1 - masks[entry.name].mean())
                assert entry.blocks == first.blocks[entry.name]
        sizes.append(first.bytes)
    assert sizes[0] > sizes[1] > sizes[2]
    header = read_header(tmp_path / "a.lwm")
    assert all(entry["offset"] % 64 == 0 for entry in header["vectors"])
    assert not list(tmp_path.glob(".*partial"))


def test_packer_refusals(tmp_path: Path) -> None:
    rng = np.random.default_rng(34)
    arch, tensors = random_model(rng)
    out = tmp_path / "m.lwm"
    kept = np.ones(tensors["gru.w_hh"].shape, dtype=bool)
    with pytest.raises(UsageError, match="cannot be sparse"):
        pack_vocoder(out, arch, tensors, {"cond.conv1.weight": "16x1"})
    with pytest.raises(UsageError, match="unknown name '3by5'"):
        pack_vocoder(out, arch, tensors, {"gru.w_hh": "3by5"})
    with pytest.raises(UsageError, match="mask but no tile"):
        pack_vocoder(out, arch, tensors, {}, {"gru.w_hh": kept})
    dropped = kept.copy()
    dropped[:16, 0] = False
    with pytest.raises(LanewiseError, match="16 weights are non-zero where the mask drops them"):
        pack_vocoder(out, arch, tensors, {"gru.w_hh": "16x1"}, {"gru.w_hh": dropped})
    with pytest.raises(LanewiseError, match=r"no tensor 'gru\.b_hh'"):
        pack_vocoder(out, arch, {key: value for key, value in tensors.items() if key != "gru.b_hh"})
    with pytest.raises(LanewiseError, match=r"mel_mean: has shape \(3,\), expected \(20,\)"):
        pack_vocoder(out, arch, tensors | {"mel_mean": np.zeros(3)})
    with pytest.raises(LanewiseError, match=r"head\.fc\.bias: holds NaN"):
        pack_vocoder(out, arch, tensors | {"head.fc.bias": np.full(32, np.nan)})
    for sizes, message in (
        ({"mixtures": 17}, "'mixtures' must be a whole number from 1 to 16, not 17"),
        ({"bands": 20}, "'bands' must be a whole number from 1 to 16, not 20"),
        ({"mels": 1025}, "'mels' must be a whole number from 1 to 1024, not 1025"),
    ):
        arch, large = random_model(rng, True, **sizes)
        with pytest.raises(LanewiseError, match=f"m.lwm: not packed, for the engine could not load it: .*{message}"):
            pack_vocoder(out, arch, large)
    with pytest.raises(LanewiseError, match="'conv1_taps' must be a whole number from 1 to 16, not 17"):
        pack_vocoder(out, arch, tensors | {"cond.conv1.weight": np.zeros((32, 20, 17))})
    assert not list(tmp_path.iterdir())
