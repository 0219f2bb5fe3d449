"""Find wording that two splits share, by sound alone: the embedded corpus has no transcripts.

Every clip is cut into windows of 2 s; each is searched in the clips of the other splits by subsequence dynamic time
warping (Sakoe and Chiba, 1978; M. Müller, Information Retrieval for Music and Motion, 2007, section 4.4) of
cepstra, with steps (1,1), (1,2), (2,1), which bound the tempo ratio to 2 and let a whole row be computed at once.
The distance is 1 - cosine, averaged along the path.

`SAME_WORDING` was set on the embedded corpus. A recording used twice lies below 0.02; sentences spoken anew inside
its families at 0.15 ("followed by the pound key") to 0.35 ("something is terribly wrong"); single words and stock
fragments of under a second ("press two to") above 0.30; unlike windows above 0.38. So a match below the limit is
shared wording, and the next ones deserve a look, which is why the check prints the closest ones too.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.data.features import HOP, SAMPLE_RATE_HZ, FloatArray
from bench.progress import track

SAME_WORDING = 0.30
_FRAMES_AVERAGED = 4
_FRAME_S = _FRAMES_AVERAGED * HOP / SAMPLE_RATE_HZ
_WINDOW = 50
_WINDOW_HOP = 12
_MIN_WINDOW = 12
_CEPSTRA = 19
_FAR = np.float32(100.0)


@dataclass(frozen=True, order=True)
class Match:
    """A window of one clip and the clip of another split that sounds most like it."""

    distance: float
    clip: str
    split: str
    start_s: float
    seconds: float
    other_clip: str
    other_split: str


def cepstra(mel: FloatArray) -> npt.NDArray[np.float64]:
    """Cepstral coefficients 1 to 19 (DCT-II of the log-mel bands) at 25 frames a second; loudness is left out."""
    from scipy.fft import dct

    whole = len(mel) // _FRAMES_AVERAGED * _FRAMES_AVERAGED
    averaged = mel[:whole].astype(np.float64).reshape(-1, _FRAMES_AVERAGED, mel.shape[1]).mean(axis=1)
    coefficients: npt.NDArray[np.float64] = dct(averaged, axis=1, norm="ortho")[:, 1 : _CEPSTRA + 1]
    return coefficients


def subsequence_distance(cost: FloatArray) -> FloatArray:
    """Mean cost of the best path that ends in each column.

    Parameters
    ----------
    cost : float32 array (query frames, searched frames)

    Returns
    -------
    float32 array (searched frames,)
        The path starts in any column; its steps are (1,1), (1,2) and (2,1), the latter paying for both rows.
    """
    before: FloatArray | None = None
    last = cost[0].copy()
    for row in range(1, len(cost)):
        best = np.full_like(last, _FAR * len(cost))
        best[1:] = last[:-1]
        np.minimum(best[2:], last[:-2], out=best[2:])
        if before is not None:
            np.minimum(best[1:], before[:-1] + cost[row - 1, 1:], out=best[1:])
        before, last = last, best + cost[row]
    mean: FloatArray = last / np.float32(len(cost))
    return mean


def shared_wording(mels: dict[str, FloatArray], splits: dict[str, str]) -> list[Match]:
    """For every clip, its window that sounds most like something in another split; closest first.

    Parameters
    ----------
    mels : dict of float32 arrays (frames, 80)
        `bench.data.features.log_mel` of each clip.
    splits : dict
        Split of each clip.
    """
    raw = {clip: cepstra(mel) for clip, mel in mels.items()}
    everything = np.concatenate(list(raw.values()))
    mean, std = everything.mean(axis=0), everything.std(axis=0)
    unit: dict[str, FloatArray] = {}
    for clip, values in raw.items():
        scaled = (values - mean) / std
        unit[clip] = (scaled / np.linalg.norm(scaled, axis=1, keepdims=True)).astype(np.float32)
    searched = {split: _Searched(unit, [c for c in unit if splits[c] != split]) for split in set(splits.values())}
    matches = [
        _closest(clip, splits, unit[clip], searched[splits[clip]])
        for clip in track(sorted(unit), "wording", len(unit))
        if len(unit[clip]) >= _MIN_WINDOW
    ]
    return sorted(matches)


class _Searched:
    """Clips joined into one sequence, with gaps that no path can cross."""

    def __init__(self, unit: dict[str, FloatArray], clips: list[str]) -> None:
        gap = np.zeros((2, _CEPSTRA), np.float32)
        self.frames = np.concatenate([part for clip in clips for part in (unit[clip], gap)])
        self.owner = np.concatenate([np.full(len(unit[clip]) + 2, i) for i, clip in enumerate(clips)])
        self.gaps = np.flatnonzero(~self.frames.any(axis=1))
        self.clips = clips


def _closest(clip: str, splits: dict[str, str], query: FloatArray, searched: _Searched) -> Match:
    best: Match | None = None
    last_start = max(len(query) - _WINDOW, 0)
    for start in sorted({*range(0, last_start + 1, _WINDOW_HOP), last_start}):
        window = query[start : start + _WINDOW]
        cost = np.float32(1.0) - window @ searched.frames.T
        cost[:, searched.gaps] = _FAR
        distance = subsequence_distance(cost)
        at = int(distance.argmin())
        other = searched.clips[searched.owner[at]]
        found = Match(
            distance=round(float(distance[at]), 4),
            clip=clip,
            split=splits[clip],
            start_s=round(start * _FRAME_S, 2),
            seconds=round(len(window) * _FRAME_S, 2),
            other_clip=other,
            other_split=splits[other],
        )
        best = found if best is None else min(best, found)
    assert best is not None
    return best
