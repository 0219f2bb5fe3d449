"""What training and evaluation read: features and band samples of clips; batches that depend on (seed, step) alone."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.errors import UsageError
from bench.models import quantiser
from bench.models.pqmf import Pqmf
from bench.models.wavernn import Arch, shift

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class ClipData:
    """One clip, cut to whole frames.

    Attributes
    ----------
    id
        Clip name.
    mel
        (frames, mels) log-mel features.
    bands
        (frames * steps_per_frame, bands) band samples, not yet scaled.
    """

    id: str
    mel: Floats
    bands: Floats


class Batch(NamedTuple):
    """Segments of equal length: mel (B, frames + context, mels), previous and target (B, steps, bands) uint8."""

    mel: Floats
    previous: NDArray[np.uint8]
    target: NDArray[np.uint8]


def clip_data(id_: str, mel: Floats, audio: Floats, arch: Arch) -> ClipData:
    """Split a clip's audio into bands, cut to the frames of its features."""
    return ClipData(id_, mel, Pqmf(arch.bands).analysis(audio[: len(mel) * arch.hop]))


class Scales(NamedTuple):
    """Normalisation taken from training clips: mel mean and deviation (mels,), band scale (bands,)."""

    mel_mean: Floats
    mel_std: Floats
    band_scale: Floats


def scales(clips: list[ClipData]) -> Scales:
    """Per-bin mean and standard deviation of the features; per-band peak, with a tenth to spare."""
    mel = np.concatenate([clip.mel for clip in clips])
    peak = np.max([np.abs(clip.bands).max(axis=0) for clip in clips], axis=0)
    return Scales(mel.mean(0), np.maximum(mel.std(0), 1e-2), (peak * 1.1).astype(np.float32))


@dataclass(frozen=True)
class Segments:
    """Random segments of the training clips.

    Parameters
    ----------
    clips
        Training clips, each at least `frames` long.
    arch, band_scale
        Sizes, and the scale of each band (bands,).
    batch, frames
        Segments per batch and frames per segment.
    gain_db
        Each segment is scaled by a gain drawn uniformly from -gain_db to +gain_db, its features with it, so that the
        few minutes of an embedded corpus cover more levels than were recorded.
    """

    clips: list[ClipData]
    arch: Arch
    band_scale: Floats
    batch: int = 32
    frames: int = 10
    gain_db: float = 6.0

    def __post_init__(self) -> None:
        longest = max((len(clip.mel) for clip in self.clips), default=0)
        if longest < self.frames:
            raise UsageError(
                f"a training segment has {self.frames} frames of 10 ms, the longest training clip {longest}; "
                "ask for shorter segments (--frames, train.segment) or give longer recordings"
            )

    def __call__(self, step: int, seed: int) -> Batch:
        """Return the batch of one step: the same for every arm that shares the seed."""
        rng = np.random.default_rng([seed, step])
        room = np.array([len(clip.mel) - self.frames + 1 for clip in self.clips])
        starts = np.cumsum(np.maximum(room, 0))
        picks = rng.integers(starts[-1], size=self.batch)
        gains = 10 ** (rng.uniform(-self.gain_db, self.gain_db, self.batch) / 20)
        which = np.searchsorted(starts, picks, side="right")
        rows = [
            self._segment(self.clips[c], int(starts[c] - p - 1), g) for c, p, g in zip(which, picks, gains, strict=True)
        ]
        return Batch(*(np.stack(part) for part in zip(*rows, strict=True)))

    def _segment(self, clip: ClipData, start: int, gain: float) -> tuple[Any, Any, Any]:
        before, after = self.arch.context
        span = np.arange(start - before, start + self.frames + after)
        mel = clip.mel[np.clip(span, 0, len(clip.mel) - 1)] + np.float32(np.log(gain))
        per = self.arch.steps_per_frame
        first = max(start * per - 1, 0)
        samples = clip.bands[first : (start + self.frames) * per] * np.float32(gain) / self.band_scale
        indices = quantiser.encode(samples)
        if start == 0:
            return mel, shift(indices), indices
        return mel, indices[:-1], indices[1:]
