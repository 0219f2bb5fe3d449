"""Streaming: any cutting of the frames gives the audio of the whole utterance, bit for bit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.engine import Vocoder, isas
from bench.engine.pack import pack_vocoder
from bench.errors import LanewiseError
from tests.engine.models import random_model

SIZES: dict[str, dict[str, Any]] = {
    "default": {},
    "causal": {"causal": True},
    "odd": {"hidden": 53, "mels": 13, "hop": 80},
}


@pytest.fixture(scope="module", params=SIZES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    arch, tensors = random_model(np.random.default_rng(50), **SIZES[request.param])
    path = tmp_path_factory.mktemp("stream") / "m.lwm"
    pack_vocoder(path, arch, tensors)
    return path


def mel_of(vocoder: Vocoder, frames: int, seed: int = 51) -> Any:
    mels = int(vocoder.header["dims"]["mels"])
    return np.random.default_rng(seed).standard_normal((frames, mels)).astype(np.float32)


@settings(max_examples=25, deadline=None)
@given(frames=st.integers(1, 45), cuts=st.lists(st.integers(0, 45), max_size=12), isa=st.sampled_from(isas()))
def test_pieces_equal_the_whole(model: Path, frames: int, cuts: list[int], isa: str) -> None:
    vocoder = Vocoder(model, isa)
    mel = mel_of(vocoder, frames)
    stream = vocoder.stream(7, 8, 0.9)
    pieces = [stream.push(part) for part in np.split(mel, sorted(min(cut, frames) for cut in cuts))]
    audio = np.concatenate([*pieces, stream.finish()])
    np.testing.assert_array_equal(audio, vocoder.synthesize(mel, 7, 8, 0.9))


def test_audio_comes_as_soon_as_it_is_decided(model: Path) -> None:
    vocoder = Vocoder(model)
    stream, hop = vocoder.stream(), vocoder.arch["hop"]
    lengths = [len(stream.push(frame[None])) for frame in mel_of(vocoder, 20)]
    assert lengths == [0] * vocoder.lookahead + [hop] * (20 - vocoder.lookahead)
    assert len(stream.finish()) == vocoder.lookahead * hop
    assert len(stream.finish()) == 0


def test_frames_beyond_the_lookahead_change_nothing(model: Path) -> None:
    vocoder = Vocoder(model)
    mel = mel_of(vocoder, 12)
    other = np.concatenate([mel, mel_of(vocoder, 5, seed=52)])
    known = (12 - vocoder.lookahead) * vocoder.arch["hop"]
    np.testing.assert_array_equal(vocoder.synthesize(mel)[:known], vocoder.synthesize(other)[:known])


def test_streams_do_not_touch_each_other(model: Path) -> None:
    vocoder = Vocoder(model)
    mel = mel_of(vocoder, 20)
    first, second = vocoder.stream(1), vocoder.stream(2)
    halves = [(first.push(part), second.push(part)) for part in (mel[:9], mel[9:])]
    for seed, stream, pieces in zip((1, 2), (first, second), zip(*halves, strict=True), strict=True):
        np.testing.assert_array_equal(np.concatenate([*pieces, stream.finish()]), vocoder.synthesize(mel, seed))


def test_a_stream_keeps_its_vocoder_alive(model: Path) -> None:
    mel = mel_of(Vocoder(model), 6)
    stream = Vocoder(model).stream()
    audio = np.concatenate([stream.push(mel), stream.finish()])
    np.testing.assert_array_equal(audio, Vocoder(model).synthesize(mel))


def test_refusals(model: Path) -> None:
    vocoder = Vocoder(model)
    stream = vocoder.stream()
    with pytest.raises(LanewiseError, match="expects"):
        stream.push(np.zeros((2, 3), dtype=np.float32))
    with pytest.raises(LanewiseError, match="NaN"):
        stream.push(mel_of(vocoder, 2) * np.nan)
    with pytest.raises(LanewiseError, match="temperature"):
        vocoder.stream(temperature=-1)
    assert len(stream.finish()) == 0
    with pytest.raises(LanewiseError, match="finished"):
        stream.push(mel_of(vocoder, 2))
