"""What a network is trained on: the few things that arms need to know of a task."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from bench.config.matrices import Layer, unit_layers
from bench.learn.dataset import Batch, ClipData, Segments
from bench.learn.evaluate import mean_nll
from bench.models import mixture
from bench.models.wavernn import MATRICES, SubbandWaveRNN


@dataclass(frozen=True)
class Task:
    """A task as arms see it.

    Attributes
    ----------
    batches
        `batches(step)` gives the batch of a step, the same for every arm of equal seed.
    loss
        `loss(model, batch)`: a differentiable scalar, in bits for the vocoder.
    validate
        `validate(model)`: the validation outcome, lower is better.
    inputs
        `inputs(model, batch)`: what each prunable matrix is multiplied with, (n, in) by state key.
    matrices
        Public name -> (state key, gates) of what can be pruned.
    recurrent
        State keys of those whose gates are square, with a diagonal worth keeping.
    layers
        Layers whose hidden units can be pruned as one.
    """

    batches: Callable[[int], Any]
    loss: Callable[[Any, Any], Tensor]
    validate: Callable[[Any], float]
    inputs: Callable[[Any, Any], dict[str, Tensor]]
    matrices: Mapping[str, tuple[str, int]]
    recurrent: frozenset[str]
    layers: tuple[Layer, ...] = ()


def nll_bits(model: SubbandWaveRNN, batch: Batch) -> Tensor:
    """Mean NLL of a batch in bits per full-band sample (a scalar that can be differentiated)."""
    device = model.band_scale.device
    mel, previous, target = (torch.from_numpy(x).to(device) for x in batch)
    return -mixture.log_prob(model(mel, previous), target).mean() / math.log(2)


def vocoder(
    model: SubbandWaveRNN, train: list[ClipData], valid: list[ClipData], batch: int, frames: int, seed: int
) -> Task:
    """Return the vocoder's task.

    Parameters
    ----------
    model
        Gives sizes and scales.
    train, valid
        Clips to train on and to validate with.
    batch, frames
        Segments per step, frames per segment.
    seed
        Decides the segments drawn.
    """
    segments = Segments(train, model.arch, model.band_scale.cpu().numpy(), batch, frames)
    return Task(
        batches=lambda step: segments(step, seed),
        loss=nll_bits,
        validate=partial(_validate, valid=valid),
        inputs=_inputs,
        matrices=MATRICES,
        recurrent=frozenset({"gru.w_hh"}),
        layers=unit_layers(model.arch.hidden),
    )


def _validate(model: nn.Module, valid: list[ClipData]) -> float:
    assert isinstance(model, SubbandWaveRNN)
    return mean_nll(model, valid)


@torch.no_grad()
def _inputs(model: SubbandWaveRNN, batch: Batch) -> dict[str, Tensor]:
    device = model.band_scale.device
    mel, previous, _ = (torch.from_numpy(x).to(device) for x in batch)
    return model.inputs(mel, previous)
