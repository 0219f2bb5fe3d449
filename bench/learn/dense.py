"""Dense training of a vocoder from nothing: the shared start of every arm, resumable at any moment."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from bench.data.corpus import Corpus, features, load_corpus
from bench.learn.dataset import ClipData, Segments, clip_data, scales
from bench.learn.evaluate import mean_nll
from bench.learn.fit import Fit, Optimisation, task_loss
from bench.learn.pretrain import pretrain
from bench.learn.task import nll_bits
from bench.models import checkpoint
from bench.models.wavernn import Arch, SubbandWaveRNN


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
    header = pretrain(
        fit, out, plan, splits.data_hash, lambda _: mean_nll(model, splits.valid), "{:.4f} bit".format,
        ("train_nll", "valid_nll"), save_every, validate_every, before_step,
    )  # fmt: skip
    checkpoint.save(out, model, header)
    return out
