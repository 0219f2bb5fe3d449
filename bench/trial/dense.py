"""The dense model that arms start from: a checkpoint, one trained here and shared through the cache, or a fresh one."""

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.config.checkpoints import checkpoint_hash, checkpoint_path
from bench.trial.cache import stage_key
from bench.trial.context import Trial

if TYPE_CHECKING:
    from bench.models.wavernn import SubbandWaveRNN

VERSION = 1
"""Of the code that trains it: raise it when results change, so that models of the older code are not reused."""

MODEL_FILE = "model.safetensors"


def key(trial: Trial) -> str:
    """Return what names the dense model: the hash of its file, or of everything that it is made from."""
    init = trial.config.model.init
    if init in ("dense", "scratch"):
        return stage_key(init, _inputs(trial))
    return checkpoint_hash(init, trial.config.task)


def model(trial: Trial) -> "SubbandWaveRNN":
    """Return the dense model, training it first if `model.init` is `dense` and nobody has."""
    from bench.models import checkpoint

    init = trial.config.model.init
    if init == "scratch":
        return _fresh(trial)
    if init == "dense":
        folder = trial.cache.fetch("dense", _inputs(trial), lambda partial, work: _train(trial, partial, work))
        return checkpoint.load(folder / MODEL_FILE)[0]
    return checkpoint.load(checkpoint_path(init))[0]


def _inputs(trial: Trial) -> dict[str, Any]:
    config = trial.config
    inputs = {"data": trial.recordings.hash, "arch": asdict(trial.arch), "seed": config.seed.dense, "version": VERSION}
    if config.model.init == "dense":
        inputs |= config.train.model_dump(include={"dense_steps", "dense_lr", "batch", "segment", "device"})
    return inputs


def _fresh(trial: Trial) -> "SubbandWaveRNN":
    import torch

    from bench.learn.dataset import scales
    from bench.models.wavernn import SubbandWaveRNN

    torch.manual_seed(trial.config.seed.dense)
    made = SubbandWaveRNN(trial.arch)
    made.set_scales(*scales(trial.recordings.clips(trial.recordings.ids("train"), trial.arch)))
    return made


def _train(trial: Trial, partial: Path, work: Path) -> None:
    from bench.learn.dense import DensePlan, train_dense
    from bench.learn.fit import Optimisation
    from bench.measure.speed.lock import pause_while_timing

    train = trial.config.train
    plan = DensePlan(
        corpus=trial.config.data.corpus,
        arch=trial.arch,
        seed=trial.config.seed.dense,
        batch=train.batch,
        frames=train.segment // trial.arch.steps_per_frame,
        optimisation=Optimisation(train.dense_steps, train.dense_lr, average=0.999, hold=0.6, tail=0.05),
    )
    made = train_dense(
        plan,
        work / MODEL_FILE,
        trial.cache.root / "features",
        train.device,
        save_every=train.checkpoint_every,
        before_step=pause_while_timing,
    )
    shutil.copyfile(made, partial / MODEL_FILE)
