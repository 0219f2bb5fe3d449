"""Teacher-forced negative log likelihood of whole clips, in bits per full-band sample."""

import math

import numpy as np
import torch
from numpy.typing import NDArray

from bench.learn.dataset import ClipData
from bench.models import mixture, quantiser
from bench.models.wavernn import SubbandWaveRNN, shift

_ROWS = 8
"""Clips evaluated side by side: what one register block of the GRU kernel holds."""
_FRAMES = 40
"""Frames evaluated at once: bounds memory, the state is carried on."""


def clip_nlls(model: SubbandWaveRNN, clips: list[ClipData]) -> dict[str, float]:
    """Return each clip's NLL: total -log2 P over bands and steps divided by the number of full-band samples."""
    by_length = sorted(clips, key=lambda clip: (len(clip.mel), clip.id))
    found: dict[str, float] = {}
    for first in range(0, len(by_length), _ROWS):
        group = by_length[first : first + _ROWS]
        found |= dict(zip((clip.id for clip in group), _group_nlls(model, group), strict=True))
    return {clip.id: found[clip.id] for clip in clips}


@torch.no_grad()
def _group_nlls(model: SubbandWaveRNN, clips: list[ClipData]) -> list[float]:
    device, per = model.band_scale.device, model.arch.steps_per_frame
    frames = max(len(clip.mel) for clip in clips)
    cond = torch.zeros(len(clips), frames, 3 * model.arch.hidden, device=device)
    target = np.full((len(clips), frames * per, model.arch.bands), quantiser.SILENCE, dtype=np.uint8)
    previous = target.copy()
    for row, clip in enumerate(clips):
        cond[row, : len(clip.mel)] = model.conditioning(torch.from_numpy(clip.mel)[None].to(device))[0]
        indices = quantiser.encode(clip.bands / model.band_scale.cpu().numpy())
        target[row, : len(indices)], previous[row, : len(indices)] = indices, shift(indices)
    state = model.start(len(clips))
    tables = model.tables()
    bits: list[NDArray[np.float64]] = []
    for frame in range(0, frames, _FRAMES):
        part = slice(frame * per, (frame + _FRAMES) * per)
        fed = torch.from_numpy(previous[:, part]).contiguous().to(device)
        states, state = model.recur(fed, tables, cond[:, frame : frame + _FRAMES], state)
        log_prob = mixture.log_prob(model.head(states), torch.from_numpy(target[:, part]).to(device))
        bits.append(-log_prob.double().mean(-1).cpu().numpy() / math.log(2))
    per_step = np.concatenate(bits, axis=1)
    return [float(row[: len(clip.bands)].mean()) for row, clip in zip(per_step, clips, strict=True)]


def mean_nll(model: SubbandWaveRNN, clips: list[ClipData]) -> float:
    """Mean of the clips' NLL, each clip weighted by its length."""
    nlls = clip_nlls(model, clips)
    return float(np.average([nlls[clip.id] for clip in clips], weights=[len(clip.bands) for clip in clips]))
