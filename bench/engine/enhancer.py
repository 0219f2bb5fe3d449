"""A packed enhancer: noisy speech in, cleaner speech out, whole or hop by hop."""

import json
import os
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.engine.isa import resolve_isa
from bench.engine.layout import Floats
from bench.engine.native import core
from bench.errors import LanewiseError

PARTS = ("analysis", "recurrent", "mask", "resynthesis")
_TIMED_FRAMES = 8


class Enhancer:
    """A packed model bound to one ISA. Runs may share it between threads.

    In f32 it computes what `bench.models.enhancer.Enhancer` does, but for rounding. In int8 it computes what
    `bench.models.quantised.QuantisedEnhancer` does with scales per channel and dynamic activations: products of the
    same vectors are equal bit for bit; between them gates round differently in the last bit, which now and then moves
    an activation that lies between two steps to the other one.

    Parameters
    ----------
    path
        A `*.lwm` file (see `bench.engine.pack_enhancer`).
    isa
        As in `resolve_isa`.

    Raises
    ------
    LanewiseError
        If the file is missing, foreign, truncated, altered, inconsistent, or holds a vocoder.
    UsageError
        If the host lacks the ISA.
    """

    def __init__(self, path: str | os.PathLike[str], isa: str | None = None) -> None:
        self.isa = resolve_isa(isa)
        self._native = core.Enhancer(os.fspath(path), self.isa)

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
    def hop(self) -> int:
        """Samples that a stream takes and gives at a time."""
        return int(self.header["dims"]["hop"])

    @property
    def sample_rate_hz(self) -> int:
        """Of the audio."""
        return int(self.header["dims"]["sample_rate_hz"])

    @property
    def delay(self) -> int:
        """Samples by which a stream's output lags behind its input."""
        return int(self.header["dims"]["n_fft"]) - self.hop

    @property
    def latency_ms(self) -> float:
        """Algorithmic latency: a sample leaves with the last window that covers it, and a hop is gathered before."""
        return 1e3 * (self.delay + self.hop) / self.sample_rate_hz

    def enhance(self, audio: npt.ArrayLike) -> Floats:
        """Enhance a clip, float32 (n,) to (n,), aligned with the input.

        The same as a stream of its hops, bit for bit, silence behind its end, cut at both ends.

        Raises
        ------
        LanewiseError
            If the audio is not a vector or not finite.
        """
        samples = np.ascontiguousarray(audio, dtype=np.float32)
        if samples.ndim != 1:
            raise LanewiseError(f"audio has shape {samples.shape}, expected (samples,)")
        return np.asarray(self._native.enhance(_finite(samples, "audio")))

    def band_mask(self, features: npt.ArrayLike) -> Floats:
        """The network alone: masks (frames, mels) in 0..1 of normalised features (frames, mels), from silence on.

        Raises
        ------
        LanewiseError
            If `features` has the wrong shape or is not finite.
        """
        frames = np.ascontiguousarray(features, dtype=np.float32)
        mels = int(self.header["dims"]["mels"])
        if frames.ndim != 2 or frames.shape[1] != mels:
            raise LanewiseError(f"features have shape {frames.shape}, this model expects (frames, {mels})")
        return np.asarray(self._native.band_mask(_finite(frames, "features")))

    def stream(self) -> "EnhancerStream":
        """Start the enhancement of one live signal."""
        return EnhancerStream(core.EnhancerStream(self._native), self.hop)

    def time_frames(self, frames: int = _TIMED_FRAMES) -> float:
        """Nanoseconds of one run over `frames` hops of fixed noise, samples to samples."""
        return float(self._native.run_ns(_noise(frames * self.hop)))

    def parts_us(self, frames: int = _TIMED_FRAMES) -> dict[str, float]:
        """Microseconds per frame of each part, from a run that reads the clock after each; they add up to that run."""
        parts_ns = self._native.parts_ns(_noise(frames * self.hop))
        return {name: ns / frames / 1e3 for name, ns in zip(PARTS, parts_ns, strict=True)}


class EnhancerStream:
    """One live signal; made by `Enhancer.stream`. Its memory does not grow. Used by one thread at a time."""

    def __init__(self, native: core.EnhancerStream, hop: int) -> None:
        self._native = native
        self._hop = hop

    def push(self, hop: npt.ArrayLike) -> Floats:
        """Take `hop` new samples, float32 (hop,); return the (hop,) that are now complete, `delay` samples older.

        Raises
        ------
        LanewiseError
            If the samples are not that many, or not finite.
        """
        samples = np.ascontiguousarray(hop, dtype=np.float32)
        if samples.shape != (self._hop,):
            raise LanewiseError(f"hop has shape {samples.shape}, this model takes ({self._hop},) at a time")
        return np.asarray(self._native.push(_finite(samples, "hop")))


@lru_cache(maxsize=8)
def _noise(samples: int) -> Floats:
    return np.random.default_rng(0).normal(0, 0.1, samples).astype(np.float32)


def _finite(values: Floats, what: str) -> Floats:
    if not np.isfinite(values).all():
        raise LanewiseError(f"{what} holds NaN or infinite numbers")
    return values
