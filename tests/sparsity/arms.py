"""Two small networks to prune for real: the vocoder, and a torch LSTM with a layer after it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.learn.arm import ArmPlan, ArmResult, Pruning, train_arm
from bench.learn.dataset import ClipData, scales
from bench.learn.fit import Optimisation
from bench.learn.task import Task, vocoder
from bench.models.wavernn import Arch, SubbandWaveRNN
from bench.sparsity import catalogue
from bench.sparsity.groups import TileGroups
from bench.sparsity.method import Phases, Target
from bench.sparsity.schedule import Schedule
from bench.sparsity.tile import Tile

STEPS, PRUNE = 14, 9


def speech() -> tuple[nn.Module, Task]:
    rng = np.random.default_rng(0)
    clips = [
        ClipData(
            f"clip{i}",
            rng.standard_normal((20, 80)).astype(np.float32),
            (rng.standard_normal((800, 4)) * [0.3, 0.1, 0.05, 0.02]).astype(np.float32),
        )
        for i in range(2)
    ]
    torch.manual_seed(0)
    model = SubbandWaveRNN(Arch(hidden=32, embed=8, cond=16, head=16, mixtures=2))
    model.set_scales(*scales(clips))
    return model, vocoder(model, clips, clips[:1], batch=4, frames=2, seed=3)


class Lstm(nn.Module):
    """torch's own LSTM, which keeps a list of its weights and reads that instead of its attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(6, 16, batch_first=True)
        self.out = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.out(self.lstm(x)[0])
        return y


def regression() -> tuple[nn.Module, Task]:
    torch.manual_seed(1)
    model, teacher = Lstm(), Lstm().requires_grad_(False)

    def batch(step: int) -> Tensor:
        return torch.randn(4, 8, 6, generator=torch.Generator().manual_seed(step))

    def loss(model: nn.Module, x: Tensor) -> Tensor:
        y: Tensor = (model(x) - teacher(x)).square().mean()
        return y

    @torch.no_grad()
    def validate(model: nn.Module) -> float:
        return float(loss(model, batch(-1)))

    matrices = {"recurrent": ("lstm.weight_hh_l0", 4), "input": ("lstm.weight_ih_l0", 4), "out": ("out.weight", 1)}
    recurrent = frozenset({"lstm.weight_hh_l0"})
    return model, Task(
        batches=batch,
        loss=loss,
        validate=validate,
        distil=lambda *_: (torch.zeros(()), torch.zeros(())),
        fresh=lambda *_: Lstm(),
        inputs=lambda *_: {},
        matrices=matrices,
        recurrent=recurrent,
    )


TASKS = {"vocoder": speech, "lstm": regression}
MATRICES = {"vocoder": ("gru.recurrent", "head.fc"), "lstm": ("recurrent", "input", "out")}


def plan(task: str, prune: Pruning, steps: int = STEPS, end: int = PRUNE) -> ArmPlan:
    """An arm on several matrices whose masks are final at step `end`; options left out take their defaults."""
    options = catalogue.info("pruner", prune.kind).complete(prune.options)
    optimisation = Optimisation(steps, rate=2e-3, warmup=2)
    prune = replace(prune, options=options)
    matrices = MATRICES[task] if prune.tile.name != "unit" else MATRICES[task][:1]
    return ArmPlan(optimisation, matrices, prune=prune, prune_steps=end, validate_every=5)


def train(task: str, arm: ArmPlan, folder: Path | None = None, on_step: Any = None) -> ArmResult:
    model, made = TASKS[task]()
    return train_arm(model, made, arm, seed=3, checkpoint_dir=folder, on_step=on_step)


def interrupted(task: str, arm: ArmPlan, folder: Path, *after: int) -> ArmResult:
    """The same arm, stopped after each of the given steps and taken up again."""

    def stop(step: int, bits: float) -> None:
        if step in after and step not in done:
            done.append(step)
            raise KeyboardInterrupt

    done: list[int] = []
    while True:
        try:
            return train(task, arm, folder, stop)
        except KeyboardInterrupt:
            pass


def assert_same(a: ArmResult, b: ArmResult) -> None:
    ours, theirs = a.model.state_dict(), b.model.state_dict()
    assert sorted(ours) == sorted(theirs)
    for key, value in ours.items():
        assert torch.equal(value, theirs[key]), key
    assert all(torch.equal(mask, b.masks[key]) for key, mask in a.masks.items())
    assert vars(a.curves) == vars(b.curves)
    assert a.milestones == b.milestones
    assert a.facts == b.facts


def target(
    kind: str, tile: str = "4x1", sparsity: float = 0.5, seed: int = 0, end: int = 8, **options: Any
) -> tuple[nn.Module, Target]:
    """A pruner's target: the LSTM's recurrent and input matrix."""
    torch.manual_seed(seed)
    model = Lstm()
    named = dict(model.named_parameters())
    weights = {key: named[key] for key in ("lstm.weight_hh_l0", "lstm.weight_ih_l0")}
    shapes = {key: (w.shape[0], w.shape[1]) for key, w in weights.items()}
    budget = {key: options.pop(key) for key in ("scope", "keep_diagonal", "gate_sparsity") if key in options}
    groups = TileGroups(shapes, Tile.parse(tile), dict.fromkeys(weights, 4), **budget)
    schedule = Schedule("cubic", sparsity, 0, end)
    complete = catalogue.info("pruner", kind).complete(options)
    return model, Target(model, weights, groups, Phases(0, end, end + 4), schedule, 1e-2, seed, options=complete)
