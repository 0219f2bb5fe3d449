"""Recovery: weights put back or drawn anew under the masks, once; the dense start as a teacher."""

import copy
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_arm import OPTIMISATION, lasso, task
from test_fit import ARCH, clips, model
from torch import nn
from torch.nn.utils import parametrize

from bench.errors import UsageError
from bench.learn.arm import ArmPlan, ArmResult, Pruning, train_arm
from bench.learn.fit import Optimisation
from bench.learn.recovery import Kind, Recovery
from bench.learn.task import distil_bits, nll_bits
from bench.models import mixture
from bench.models.wavernn import SubbandWaveRNN
from bench.sparsity import catalogue
from bench.sparsity.draws import stream
from bench.sparsity.method import Phases, Target
from bench.sparsity.tile import Tile

SEED = 3


def plan(recover: Kind = "finetune", distil: float = 0.0, kind: str = "magnitude", **prune: Any) -> ArmPlan:
    options = catalogue.info("pruner", kind).complete({})
    pruning = Pruning(Tile.parse("8x1"), 0.75, kind, options=options, **prune)
    return ArmPlan(
        OPTIMISATION, reg=lasso("8x1", 5.0), prune=pruning, recover=recover, distil=distil, reg_steps=4, prune_steps=4
    )


def run(arm: ArmPlan, folder: Path | None = None, on_step: Any = None) -> ArmResult:
    start = model(clips())
    return train_arm(start, task(start, SEED), arm, seed=SEED, checkpoint_dir=folder, on_step=on_step)


@pytest.mark.parametrize("recover", ["rewind", "scratch"])
@pytest.mark.parametrize("kind", ["magnitude", "activation"])
def test_restarts_under_the_final_masks(recover: Kind, kind: str) -> None:
    start = model(clips())
    wanted = copy.deepcopy(start)
    if recover == "scratch":
        torch.manual_seed(stream(SEED, "fresh weights"))
        wanted.load_state_dict(dict(SubbandWaveRNN(ARCH).named_parameters()), strict=False)
    seen = {}

    def look(step: int, bits: float) -> None:
        if step == 8:
            seen.update({key: value.clone() for key, value in start.state_dict().items()})

    result = train_arm(start, task(start, SEED), plan(recover, kind=kind), seed=SEED, on_step=look)
    mask = result.masks["gru.w_hh"]
    assert torch.equal(mask, run(plan(kind=kind)).masks["gru.w_hh"])
    for key, value in wanted.state_dict().items():
        assert torch.equal(seen[key], value * mask if key == "gru.w_hh" else value)
    assert not result.model.gru.w_hh[~mask].any()
    assert list(result.milestones) == ["start", "penalised", "pruned", "restarted", "recovered"]
    assert result.milestones["restarted"] == pytest.approx(task(start).validate(_loaded(seen)))


def _loaded(state: dict[str, torch.Tensor]) -> SubbandWaveRNN:
    made = model(clips())
    made.load_state_dict(state)
    return made


