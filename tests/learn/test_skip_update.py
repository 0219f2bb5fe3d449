"""Arms with skip-update gates: the penalty, what it does, resumption, pruning beside it, what is packed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_fit import clips, model
from torch import nn

from bench.engine import Vocoder
from bench.engine.pack import pack_vocoder
from bench.errors import UsageError
from bench.learn.arm import ArmPlan, ArmResult, Pruning, Regularization, build_methods, train_arm
from bench.learn.evaluate import clip_nlls
from bench.learn.fit import Optimisation
from bench.learn.task import Task, vocoder
from bench.models import mixture, quantiser
from bench.models.wavernn import SubbandWaveRNN, shift
from bench.sparsity.methods.skip_update import SkipUpdate
from bench.sparsity.tile import Tile


def plan(cost: float = 1.0, rate: float = 1e-3, steps: int = 9, pruned: bool = False) -> ArmPlan:
    reg = Regularization(Tile.parse("1x1"), "skip_update", {"cost": cost})
    prune = Pruning(Tile.parse("16x1"), 0.5) if pruned else None
    optimisation = Optimisation(steps, rate=rate, warmup=2)
    return ArmPlan(optimisation, reg=reg, prune=prune, reg_steps=3, prune_steps=3 if pruned else 0, validate_every=4)


def started() -> tuple[SubbandWaveRNN, Task]:
    data = clips(2, frames=12)
    start = model(data)
    return start, vocoder(start, data, data[:1], batch=2, frames=1, seed=3)


def run(arm: ArmPlan, folder: Path | None = None, on_step: Any = None) -> ArmResult:
    return train_arm(*started(), arm, seed=3, checkpoint_dir=folder, on_step=on_step)


def network(result: ArmResult) -> SubbandWaveRNN:
    assert isinstance(result.model, SubbandWaveRNN)
    return result.model


def test_penalty_is_the_cost_of_the_share_of_updates() -> None:
    start, task = started()
    method, _ = build_methods(start, task, plan(cost=0.7), seed=3)
    assert isinstance(method, SkipUpdate)
    with torch.no_grad():
        method.gate.weight.normal_()
        method.gate.bias.fill_(-1.0)
    task.loss(start, task.batches(0))
    opened = method.gate.last_updates()
    opened.retain_grad()
    penalty = method.penalty(0)
    penalty.backward()  # type: ignore[no-untyped-call]
    assert 0.1 < float(opened.detach().mean()) < 0.9
    assert float(penalty.detach()) == pytest.approx(0.7 * float(opened.detach().mean()))
    assert opened.grad is not None
    torch.testing.assert_close(opened.grad, torch.full_like(opened, 0.7 / opened.numel()))
    assert float(method.gate.bias.grad) > 0  # type: ignore[arg-type] # lower it, and fewer steps update
    assert method.facts() == {"updates": [round(float(opened.detach().mean()), 6)]}


@pytest.fixture(scope="module")
def costly() -> ArmResult:
    """An arm that has learned to skip."""
    return run(plan(cost=20.0, rate=0.03, steps=16))


def test_a_high_cost_skips_and_none_updates_always(costly: ArmResult) -> None:
    shares = costly.facts["reg"]["updates"]
    assert (len(shares), shares[0]) == (16, 1.0)
    assert shares[-1] < 0.8
    assert costly.curves.lam == [20.0] * 16
    assert run(plan(cost=0.0, steps=3)).facts["reg"]["updates"] == [1.0] * 3


@pytest.mark.parametrize("pruned", [False, True])
def test_interrupted_arm_ends_as_an_undisturbed_one(tmp_path: Path, pruned: bool) -> None:
    def stop(step: int, bits: float) -> None:
        if step == 5:
            raise KeyboardInterrupt

    arm = plan(cost=5.0, rate=0.02, pruned=pruned)
    whole = run(arm)
    with pytest.raises(KeyboardInterrupt):
        run(arm, tmp_path, stop)
    resumed = run(arm, tmp_path)
    for key, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[key]), key
    assert vars(whole.curves) == vars(resumed.curves)
    assert whole.facts == resumed.facts
    if pruned:
        assert not network(whole).gru.w_hh[~whole.masks["gru.w_hh"]].any()
        assert float(whole.masks["gru.w_hh"].double().mean()) == pytest.approx(0.5)


def test_the_packed_arm_is_the_trained_network(tmp_path: Path, costly: ArmResult) -> None:
    """The engine's NLL of a clip is that of the validation that trained it, and the work it skips is what was learned.

    Chunks of 40 frames meet within the clip, so that what is carried between them is tested too.
    """
    trained = network(costly)
    clip = clips(1, frames=60)[0]
    arch, tensors = trained.export()
    pack_vocoder(tmp_path / "m.lwm", arch, tensors)
    packed = Vocoder(tmp_path / "m.lwm")
    levels = quantiser.encode(clip.bands / trained.band_scale.numpy())
    parameters = torch.from_numpy(packed.parameters(clip.mel, levels))
    bits = -mixture.log_prob(parameters[None], torch.from_numpy(levels)[None]).mean() / np.log(2)
    assert clip_nlls(trained, [clip])[clip.id] == pytest.approx(float(bits), abs=2e-3)
    with torch.no_grad():
        trained(torch.from_numpy(clip.mel)[None], torch.from_numpy(shift(levels))[None], whole=True)
    assert trained.gru.skip is not None
    held = 1 - float(trained.gru.skip.last_updates().mean())
    assert held > 0.2
    assert packed.skips
    assert packed.skipped(clip.mel, levels) == pytest.approx(held, abs=0.01)


def test_another_network_is_refused() -> None:
    start, task = started()

    class Other(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru = start.gru

    arm = replace(plan(), reg=Regularization(Tile.parse("1x1"), "skip_update", {"cost": 1.0}))
    with pytest.raises(UsageError, match="skip_update works on the vocoder's GRU alone, got Other"):
        build_methods(Other(), task, arm, seed=3)
