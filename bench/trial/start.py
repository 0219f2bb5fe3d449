"""What an arm begins with, by task: the dense model, what it is trained on, and how it is saved."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench.config.checkpoints import checkpoint_path
from bench.data.audio import FloatArray
from bench.data.mixtures import Pair, evenly
from bench.errors import LanewiseError
from bench.learn.enhancer_task import enhancer_task
from bench.learn.noisy import training_mixtures
from bench.learn.task import Task, vocoder
from bench.models import checkpoint
from bench.models.enhancer import Enhancer
from bench.models.quantised import Quantisation, QuantisedEnhancer, quantise
from bench.trial import dense
from bench.trial.context import Trial

_CALIBRATION_STEP = 10**6
"""Of the batches from which static ranges are set: beyond every arm's own."""


@dataclass(frozen=True)
class Start:
    """What an arm begins with.

    Attributes
    ----------
    model
        The dense start; training changes it in place.
    task
        What it is trained on.
    save
        `save(path, meta)` writes the model as it then is.
    arch
        Of the dense start.
    """

    model: nn.Module
    task: Task
    save: Callable[[Path, dict[str, Any]], None]
    arch: dict[str, Any]


def begin(trial: Trial) -> Start:
    """Return what the trial's arm begins with; a dense model that nobody trained yet is trained first."""
    return _enhancer(trial) if trial.config.task == "enhancer" else _vocoder(trial)


def _vocoder(trial: Trial) -> Start:
    recordings, train = trial.recordings, trial.config.train
    model = dense.model(trial)
    task = vocoder(
        model,
        recordings.clips(recordings.ids("train"), model.arch),
        recordings.clips(trial.valid_ids, model.arch),
        train.batch,
        train.segment // model.arch.steps_per_frame,
        trial.config.seed.recover,
    )
    return Start(model, task, lambda path, meta: checkpoint.save(path, model, meta), asdict(model.arch))


def _enhancer(trial: Trial) -> Start:
    train, seed = trial.config.train, trial.config.seed.recover
    source = training_mixtures(trial.mixtures, train.seconds, train.batch)
    model = in_arithmetic(trial, checkpoint.load_enhancer(checkpoint_path(trial.config.model.init, "enhancer"))[0])
    if isinstance(model, QuantisedEnhancer):
        model.calibrate(torch.from_numpy(source(_CALIBRATION_STEP, seed)[0]))
    valid = [_audible(pair) for pair in evenly(trial.mixtures.valid, trial.config.measure.valid_clips)]
    task = enhancer_task(model, source, valid, train.loss, seed)
    return Start(
        model.train(), task, lambda path, meta: checkpoint.save_enhancer(path, model, meta), asdict(model.arch)
    )


def _audible(pair: Pair) -> tuple[FloatArray, FloatArray]:
    """Return the noisy and clean samples of a validation clip, of which the improvement of SI-SDR is defined."""
    noisy, clean = pair.load()
    if not noisy.any() or not clean.any():
        raise LanewiseError(f"{pair.id}: silent, so that its SI-SDR is not defined; take it out of the recordings")
    return noisy, clean


def in_arithmetic(trial: Trial, model: Enhancer) -> Enhancer:
    """Return the enhancer in the arithmetic that its arm learns: itself, or its integer twin."""
    quant = trial.config.quant
    if quant.kind == "none":
        return model
    return quantise(model, Quantisation(quant.weights, quant.activations))
