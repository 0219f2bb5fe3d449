"""A packed vocoder: mel frames in, waveform out."""

import json
import os
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.engine.isa import resolve_isa
from bench.engine.layout import Floats
from bench.engine.native import core
from bench.engine.stream import Stream, checked_mel
from bench.errors import LanewiseError

PARTS = ("conditioning", "gru", "heads", "sampling", "synthesis")
Levels = npt.NDArray[np.uint8]


def read_header(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Header of a packed model, after verifying the whole file (layout: src/lwm.hpp).

    Raises
    ------
    LanewiseError
        If the file is missing, foreign, truncated or altered.
    """
    header: dict[str, Any] = json.loads(core.read_header(os.fspath(path)))
    return header


class Vocoder:
    """A packed model bound to one ISA. Runs may share it between threads.

    Parameters
    ----------
    path
        A `*.lwm` file (see `bench.engine.pack`).
    isa
        As in `resolve_isa`.

    Raises
    ------
    LanewiseError
        If the file is missing, foreign, truncated, altered or inconsistent.
    UsageError
        If the host lacks the ISA.
    """

    def __init__(self, path: str | os.PathLike[str], isa: str | None = None) -> None:
        self.isa = resolve_isa(isa)
        self._native = core.Vocoder(os.fspath(path), self.isa)

    @cached_property
    def header(self) -> dict[str, Any]:
        """The file's header: `arch`, `dims` and the directory of its contents."""
        header: dict[str, Any] = json.loads(self._native.header)
        return header

    @property
    def arch(self) -> dict[str, Any]:
        """The architecture that the packer was given."""
        arch: dict[str, Any] = self.header["arch"]
        return arch

    @property
    def steps_per_frame(self) -> int:
        """GRU steps per mel frame."""
        return int(self.header["dims"]["steps_per_frame"])

    @property
    def delta(self) -> float | None:
        """Threshold of a delta network, see `bench.engine.pack.pack_vocoder`; None of a plain model."""
        threshold: float | None = self.header.get("delta")
        return threshold

    @property
    def skips(self) -> bool:
        """Whether the GRU has skip gates, so that its state is updated at some steps only (`bench.models.skip`)."""
        return any(vector["name"] == "gru.skip.weight" for vector in self.header["vectors"])

    @property
    def table_bytes(self) -> int:
        """Memory of the embedding tables, which are computed when the file is loaded."""
        return int(self._native.table_bytes)

    def synthesize(self, mel: Floats, seed: int = 0, utterance: int = 0, temperature: float = 1.0) -> Floats:
        """Speech from log-mel frames.

        Parameters
        ----------
        mel
            float32 (frames, mels), as `bench.data.features.log_mel` makes them.
        seed, utterance
            Key and counter of the random numbers, 64 bits each: same numbers, same audio, on every ISA but for
            rounding.
        temperature
            Above 0; 1 samples what the model learnt.

        Returns
        -------
        float32 (frames * hop,)

        Raises
        ------
        LanewiseError
            If `mel` has the wrong shape, is empty or is not finite, or the temperature is out of range.
        """
        return np.asarray(self._native.synthesize(self._checked(mel), seed, utterance, _positive(temperature)))

    def indices(self, mel: Floats, seed: int = 0, utterance: int = 0, temperature: float = 1.0) -> Levels:
        """Levels sampled when running freely, uint8 (frames * steps_per_frame, bands)."""
        return np.asarray(self._native.indices(self._checked(mel), seed, utterance, _positive(temperature)))

    def teacher_force(
        self, mel: Floats, indices: Levels, seed: int = 0, utterance: int = 0, temperature: float = 1.0
    ) -> Levels:
        """Levels sampled when each step is fed the previous row of `indices` instead of the last sampled levels.

        Parameters and result `indices`: uint8 (frames * steps_per_frame, bands).
        """
        given = _levels(indices)
        temperature = _positive(temperature)
        return np.asarray(self._native.teacher_force(self._checked(mel), given, seed, utterance, temperature))

    def parameters(self, mel: Floats, indices: Levels) -> Floats:
        """Output distributions when each step is fed the previous row of `indices`: what the model's NLL is made of.

        Parameters
        ----------
        mel, indices
            As in `teacher_force`.

        Returns
        -------
        float32 (frames * steps_per_frame, bands * 3 * mixtures), see `bench.models.mixture`
        """
        given = _levels(indices)
        return np.asarray(self._native.parameters(self._checked(mel), given))

    def skipped(
        self,
        mel: Floats,
        indices: Levels | None = None,
        seed: int = 0,
        utterance: int = 0,
        temperature: float = 1.0,
    ) -> float:
        """Share of the recurrent matrix's columns, over all steps, that were left out; 0 without anything to skip.

        By skip gates, all of them at a step that holds the state (so that this is the share of such steps), or by a
        delta threshold, whose steps that make the whole product anew, which bounds rounding, leave out nothing. Of
        `synthesize`, or of `teacher_force` where `indices` are given.
        """
        given = None if indices is None else _levels(indices)
        temperature = _positive(temperature)
        return float(self._native.skipped(self._checked(mel), given, seed, utterance, temperature))

    def stream(self, seed: int = 0, utterance: int = 0, temperature: float = 1.0) -> Stream:
        """Start an utterance whose frames come piece by piece; parameters as in `synthesize`."""
        native = core.Stream(self._native, seed, utterance, _positive(temperature))
        return Stream(native, int(self.header["dims"]["mels"]))

    @property
    def lookahead(self) -> int:
        """Frames that must follow a frame before its audio is decided."""
        dims = self.header["dims"]
        return sum(int(dims[f"{conv}_taps"]) - 1 - int(dims[f"{conv}_left"]) for conv in ("conv1", "conv2"))

    def timing_mel(self, frames: int) -> Floats:
        """Fixed frames for timing, (frames, mels): the training mean plus a slow wave of one standard deviation."""
        mean, std = (np.asarray(v, dtype=np.float32) for v in (self._native.mel_mean, self._native.mel_std))
        phase = np.arange(frames)[:, None] * 0.5 + np.arange(len(mean))[None, :] * 0.1
        return np.asarray(mean + std * np.sin(phase), dtype=np.float32)

    def time_steps(self, frames: int, mel: Floats | None = None, seed: int = 0) -> float:
        """Nanoseconds of one run over `frames` frames, mel to waveform (`frames * steps_per_frame` steps)."""
        return float(self._native.run_ns(self._timed(frames, mel), seed))

    def parts_us(self, frames: int = 20, mel: Floats | None = None, seed: int = 0) -> dict[str, float]:
        """Microseconds per step of each part, from a run that reads the clock after each; they add up to that run.

        Reading the clock costs up to 0.1 us a step, so the sum exceeds `time_steps` by as much.
        """
        parts_ns = self._native.parts_ns(self._timed(frames, mel), seed)
        steps = frames * self.steps_per_frame
        return {name: ns / steps / 1e3 for name, ns in zip(PARTS, parts_ns, strict=True)}

    def _timed(self, frames: int, mel: Floats | None) -> Floats:
        if mel is None:
            return self.timing_mel(frames)
        if len(mel) < frames:
            raise LanewiseError(f"mel has {len(mel)} frames, {frames} asked for")
        return self._checked(mel[:frames])

    def _checked(self, mel: Floats) -> Floats:
        mels = int(self.header["dims"]["mels"])
        if len(mel) == 0:
            raise LanewiseError(
                f"mel has shape {np.shape(mel)}, this model expects (frames, {mels}), at least one frame"
            )
        return checked_mel(mel, mels)


def _levels(indices: npt.ArrayLike) -> Levels:
    given = np.asarray(indices)
    if not np.issubdtype(given.dtype, np.integer) or ((given < 0) | (given > 255)).any():
        raise LanewiseError(f"indices are {given.dtype}, expected whole numbers from 0 to 255")
    return np.ascontiguousarray(given, dtype=np.uint8)


def _positive(temperature: float) -> float:
    if not 0.01 <= temperature <= 100.0:
        raise LanewiseError(f"temperature is {temperature}, expected 0.01 to 100")
    return temperature