def test_rewinding_weights_that_never_moved_changes_nothing() -> None:
    arms = [replace(plan(how, schedule="one-shot"), reg=None, reg_steps=0) for how in ("finetune", "rewind")]
    plain, rewound = (run(arm) for arm in arms)
    assert rewound.milestones["restarted"] == rewound.milestones["pruned"] == plain.milestones["pruned"]
    for a, b in zip(plain.model.parameters(), rewound.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_rewinding_undoes_a_second_order_update() -> None:
    arm = replace(plan("rewind", kind="second_order", schedule="one-shot"), reg=None, reg_steps=0)
    result = run(arm)
    mask, start = result.masks["gru.w_hh"], model(clips())
    with torch.no_grad():
        start.gru.w_hh.mul_(mask)
    assert result.milestones["restarted"] == pytest.approx(task(start).validate(start))
    assert result.milestones["restarted"] != result.milestones["pruned"]


@pytest.mark.parametrize("stop_at", [6, 8, 10])
@pytest.mark.parametrize(
    ("recover", "distil", "kind", "schedule"),
    [
        ("rewind", 0.5, "magnitude", "cubic"),
        ("scratch", 0.0, "activation", "cubic"),
        ("finetune", 0.0, "second_order", "staged"),
    ],
)
def test_interrupted_arm_ends_as_an_undisturbed_one(
    tmp_path: Path, stop_at: int, recover: Kind, distil: float, kind: str, schedule: str
) -> None:
    arm = plan(recover, distil, kind, schedule=schedule)
    whole = run(arm)

    def stop(step: int, bits: float) -> None:
        if step == stop_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(arm, tmp_path, stop)
    resumed = run(arm, tmp_path)
    for a, b in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(a, b)
    assert vars(whole.curves) == vars(resumed.curves)
    assert whole.milestones == resumed.milestones
    assert whole.facts == resumed.facts


def test_adam_starts_anew_after_a_restart() -> None:
    """With a constant rate and the same batch, the first update after rewinding is the very first one again."""
    start = model(clips())
    same = task(start, SEED)
    same = replace(same, batches=lambda step: task(start, SEED).batches(0))
    arm = replace(plan("rewind"), optimisation=Optimisation(12, 1e-3, warmup=0, hold=1.0), prune=None, reg=None)
    arm = replace(arm, reg_steps=5, prune_steps=0)
    seen = {}

    def look(step: int, bits: float) -> None:
        seen[step] = start.gru.w_hh.detach().clone()

    train_arm(start, same, arm, seed=SEED, on_step=look)
    assert torch.equal(seen[6], seen[1])
    assert torch.equal(seen[7], seen[2])


def test_distance_to_the_teacher_is_the_divergence_of_its_distributions() -> None:
    student, teacher = model(clips()), model(clips())
    with torch.no_grad():
        teacher.gru.w_hh.mul_(0.5)
        teacher.head.out.bias.add_(0.3)
    batch = task(student).batches(0)
    mel, previous, target = (torch.from_numpy(x) for x in batch)
    levels = torch.arange(256)[:, None, None, None].expand(256, *target.shape)
    with torch.no_grad():
        s, t = (mixture.log_prob(net(mel, previous).expand(256, -1, -1, -1), levels) for net in (student, teacher))
    exact = (t.exp() * (t - s)).sum(0) / math.log(2)
    for every in (1, 13):
        bits, distance = distil_bits(student, teacher, batch, every)
        assert torch.equal(bits, nll_bits(student, batch))
        assert float(distance.detach()) == pytest.approx(float(exact[:, every // 2 :: every].mean()), rel=1e-3)
    assert float(distil_bits(student, teacher, batch)[1].detach()) == pytest.approx(float(exact.mean()), rel=0.1)
    distil_bits(student, teacher, batch)[1].backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None for p in teacher.parameters())
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in student.parameters())


def test_teacher_is_the_dense_start_and_reported_bits_stay_the_nll() -> None:
    start = model(clips())
    recovery = Recovery("finetune", 0.25, start, task(start), Phases(0, 0, 1), SEED)
    batch = task(start).batches(0)
    total, bits = recovery.loss(start, batch)
    assert total.item() == pytest.approx(0.75 * bits.item(), abs=1e-6)  # no distance from itself
    with torch.no_grad():
        start.head.out.bias.add_(0.5)
    total, bits = recovery.loss(start, batch)
    assert torch.equal(bits, nll_bits(start, batch))
    assert total.item() == pytest.approx(
        0.75 * bits.item() + 0.25 * distil_bits(start, model(clips()), batch)[1].item(), rel=1e-6
    )


def test_a_pupil_comes_nearer_to_its_teacher() -> None:
    def distance(distil: float) -> float:
        arm = replace(plan(distil=distil, schedule="one-shot"), reg=None, reg_steps=0)
        pupil = run(replace(arm, optimisation=replace(OPTIMISATION, steps=30))).model
        batch = task(model(clips())).batches(99)
        return distil_bits(pupil, model(clips()), batch, 1)[1].item()  # type: ignore[arg-type]

    assert distance(1.0) < 0.5 * distance(0.0)


def test_refuses_a_restart_that_leaves_nothing_to_train() -> None:
    arm = replace(plan("scratch"), reg_steps=6, prune_steps=6)
    with pytest.raises(UsageError, match=r"^recover.kind: 'scratch' .* step 12 of 12; raise train.shares.recover"):
        run(arm)


def test_refuses_to_put_weights_back_under_a_method_that_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    class Doubled(nn.Module):
        def forward(self, w: torch.Tensor) -> torch.Tensor:
            return 2 * w

    magnitude = catalogue.load("pruner", "magnitude")

    class Forgetful(magnitude):  # type: ignore[misc, valid-type]
        def __init__(self, target: Target) -> None:
            super().__init__(target)
            parametrize.register_parametrization(target.model.head.fc, "weight", Doubled())  # type: ignore[arg-type]

    monkeypatch.setitem(catalogue._LOADED, ("pruner", "magnitude"), Forgetful)
    with pytest.raises(UsageError, match=r"^recover.kind: 'rewind' needs plain weights .* head.fc.parametrizations"):
        run(plan("rewind"))
