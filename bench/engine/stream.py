"""A running vocoder: mel frames are pushed, audio comes back as soon as it is decided."""

import numpy as np

from bench.engine.layout import Floats
from bench.engine.native import core
from bench.errors import LanewiseError


class Stream:
    """One utterance in pieces; made by `Vocoder.stream`. Its memory does not grow, however long it runs.

    The pieces, put together, equal `Vocoder.synthesize` of the whole bit for bit, wherever the mel frames were cut.
    Used by one thread at a time.
    """

    def __init__(self, native: core.Stream, mels: int) -> None:
        self._native = native
        self._mels = mels
        self._finished = False

    def push(self, mel: Floats) -> Floats:
        """Add frames, get the audio that no later frame can change.

        A frame's audio comes once `lookahead` more frames are there (3 by default; none for a causal model).

        Parameters
        ----------
        mel
            float32 (frames, mels), any number of frames.

        Returns
        -------
        float32 (ready frames * hop,)

        Raises
        ------
        LanewiseError
            If `mel` has the wrong shape or is not finite, or the stream has been finished.
        """
        if self._finished:
            raise LanewiseError("this stream has been finished; start another for the next utterance")
        frames = checked_mel(mel, self._mels)
        audio = [np.zeros(0, dtype=np.float32)]
        while len(frames):
            frames = frames[self._native.push(frames) :]
            audio.append(self._native.pull())
        return np.concatenate(audio)

    @property
    def skipped(self) -> float:
        """As `Vocoder.skipped`, so far."""
        return float(self._native.skipped)

    def finish(self) -> Floats:
        """End the utterance, get the audio that was held back: float32 (frames * hop,)."""
        self._finished = True
        self._native.finish()
        return np.asarray(self._native.pull())


def checked_mel(mel: Floats, mels: int) -> Floats:
    """Contiguous float32 (frames, mels).

    Raises
    ------
    LanewiseError
        If the shape is another, or a number is not finite.
    """
    checked = np.ascontiguousarray(mel, dtype=np.float32)
    if checked.ndim != 2 or checked.shape[1] != mels:
        raise LanewiseError(f"mel has shape {np.shape(mel)}, this model expects (frames, {mels}), at least one frame")
    if not np.isfinite(checked).all():
        raise LanewiseError("mel holds NaN or infinite numbers")
    return checked
