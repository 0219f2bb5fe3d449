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
    distil
        `distil(student, teacher, batch)`: the student's `loss` on the batch, and the distance of its outputs from the
        teacher's in the same unit, both from one forward pass of the student.
    fresh
        `fresh(model, seed)`: an untrained model of the same sizes.
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
    distil: Callable[[Any, Any, Any], tuple[Tensor, Tensor]]
    fresh: Callable[[Any, int], nn.Module]
    inputs: Callable[[Any, Any], dict[str, Tensor]]
    matrices: Mapping[str, tuple[str, int]]
    recurrent: frozenset[str]
    layers: tuple[Layer, ...] = ()


DISTIL_EVERY = 13
"""Every how many steps of a segment distributions are compared; no divisor of a frame's 40, so that all phases count.
Measured (GRU 384, half pruned, batch 32 x 400): a step takes 0.29 s without, 0.42 s with every 13th, 2.9 s with all;
the gradient's cosine with that of all steps is 0.992, while two batches' gradients have 0.932."""


def nll_bits(model: SubbandWaveRNN, batch: Batch) -> Tensor:
    """Mean NLL of a batch in bits per full-band sample (a scalar that can be differentiated)."""
    mel, previous, target = _tensors(model, batch)
    return _nll(model(mel, previous), target)


def distil_bits(
    student: SubbandWaveRNN, teacher: SubbandWaveRNN, batch: Batch, every: int = DISTIL_EVERY
) -> tuple[Tensor, Tensor]:
    """Mean NLL of the student, and mean KL(teacher || student) of the output distributions, bits per full-band sample.

    The divergence is exact over levels, and taken at each `every`-th step: as segments begin anywhere in the clips, an
    unbiased estimate of that over all steps. Both networks are fed the recorded samples.
    """
    mel, previous, target = _tensors(student, batch)
    parameters = student(mel, previous)
    with torch.no_grad():
        wanted = teacher(mel, previous)
    some = slice(every // 2, None, every)
    distance = mixture.kl_divergence(wanted[:, some], parameters[:, some], target.shape[-1])
    return _nll(parameters, target), distance.mean() / math.log(2)


def _tensors(model: SubbandWaveRNN, batch: Batch) -> list[Tensor]:
    return [torch.from_numpy(x).to(model.band_scale.device) for x in batch]


def _nll(parameters: Tensor, target: Tensor) -> Tensor:
    return -mixture.log_prob(parameters, target).mean() / math.log(2)


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
        distil=distil_bits,
        fresh=_fresh,
        inputs=_inputs,
        matrices=MATRICES,
        recurrent=frozenset({"gru.w_hh"}),
        layers=unit_layers(model.arch.hidden),
    )


def _validate(model: nn.Module, valid: list[ClipData]) -> float:
    assert isinstance(model, SubbandWaveRNN)
    return mean_nll(model, valid)


def _fresh(model: SubbandWaveRNN, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SubbandWaveRNN(model.arch)


@torch.no_grad()
def _inputs(model: SubbandWaveRNN, batch: Batch) -> dict[str, Tensor]:
    mel, previous, _ = _tensors(model, batch)
    return model.inputs(mel, previous)
