"""Dense training of a vocoder from nothing: the shared start of every arm, resumable at any moment."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from bench import __version__
from bench.data.corpus import Corpus, features, load_corpus
from bench.learn.dataset import ClipData, Segments, clip_data, scales
from bench.learn.evaluate import mean_nll
from bench.learn.fit import Fit, Optimisation, task_loss
from bench.learn.interrupt import between_steps
from bench.learn.task import nll_bits
from bench.models import checkpoint
from bench.models.wavernn import Arch, SubbandWaveRNN
from bench.progress import Progress, say


@dataclass(frozen=True)
class Splits:
    """Prepared clips of a corpus and the hash of all its bytes."""

    train: list[ClipData]
    valid: list[ClipData]
    test: list[ClipData]
    data_hash: str


def prepare(corpus: Corpus, arch: Arch, cache_dir: Path) -> Splits:
    """Features (cached) and band samples of every clip, by split."""
    mels = features(corpus, cache_dir)
    parts = {
        split: [clip_data(clip.id, mels[clip.id], clip.audio(), arch) for clip in corpus.split(split)]
        for split in ("train", "valid", "test")
    }
    return Splits(parts["train"], parts["valid"], parts["test"], corpus.content_hash())


@dataclass(frozen=True)
class DensePlan:
    """A dense training run: everything that decides its result."""

    corpus: str
    arch: Arch
    optimisation: Optimisation
    seed: int = 1
    batch: int = 32
    frames: int = 10
    gain_db: float = 6.0


def train_dense(
    plan: DensePlan,
    out: Path,
    cache_dir: Path,
    device: str = "cpu",
    save_every: int = 200,
    validate_every: int = 1000,
    before_step: Callable[[], object] | None = None,
) -> Path:
    """Train (or take up where `out`'s checkpoint stopped) and write the model to `out`.

    Parameters
    ----------
    plan
        What to train.
    out
        The model, a .safetensors file; the checkpoint lies beside it, with the suffix .resume.
    cache_dir
        Where features are cached.
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
    arch = plan.arch
    splits = prepare(load_corpus(plan.corpus), arch, cache_dir)
    normalisation = scales(splits.train)
    torch.manual_seed(plan.seed)
    model = SubbandWaveRNN(arch)
    model.set_scales(*normalisation)
    model.to(device)
    segments = Segments(splits.train, arch, normalisation.band_scale, plan.batch, plan.frames, plan.gain_db)
    fit = Fit(model, plan.optimisation, task_loss(model, lambda step: segments(step, plan.seed), nll_bits))
    resume = out.with_suffix(".resume")
    valid: list[tuple[int, float]] = []
    extended: list[tuple[int, int]] = []
    if resume.is_file():
        stored, _ = fit.restore(resume)
        if stored["data_hash"] != splits.data_hash:
            say(f"{resume}: the corpus changed since; training starts anew")
            resume.unlink()
            return train_dense(plan, out, cache_dir, device, save_every, validate_every, before_step)
        valid = [(int(s), float(b)) for s, b in stored["valid"]]
        extended = [(int(at), int(steps)) for at, steps in stored.get("extended", [])]
        if (planned := int(stored["planned_steps"])) < plan.optimisation.steps:
            extended.append((fit.step, planned))
            say(f"extending a run of {planned} steps to {plan.optimisation.steps}")
        say(f"resuming at step {fit.step}")

    def save() -> None:
        fit.save(resume, {"valid": valid, "data_hash": splits.data_hash, "extended": extended})

    with Progress("training", plan.optimisation.steps, fit.step) as progress:

        def on_step(step: int, bits: float) -> None:
            note = f"train {sum(b for _, b in fit.curve[-100:]) / len(fit.curve[-100:]):.4f} bit"
            if step % validate_every == 0 or step == plan.optimisation.steps:
                raw = fit.use_average()
                valid.append((step, mean_nll(model, splits.valid)))
                model.load_state_dict(raw)
            if valid:
                note += f", valid {valid[-1][1]:.4f} at {valid[-1][0]}"
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
    checkpoint.save(out, model, _provenance(plan, splits.data_hash, fit.curve, valid, extended))
    return out


def _provenance(
    plan: DensePlan,
    data_hash: str,
    curve: list[tuple[int, float]],
    valid: list[tuple[int, float]],
    extended: list[tuple[int, int]],
) -> dict[str, Any]:
    every = 100
    thinned = [
        (
            curve[min(i + every, len(curve)) - 1][0],
            round(sum(b for _, b in curve[i : i + every]) / len(curve[i : i + every]), 5),
        )
        for i in range(0, len(curve), every)
    ]
    return {
        "version": __version__,
        "plan": asdict(plan),
        "data_hash": data_hash,
        "train_nll": thinned,
        "valid_nll": valid,
        "extended": [{"at_step": at, "planned_steps": steps} for at, steps in extended],
        "torch": torch.__version__,
    }
