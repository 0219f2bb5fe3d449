"""The enhancer as arms see it: noisy mixtures in, minus the improvement of SI-SDR as the validation loss."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from bench.data.audio import FloatArray
from bench.learn.enhancement import Sums, batch_loss, si_sdr_db
from bench.learn.enhancer_loss import LOSSES
from bench.learn.fit import DivergedError, device_of
from bench.learn.noisy import TrainingMixtures
from bench.learn.task import Task
from bench.models.enhancer import Enhancer, matrices
from bench.models.quantised import QuantisedEnhancer

_BATCH = 32
"""Validation clips enhanced at once."""


def enhancer_task(model: Enhancer, source: TrainingMixtures, valid: Sequence[Sums], loss: str, seed: int) -> Task:
    """Return the enhancer's task.

    Parameters
    ----------
    model
        Gives sizes.
    source
        Training mixtures by step and seed.
    valid
        Noisy and clean samples (n,) of the validation clips.
    loss
        A training loss of `bench.learn.enhancer_loss`, in dB or (spectral) without unit.
    seed
        Decides the mixtures.
    """
    named = matrices(model.arch)
    return Task(
        batches=lambda step: source(step, seed),
        loss=batch_loss(loss),
        validate=partial(minus_improvement_db, clips=valid),
        distil=partial(_distil, loss=loss),
        fresh=_fresh,
        inputs=_inputs,
        matrices=named,
        recurrent=frozenset(key for name, (key, _) in named.items() if name.endswith(".recurrent")),
        layers=model.arch.shape.layers(),
    )


@torch.no_grad()
def minus_improvement_db(model: nn.Module, clips: Sequence[Sums]) -> float:
    """Minus the mean improvement of SI-SDR in dB over the noisy clips, enhanced by a model in whatever arithmetic.

    Raises
    ------
    DivergedError
        The model enhances a clip to silence or to what is no number.
    """
    assert isinstance(model, Enhancer)
    gains: list[float] = []
    order = sorted(clips, key=lambda clip: len(clip[0]))  # clips of like length together: little is padded
    for first in range(0, len(order), _BATCH):
        part = order[first : first + _BATCH]
        longest = max(len(noisy) for noisy, _ in part)
        padded = np.stack([np.pad(noisy, (0, longest - len(noisy))) for noisy, _ in part])
        enhanced = model(torch.from_numpy(padded).to(device_of(model))).cpu().numpy()
        gains += [
            si_sdr_db(clean, out[: len(clean)]) - si_sdr_db(clean, noisy)
            for (noisy, clean), out in zip(part, enhanced, strict=True)
        ]
    if not np.isfinite(gains).all():
        raise DivergedError("a validation clip is enhanced to silence, or to what is no number: training diverged")
    return -float(np.mean(gains))


def _distil(student: Enhancer, teacher: Enhancer, batch: Sums, loss: str) -> tuple[Tensor, Tensor]:
    """Loss of the student, and the same loss with the teacher's output for the clean speech."""
    noisy, clean = (torch.from_numpy(part).to(device_of(student)) for part in batch)
    enhanced = student(noisy)
    with torch.no_grad():
        wanted = teacher(noisy)
    return LOSSES[loss](clean, enhanced), LOSSES[loss](wanted, enhanced)


def _fresh(model: Enhancer, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if isinstance(model, QuantisedEnhancer):
            return QuantisedEnhancer(model.arch, model.quantisation)
        return Enhancer(model.arch)


@torch.no_grad()
def _inputs(model: Enhancer, batch: tuple[FloatArray, FloatArray]) -> dict[str, Tensor]:
    noisy = torch.from_numpy(batch[0]).to(device_of(model))
    return model.inputs(noisy[:, : noisy.shape[1] // model.arch.hop * model.arch.hop])
