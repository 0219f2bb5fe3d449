"""What a network is trained on: the few things that arms need to know of a task."""

import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from bench.config.matrices import Layer, unit_layers
from bench.learn.dataset import Batch, ClipData, Segments
from bench.learn.evaluate import mean_nll, mean_nlls
from bench.models import mixture
from bench.models.wavernn import MATRICES, SubbandWaveRNN


@dataclass(frozen=True)
class StackedForm:
    """How arms with models of equal sizes are trained as one (`bench.learn.stack`).

    Attributes
    ----------
    key
        `key(model)`: what arms trained as one have in common; None for a model that is trained by itself.
    tensors
        `tensors(batch)`: a batch as tensors on the CPU, of the same shapes at every step.
    loss
        `loss(call, *tensors)`: what `Task.loss` gives, where `call` calls the model. Made of tensor operators alone, so
        that it can be vectorised over arms and captured.
    validate
        `validate(model, weights)`: the outcome of each arm; `weights` holds parameters and buffers (arms, ...) by name.
    """

    key: Callable[[nn.Module], Hashable | None]
    tensors: Callable[[Any], tuple[Tensor, ...]]
    loss: Callable[..., Tensor]
    validate: Callable[[nn.Module, Mapping[str, Tensor]], list[float]]


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
    stacked
        How many arms are trained as one; None where each is trained by itself.
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
    stacked: StackedForm | None = None


DISTIL_EVERY = 13
"""Every how many steps of a segment distributions are compared; no divisor of a frame's 40, so that all phases count.
Measured (GRU 384, half pruned, batch 32 x 400): a step takes 0.29 s without, 0.42 s with every 13th, 2.9 s with all;
the gradient's cosine with that of all steps is 0.992, while two batches' gradients have 0.932."""


def nll_bits(model: SubbandWaveRNN, batch: Batch) -> Tensor:
    """Mean NLL of a batch in bits per full-band sample (a scalar that can be differentiated)."""
    return _loss(model, *_tensors(model, batch))


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
    return [x.to(model.band_scale.device) for x in _on_cpu(batch)]


def _on_cpu(batch: Batch) -> tuple[Tensor, ...]:
    return tuple(torch.from_numpy(x) for x in batch)


def _loss(call: Callable[[Tensor, Tensor], Tensor], mel: Tensor, previous: Tensor, target: Tensor) -> Tensor:
    return _nll(call(mel, previous), target)


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
    shared = (batch, frames, tuple(clip.id for clip in valid))
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
        stacked=StackedForm(partial(_key, shared=shared), _on_cpu, _loss, partial(_validate_stacked, valid=valid)),
    )


def _validate(model: nn.Module, valid: list[ClipData]) -> float:
    assert isinstance(model, SubbandWaveRNN)
    return mean_nll(model, valid)


def _key(model: nn.Module, shared: tuple[Hashable, ...]) -> Hashable | None:
    assert isinstance(model, SubbandWaveRNN)
    if model.gru.skip is not None:  # what its steps compute depends on its states
        return None
    return (*shared, model.arch, model.band_scale.cpu().numpy().tobytes())


def _validate_stacked(model: nn.Module, weights: Mapping[str, Tensor], valid: list[ClipData]) -> list[float]:
    assert isinstance(model, SubbandWaveRNN)
    return mean_nlls(model, weights, valid)


def _fresh(model: SubbandWaveRNN, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SubbandWaveRNN(model.arch)


@torch.no_grad()
def _inputs(model: SubbandWaveRNN, batch: Batch) -> dict[str, Tensor]:
    mel, previous, _ = _tensors(model, batch)
    return model.inputs(mel, previous)
