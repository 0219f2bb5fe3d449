"""Dense training of an enhancer from nothing, resumable at any moment."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench import __version__
from bench.data.audio import FloatArray
from bench.data.mixtures import Pair
from bench.data.noisy_corpora import load_noisy
from bench.learn.enhancer_loss import LOSSES
from bench.learn.fit import Fit, Optimisation, device_of, task_loss
from bench.learn.interrupt import between_steps
from bench.learn.noisy import TrainingMixtures, training_mixtures
from bench.models import checkpoint
from bench.models.enhancer import Enhancer, EnhancerArch
from bench.progress import Progress, say

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
    data_hash = corpus.content_hash
    source = training_mixtures(corpus, plan.seconds, plan.batch)
    valid_pairs = [(pair, pair.load()) for pair in corpus.valid]
    torch.manual_seed(plan.seed)
    model = Enhancer(plan.arch)
    set_feature_scale(model, source, plan.seed)
    model.to(device)
    loss = task_loss(model, lambda step: source(step, plan.seed), batch_loss(plan.loss))
    fit = Fit(model, plan.optimisation, loss)
    resume = out.with_suffix(".resume")
    valid: list[tuple[int, dict[str, float]]] = []
    extended: list[tuple[int, int]] = []
    if resume.is_file():
        stored, _ = fit.restore(resume)
        if stored["data_hash"] != data_hash:
            say(f"{resume}: the recordings changed since; training starts anew")
            resume.unlink()
            return train_enhancer(plan, out, device, save_every, validate_every, before_step)
        valid = [(int(step), gains) for step, gains in stored["valid"]]
        extended = [(int(at), int(steps)) for at, steps in stored["extended"]]
        if (planned := int(stored["planned_steps"])) < plan.optimisation.steps:
            extended.append((fit.step, planned))
            say(f"extending a run of {planned} steps to {plan.optimisation.steps}")
        say(f"resuming at step {fit.step}")

    def save() -> None:
        fit.save(resume, {"valid": valid, "data_hash": data_hash, "extended": extended})

    with Progress("training", plan.optimisation.steps, fit.step) as progress:

        def on_step(step: int, _: float) -> None:
            note = f"loss {np.mean([loss for _, loss in fit.curve[-100:]]):.4f}"
            if step % validate_every == 0 or step == plan.optimisation.steps:
                raw = fit.use_average()
                valid.append((step, improvements(model, valid_pairs)))
                model.load_state_dict(raw)
                say(f"step {step}: valid SI-SDR improvement {_text(valid[-1][1])}")
            progress.advance(note=note)
            if step % save_every == 0:
                save()
            try:
                if before_step is not None:
                    before_step()
                interruption()
            except KeyboardInterrupt:
                save()
                say(f"stopped at step {fit.step}, saved in {resume}; the same command goes on from there")
                raise

        with between_steps() as interruption:
            fit.run(plan.optimisation.steps, on_step)
    save()
    fit.use_average()
    checkpoint.save_enhancer(out, model, _provenance(plan, data_hash, fit.curve, valid, extended))
    return out


def _text(gains: dict[str, float]) -> str:
    return ", ".join(f"{kind} {gain:.2f}" for kind, gain in gains.items()) + " dB"


def _provenance(
    plan: EnhancerPlan,
    data_hash: str,
    curve: list[tuple[int, float]],
    valid: list[tuple[int, dict[str, float]]],
    extended: list[tuple[int, int]],
) -> dict[str, Any]:
    every = 100
    parts = [curve[i : i + every] for i in range(0, len(curve), every)]
    return {
        "version": __version__,
        "plan": asdict(plan),
        "data_hash": data_hash,
        "train_loss": [(part[-1][0], round(float(np.mean([loss for _, loss in part])), 5)) for part in parts],
        "valid_si_sdr_improvement_db": valid,
        "extended": [{"at_step": at, "planned_steps": steps} for at, steps in extended],
        "torch": torch.__version__,
    }
