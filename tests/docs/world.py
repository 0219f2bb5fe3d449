"""What the documentation takes for granted: recordings, models, studies. Small ones, under the names that it uses."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from bench.cli.main import main
from bench.data.corpus import load_corpus
from bench.engine.pack import pack_vocoder
from bench.engine.pack_enhancer import pack_enhancer
from bench.models import checkpoint
from bench.models.enhancer import Enhancer, EnhancerArch
from bench.models.wavernn import Arch, SubbandWaveRNN
from tests.docs.command_lines import ROOT
from tests.reports.synthetic import ARMS, ENHANCER_ARMS, StudyFiles, write_wav

STUDY = """\
name: paper
base: {model.init: shipped, train.steps: 10}
arms:
  dense-continued: {}
  simd-16x1-s70: {reg.kind: group_lasso, prune.kind: magnitude, prune.tile: 16x1, prune.sparsity: 0.7}
"""
PRETRAINED = Path("bench/models/pretrained")
BESIDE = ("Makefile", "pyproject.toml", "constraints.txt", "studies")
"""What of the repository the pages refer to, read only."""


def build(world: Path) -> None:
    """Make everything below `world`, which is the working directory."""
    for entry in BESIDE:
        (world / entry).symlink_to(ROOT / entry)
    models = PRETRAINED.parent
    (world / models).mkdir(parents=True)
    for folder in (models.parent, models):  # real folders, so that a page may write what it trains
        for path in (ROOT / folder).iterdir():
            if not (world / folder / path.name).exists() and path.name != PRETRAINED.name:
                (world / folder / path.name).symlink_to(path)
    shutil.copytree(ROOT / PRETRAINED, world / PRETRAINED)
    shutil.copytree(ROOT / "docker", world / "docker", ignore=shutil.ignore_patterns(".env"))
    _recordings(world)
    _studies(world)
    _models(world)


def _recordings(world: Path) -> None:
    for place in ("my/recordings", "my/noise/rain"):
        (world / place).mkdir(parents=True)
    corpus = load_corpus("embedded")
    clips = sorted(corpus.split("train"), key=lambda clip: (clip.seconds, clip.id))[:12]
    for clip in clips:
        shutil.copy(clip.path, world / "my" / "recordings" / clip.path.name)
    rng = np.random.default_rng(0)
    write_wav(world / "my" / "recordings" / "one.wav", 12, 0.0, rng)
    for number in range(3):
        write_wav(world / "my" / "noise" / "rain" / f"{number}.wav", number, 1.0, rng)
    for name, noise in (("recording", 0.0), ("synthesis", 0.05), ("in", 0.0), ("noisy", 0.5)):
        write_wav(world / f"{name}.wav", 12, noise, rng)
    np.save(world / "mel.npy", rng.standard_normal((20, 80)).astype(np.float32))
    rng.standard_normal((20, 80)).astype(np.float32).tofile(world / "mel.f32")
    rng.normal(0, 0.1, 4000).astype(np.float32).tofile(world / "noisy.f32")
    (world / "my" / "mixtures.csv").write_text(
        "id,speech,noise,start_s,snr_db\none,recordings/one.wav,noise/rain/0.wav,0,5\n"
    )


def _models(world: Path) -> None:
    vocoder = SubbandWaveRNN(Arch(hidden=32, embed=8, cond=16, head=16, mixtures=2))
    for name in ("dense.safetensors", "my/dense.safetensors"):
        checkpoint.save(world / name, vocoder, {})
    pack_vocoder(world / "dense.lwm", *vocoder.export())
    for name in ("model.lwm", "runs/demo/trials/0001/model.lwm", "runs/paper/trials/0002/model.lwm"):
        shutil.copy(world / "dense.lwm", world / name)
    large, small = EnhancerArch(hidden=48, fc=32), EnhancerArch(hidden=32, fc=32)
    checkpoint.save_enhancer(world / "my" / "enhancer.safetensors", Enhancer(large), {})
    for name in ("enhancer", "small-enhancer"):  # small ones in place of those that ship
        checkpoint.save_enhancer(world / PRETRAINED / f"{name}.safetensors", Enhancer(large), {})
    for name, arch in (("pruned", large), ("larger", large), ("smaller", small)):
        checkpoint.save_enhancer(world / f"{name}.safetensors", Enhancer(arch), {})
    pack_enhancer(world / "enhancer.lwm", *Enhancer(large).export(), fmt="int8")
    shutil.copy(world / "enhancer.lwm", world / "runs" / "enhancement" / "trials" / "0004" / "model.lwm")
    shutil.copy(ROOT / "bench" / "measure" / "accelerators.yaml", world / "mine.yaml")


def _studies(world: Path) -> None:
    runs = world / "runs"
    StudyFiles(runs / "paper", audio=3).write((ARMS[0], ARMS[5]))
    StudyFiles(runs / "paper-new", audio=0).write((ARMS[0],))  # an arm has gone: what a gate is for
    StudyFiles(runs / "demo", audio=1).write((ARMS[0], ARMS[5]))
    StudyFiles(runs / "enhancement", audio=1, task="enhancer").write(ENHANCER_ARMS[:4])
    (world / "STUDY.yaml").write_text(STUDY)
    with pytest.raises(SystemExit) as ended:
        main(["sweep", "run", "STUDY.yaml", "--out", "runs/rehearsed"])
    assert not ended.value.code
