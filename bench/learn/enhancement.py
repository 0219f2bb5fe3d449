"""Dense training of an enhancer from nothing, resumable at any moment."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bench.data.audio import FloatArray
from bench.data.mixtures import Pair
from bench.data.noisy_corpora import load_noisy
from bench.learn.enhancer_loss import LOSSES
from bench.learn.fit import Fit, Optimisation, device_of, task_loss
from bench.learn.noisy import TrainingMixtures, training_mixtures
from bench.learn.pretrain import pretrain
from bench.models import checkpoint
from bench.models.enhancer import Enhancer, EnhancerArch
from bench.progress import say

_FEATURE_BATCHES = 8
"""Batches from which the features are normalised."""
Sums = tuple[FloatArray, FloatArray]


@dataclass(frozen=True)
class EnhancerPlan:
    """A dense training run: everything that decides its result."""

    corpus: str
    noise: str
    arch: EnhancerArch
    optimisation: Optimisation
    loss: str = "si-sdr"
    seed: int = 1
    batch: int = 32
    seconds: float = 2.0


def batch_loss(name: str) -> Callable[[Enhancer, Sums], Tensor]:
    """Loss of a batch (noisy, clean), as `bench.learn.fit.Fit` calls it."""

    def of(model: Enhancer, batch: Sums) -> Tensor:
        noisy, clean = (torch.from_numpy(part).to(device_of(model)) for part in batch)
        return LOSSES[name](clean, model(noisy))

    return of


@torch.no_grad()
def enhance(model: Enhancer, noisy: FloatArray) -> FloatArray:
    """One clip (n,) to its enhanced version (n,)."""
    enhanced: FloatArray = model(torch.from_numpy(noisy)[None].to(device_of(model)))[0].cpu().numpy()
    return enhanced


def si_sdr_db(clean: FloatArray, estimate: FloatArray) -> float:
    """SI-SDR in dB of one clip, not centred; infinite where the estimate is the clean speech scaled."""
    reference, degraded = clean.astype(np.float64), estimate.astype(np.float64)
    target = reference * (reference @ degraded) / (reference @ reference)
    rest = degraded - target
    return float(10 * np.log10((target @ target) / (rest @ rest)))


def improvements(model: Enhancer, pairs: Sequence[tuple[Pair, Sums]]) -> dict[str, float]:
    """Mean SI-SDR improvement in dB over the noisy input, by kind of noise, over all pairs given."""
    was_training = model.training
    model.eval()
    gains: dict[str, list[float]] = {}
    for pair, (noisy, clean) in pairs:
        gain = si_sdr_db(clean, enhance(model, noisy)) - si_sdr_db(clean, noisy)
        gains.setdefault(pair.kind, []).append(gain)
    model.train(was_training)
    return {kind: float(np.mean(found)) for kind, found in gains.items()}


@torch.no_grad()
def set_feature_scale(model: Enhancer, source: TrainingMixtures, seed: int) -> None:
    """Normalise each feature to zero mean and unit deviation over the first training mixtures."""
    noisy = torch.from_numpy(np.concatenate([source(step, seed)[0] for step in range(_FEATURE_BATCHES)]))
    features = model.features(model.spectrum(noisy[:, : noisy.shape[1] // model.arch.hop * model.arch.hop]))
    flat = features.reshape(-1, model.arch.mels)
    model.feature_mean.copy_(flat.mean(0))
    model.feature_std.copy_(flat.std(0))


def train_enhancer(
    plan: EnhancerPlan,
    out: Path,
    device: str = "cpu",
    save_every: int = 200,
    validate_every: int = 500,
    before_step: Callable[[], object] | None = None,
) -> Path:
    """Train (or take up where `out`'s checkpoint stopped) and write the model to `out`.

    Parameters
    ----------
    plan
        What to train.
    out
        The model, a .safetensors file; the checkpoint lies beside it, with the suffix .resume.
    device
        "cpu" or "cuda".
    save_every, validate_every
        Steps between checkpoints and between validations.
    before_step
        Called before every step (training pauses there while a speed is measured on this host).

    Returns
    -------
    Path
        `out`. Its header holds the plan, the data hash and the learning curves, and where a shorter run was extended.
    """
    corpus = load_noisy(plan.corpus, plan.noise)
    source = training_mixtures(corpus, plan.seconds, plan.batch)
    valid_pairs = [(pair, pair.load()) for pair in corpus.valid]
    torch.manual_seed(plan.seed)
    model = Enhancer(plan.arch)
    set_feature_scale(model, source, plan.seed)
    model.to(device)
    loss = task_loss(model, lambda step: source(step, plan.seed), batch_loss(plan.loss))
    fit = Fit(model, plan.optimisation, loss)

    def validate(step: int) -> dict[str, float]:
        gains = improvements(model, valid_pairs)
        say(f"step {step}: valid SI-SDR improvement {_text(gains)}")
        return gains

    header = pretrain(
        fit, out, plan, corpus.content_hash, validate, _text, ("train_loss", "valid_si_sdr_improvement_db"),
        save_every, validate_every, before_step,
    )  # fmt: skip
    checkpoint.save_enhancer(out, model, header)
    return out


def _text(gains: dict[str, float]) -> str:
    return ", ".join(f"{kind} {gain:.2f}" for kind, gain in gains.items()) + " dB"
