"""Teacher-forced negative log likelihood of whole clips, in bits per full-band sample."""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn, vmap
from torch.func import functional_call

from bench.learn.dataset import ClipData
from bench.models import mixture, quantiser
from bench.models.wavernn import State, SubbandWaveRNN, shift

_ROWS = 16
"""Clips evaluated side by side: two register blocks of the GRU kernel, one for each of two threads."""
_FRAMES = 40
"""Frames evaluated at once: bounds memory, the state is carried on."""
_FRAMES_STACKED = 4
"""The same where many arms and all clips are evaluated side by side: 64 arms of 384 units need about 3 GB."""


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
    """Return the NLL of clips side by side, the shortest first."""
    device, per = model.band_scale.device, model.arch.steps_per_frame
    frames = max(len(clip.mel) for clip in clips)
    cond = torch.zeros(len(clips), frames, 3 * model.arch.hidden, device=device)
    for row, clip in enumerate(clips):
        cond[row, : len(clip.mel)] = model.conditioning(torch.from_numpy(clip.mel)[None].to(device))[0]
    previous, target = _indices(model, clips, frames)
    state = model.start(len(clips))
    tables = model.tables()
    bits: list[list[NDArray[np.float64]]] = [[] for _ in clips]
    ended = 0
    for frame in range(0, frames, _FRAMES):
        before, ended = ended, sum(len(clip.mel) <= frame for clip in clips)
        state = State(state.h[ended - before :], None if state.a is None else state.a[ended - before :])
        rows, part = slice(ended, None), slice(frame * per, (frame + _FRAMES) * per)
        fed = torch.from_numpy(previous[rows, part]).contiguous().to(device)
        states, state = model.recur(fed, tables, cond[rows, frame : frame + _FRAMES], state)
        log_prob = mixture.log_prob(model.head(states), torch.from_numpy(target[rows, part]).to(device))
        for found, row in zip(bits[rows], -log_prob.double().mean(-1).cpu().numpy() / math.log(2), strict=True):
            found.append(row)
    return [float(np.concatenate(row)[: len(clip.bands)].mean()) for row, clip in zip(bits, clips, strict=True)]


def _indices(model: SubbandWaveRNN, clips: list[ClipData], frames: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Previous and target levels of clips side by side, (clips, steps, bands) each, silent where a clip has ended."""
    target = np.full((len(clips), frames * model.arch.steps_per_frame, model.arch.bands), quantiser.SILENCE, np.uint8)
    previous = target.copy()
    for row, clip in enumerate(clips):
        indices = quantiser.encode(clip.bands / model.band_scale.cpu().numpy())
        target[row, : len(indices)], previous[row, : len(indices)] = indices, shift(indices)
    return previous, target


def mean_nll(model: SubbandWaveRNN, clips: list[ClipData]) -> float:
    """Mean of the clips' NLL, each clip weighted by its length."""
    nlls = clip_nlls(model, clips)
    return float(np.average([nlls[clip.id] for clip in clips], weights=[len(clip.bands) for clip in clips]))


class _Piece(nn.Module):
    """What is asked of a model in a validation, as forward passes: so that `functional_call` can give it weights."""

    def __init__(self, model: SubbandWaveRNN) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, *more: Tensor) -> Any:
        """Return a clip's conditioning; or NLL in bits (rows, steps) and the last state of a piece of clips."""
        if not more:
            return self.model.conditioning(x)
        target, cond, h = more
        states, state = self.model.recur(x, self.model.tables(), cond, State(h, None))
        return -mixture.log_prob(self.model.head(states), target).mean(-1) / math.log(2), state.h


@torch.no_grad()
def mean_nlls(model: SubbandWaveRNN, weights: Mapping[str, Tensor], clips: list[ClipData]) -> list[float]:
    """`mean_nll` of many arms at once, all clips side by side.

    Parameters
    ----------
    model
        Gives sizes and scales, which the arms share.
    weights
        Parameters and buffers (arms, ...) by state key.
    clips
        Validation clips.
    """
    piece, given = _Piece(model), {f"model.{key}": value.detach() for key, value in weights.items()}
    arms, device, per = len(next(iter(given.values()))), model.band_scale.device, model.arch.steps_per_frame

    def call(*args: Tensor, shared: int) -> Any:
        """Run the piece for every arm; the first `shared` arguments are the same for all."""
        of = partial(functional_call, piece)
        dims = (*[None] * shared, *[0] * (len(args) - shared))
        return vmap(lambda w, *x: of(w, x), in_dims=(0, *dims))(given, *args)

    frames = max(len(clip.mel) for clip in clips)
    cond = torch.zeros(arms, len(clips), frames, 3 * model.arch.hidden, device=device)
    for row, clip in enumerate(clips):
        cond[:, row, : len(clip.mel)] = call(torch.from_numpy(clip.mel)[None].to(device), shared=1)[:, 0]
    previous, target = _indices(model, clips, frames)
    lengths = torch.tensor([len(clip.bands) for clip in clips], device=device)
    total, h = (
        torch.zeros(arms, device=device, dtype=torch.float64),
        cond.new_zeros(arms, len(clips), model.arch.hidden),
    )
    for frame in range(0, frames, _FRAMES_STACKED):
        part = slice(frame * per, (frame + _FRAMES_STACKED) * per)
        fed, wanted = (torch.from_numpy(x[:, part]).contiguous().to(device) for x in (previous, target))
        bits, h = call(fed, wanted, cond[:, :, frame : frame + _FRAMES_STACKED], h, shared=2)
        inside = torch.arange(part.start, part.start + bits.shape[2], device=device) < lengths[:, None]
        total += (bits.double() * inside).sum((1, 2))
    return [float(bits) for bits in (total / lengths.sum()).tolist()]
