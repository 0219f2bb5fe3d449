"""Cache of features on disk: one file per recording, named by the hash of the recording and of the feature version."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.data.features import FEATURE_VERSION, HOP, N_MELS, SAMPLE_RATE_HZ, FloatArray, log_mel
from bench.errors import LanewiseError
from bench.progress import Progress, say

if TYPE_CHECKING:
    from bench.data.corpus import Clip, Corpus


def features(corpus: "Corpus", cache_dir: str | Path) -> dict[str, FloatArray]:
    """Log-mel features of every clip, computed once.

    Parameters
    ----------
    corpus : Corpus
    cache_dir : path
        Folder of the cache; shared by processes and corpora.

    Returns
    -------
    dict of float32 arrays (frames, N_MELS), by clip id

    Raises
    ------
    LanewiseError
        A recording cannot be used; what was computed before it stays cached, the recording itself leaves nothing.
    """
    folder = Path(cache_dir) / f"log_mel_v{FEATURE_VERSION}"
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, FloatArray] = {}
    with Progress("features", len(corpus.clips)) as progress:
        for clip in corpus.clips:
            found[clip.id] = _cached(clip, folder / f"{clip.sha256()}.npy")
            progress.advance()
    return found


def _cached(clip: "Clip", path: Path) -> FloatArray:
    if path.is_file():
        mel = _load(path, frames=round(clip.seconds * SAMPLE_RATE_HZ) // HOP)
        if mel is not None:
            return mel
        say(f"features of {clip.id}: {path} is damaged; computing them again")
    audio = clip.audio()
    try:
        mel = log_mel(audio)
    except LanewiseError as error:
        raise LanewiseError(f"{clip.path}: {error}") from error
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            np.save(file, mel)
        os.replace(partial, path)
    except OSError as error:
        raise LanewiseError(f"{path}: cannot be written ({error}); free space or name another cache") from error
    finally:
        partial.unlink(missing_ok=True)
    return mel


def _load(path: Path, frames: int) -> FloatArray | None:
    """The cached array, or None where the file is not what `features` writes."""
    try:
        mel = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    if mel.dtype != np.float32 or mel.shape != (frames, N_MELS):
        return None
    found: FloatArray = mel
    return found
