"""Stacked arms: each as if trained alone, whatever stands beside it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_arm import lasso, task
from test_fit import clips, model
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bench.learn.arm import ArmPlan, ArmResult, Pruning, train_arm
from bench.learn.fit import DivergedError, Fit, Optimisation
from bench.learn.program import Program
from bench.learn.stack import Stack, Start, train_arms
from bench.models import gru_op
from bench.sparsity import catalogue
from bench.sparsity.tile import Tile

STEPS = 20
OPTIMISATION = Optimisation(STEPS, rate=1e-3, warmup=2)
LOSS_TOLERANCE = 1e-4
"""Bits: what stacking may change of a training loss in the first 20 steps."""


def plan(reg: Any = None, prune: Pruning | None = None, **changes: Any) -> ArmPlan:
    lengths = {"reg_steps": 6 if reg else 0, "prune_steps": 6 if prune else 0}
    return replace(
        ArmPlan(OPTIMISATION, reg=reg, prune=prune, validate_every=5, checkpoint_every=4, **lengths), **changes
    )


def pruned(tile: str, sparsity: float, kind: str = "magnitude", schedule: Any = "linear") -> Pruning:
    options = catalogue.info("pruner", kind).complete({})
    return Pruning(Tile.parse(tile), sparsity, kind, schedule, options=options)


PLANS: dict[str, tuple[ArmPlan, int]] = {
    "dense": (plan(), 3),
    "lasso": (plan(lasso("1x1", "controlled"), pruned("1x1", 0.7, schedule="cubic")), 3),
    "lasso on a simd tile": (plan(lasso("1x1", 0.5), pruned("16x1", 0.8)), 4),
    "column": (plan(lasso("column", "controlled"), pruned("column", 0.5)), 3),
    "simd 4": (plan(lasso("4x1", "controlled"), pruned("4x1", 0.9)), 4),
    "simd 8, faster": (plan(lasso("8x1", 3.0), pruned("8x1", 0.7), optimisation=replace(OPTIMISATION, rate=2e-3)), 3),
    "simd 16": (plan(lasso("16x1", "controlled"), pruned("16x1", 0.7, schedule="cubic")), 5),
    "random at once": (plan(None, pruned("1x16", 0.6, "random", "one-shot")), 5),
    "rigl": (plan(None, pruned("8x1", 0.7, "rigl")), 4),
    "unify": (plan(None, pruned("4x1", 0.5, "unify")), 4),
    "rewound": (plan(lasso("8x1", "controlled"), pruned("8x1", 0.5), recover="rewind"), 5),
}  # fmt: skip


def starts(names: list[str], folder: Path | None = None) -> list[Start]:
    """Arms, of which those of one seed share their task."""
    tasks = {seed: task(model(clips()), seed) for seed in {PLANS[name][1] for name in names}}
    return [
        Start(model(clips()), tasks[seed], arm, seed, folder / str(number) if folder else None)
        for number, (arm, seed) in enumerate(PLANS[name] for name in names)
    ]


def brief(names: list[str]) -> list[Start]:
    """The same in eight steps."""
    return [
        replace(
            start,
            plan=replace(
                start.plan,
                optimisation=replace(start.plan.optimisation, steps=8),
                reg_steps=start.plan.reg_steps // 2,
                prune_steps=start.plan.prune_steps // 2,
            ),
        )
        for start in starts(names)
    ]


def alone(start: Start) -> ArmResult:
    return train_arm(start.model, start.task, start.plan, seed=start.seed)


@pytest.fixture(scope="module")
def each_alone() -> dict[str, ArmResult]:
    return {name: alone(start) for name, start in zip(PLANS, starts(list(PLANS)), strict=True)}


@pytest.mark.parametrize("form", ["kernels", "batched"])
def test_losses_are_those_of_each_arm_alone(
    form: str, each_alone: dict[str, ArmResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gru_op, "has_kernels", lambda device: form == "kernels")
    names = list(PLANS)
    stack = Stack(starts(names), width=len(names))
    assert stack.programs == [len(names)]
    stacked = train_arms(starts(names), width=len(names))
    for name, found in zip(names, stacked, strict=True):
        assert isinstance(found, ArmResult), (name, found)
        whole = each_alone[name]
        np.testing.assert_allclose(found.curves.train_loss, whole.curves.train_loss, atol=LOSS_TOLERANCE, err_msg=name)
        np.testing.assert_allclose(found.curves.valid_loss, whole.curves.valid_loss, atol=LOSS_TOLERANCE, err_msg=name)
        assert found.curves.valid_step == whole.curves.valid_step
        assert found.curves.sparsity == whole.curves.sparsity
        assert found.milestones.keys() == whole.milestones.keys()
        for milestone, outcome in whole.milestones.items():
            assert found.milestones[milestone] == pytest.approx(outcome, abs=LOSS_TOLERANCE), (name, milestone)
        assert found.tiles == whole.tiles


class _Operators(TorchDispatchMode):
    """Keeps the names of all operators that run."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(str(func))
        return func(*args, **kwargs or {})


def test_a_program_can_be_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CUDA graph may read nothing back, copy nothing from the host, and must be the same at every run."""
    monkeypatch.setattr(gru_op, "has_kernels", lambda device: False)
    made = starts(["dense", "simd 16"])
    form = made[0].task.stacked
    assert form is not None
    program = Program([start.model for start in made], form)
    runs = []
    for step in range(3):
        for arm, start in enumerate(made):
            program.feed(arm, form.tensors(start.task.batches(step)))
        with _Operators() as seen:
            program._compute()
        runs.append(seen.names)
    assert runs[1] == runs[2]  # the first fills caches, in the warm-up
    host = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "lift_fresh", "equal.default")
    assert not {name for name in runs[1] if any(word in name for word in host)}
    place = [gradient.data_ptr() for gradient in (p.grad for p in made[0].model.parameters()) if gradient is not None]
    program.run()
    assert [p.grad.data_ptr() for p in made[0].model.parameters() if p.grad is not None] == place


class _OfTheHost(TorchDispatchMode):
    """Keeps the names of operators that take more from the CPU than a number."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **kwargs or {})
        tensors = [x for x in tree_leaves((args, kwargs, found)) if isinstance(x, torch.Tensor)]
        if any(x.device.type == "cpu" and x.dim() > 0 for x in tensors):
            self.names.add(str(func))
        return found


def test_a_program_takes_nothing_from_the_host() -> None:
    """On torch's meta device, which computes shapes alone: what would be copied while a GPU records is seen."""
    made = starts(["dense", "simd 16"])
    form = made[0].task.stacked
    assert form is not None
    program = Program([start.model.to("meta") for start in made], form, capture=False)
    for arm, start in enumerate(made):
        program.feed(arm, form.tensors(start.task.batches(0)))
    program._compute()  # the warm-up, which fills caches
    with _OfTheHost() as seen:
        program._compute()
    assert not seen.names
    with _OfTheHost() as seen:
        torch.ones(3).to("meta")
    assert seen.names  # it can see


def test_what_the_gpu_lacks_or_breaks_ends_all_arms(monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (torch.OutOfMemoryError("no room"), torch.AcceleratorError("device-side assert")):
        with monkeypatch.context() as patched:

            def update(self: Fit, bits: float, error: Exception = error) -> None:
                raise error

            patched.setattr(Fit, "update", update)
            with pytest.raises(type(error)):
                train_arms(brief(["dense", "simd 16"]), 2)


def test_on_a_cpu_every_arm_is_a_program_of_its_own_and_ends_bit_for_bit_as_alone(
    each_alone: dict[str, ArmResult],
) -> None:
    names = ["dense", "simd 16", "rigl"]
    assert Stack(starts(names)).programs == [1, 1, 1]
    for name, found in zip(names, train_arms(starts(names)), strict=True):
        assert isinstance(found, ArmResult)
        whole = each_alone[name]
        assert vars(found.curves) == vars(whole.curves)
        assert found.milestones == whole.milestones
        for ours, theirs in zip(found.model.parameters(), whole.model.parameters(), strict=True):
            assert torch.equal(ours, theirs)
        assert all(torch.equal(found.masks[key], mask) for key, mask in whole.masks.items())


@pytest.mark.parametrize("width", [1, 4])
def test_interrupted_stack_ends_as_an_undisturbed_one(width: int, tmp_path: Path) -> None:
    names = ["simd 16", "dense", "rigl", "rewound"]
    undisturbed = train_arms(starts(names), width)

    def stop(arm: int, step: int, bits: float) -> None:
        if (arm, step) == (2, 9):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_arms(starts(names, tmp_path), width, stop)
    assert (tmp_path / "0" / "arm.resume").is_file()
    for whole, resumed in zip(undisturbed, train_arms(starts(names, tmp_path), width), strict=True):
        assert isinstance(whole, ArmResult)
        assert isinstance(resumed, ArmResult)
        assert vars(whole.curves) == vars(resumed.curves)
        assert whole.milestones == resumed.milestones
        for ours, theirs in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
            assert torch.equal(ours, theirs)


def test_an_arm_goes_on_alone_where_its_stack_was_interrupted(each_alone: dict[str, ArmResult], tmp_path: Path) -> None:
    names = ["simd 16", "dense"]

    def stop(arm: int, step: int, bits: float) -> None:
        if step == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_arms(starts(names, tmp_path), 2, stop)
    start = starts(names, tmp_path)[0]
    steps = []
    found = train_arm(
        start.model, start.task, start.plan, seed=start.seed, checkpoint_dir=start.checkpoint_dir,
        on_step=lambda step, _: steps.append(step),
    )  # fmt: skip
    assert steps[0] == 8
    whole = each_alone["simd 16"].curves.train_loss
    np.testing.assert_allclose(found.curves.train_loss, whole, atol=LOSS_TOLERANCE)


@pytest.mark.parametrize("width", [1, 3])
def test_a_diverging_arm_leaves_the_others_alone(width: int) -> None:
    def arms(spoilt: bool) -> list[Start]:
        made = brief(["dense", "simd 16", "lasso"])
        if spoilt:
            weight = made[1].model.gru.w_hh
            weight.data[0, 0] = torch.nan
        return made

    ended: list[int] = []
    whole = train_arms(arms(False), width)
    found = train_arms(arms(True), width, on_end=lambda arm, _: ended.append(arm))
    assert isinstance(found[1], DivergedError)
    assert ended[0] == 1
    assert sorted(ended) == [0, 1, 2]
    for number in (0, 2):
        ours, theirs = found[number], whole[number]
        assert isinstance(ours, ArmResult)
        assert isinstance(theirs, ArmResult)
        assert vars(ours.curves) == vars(theirs.curves)


def test_what_a_method_raises_ends_its_arm_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.sparsity.methods.random import Random

    def broken(self: Random) -> torch.Tensor:
        raise ZeroDivisionError("of a plug-in, say")

    monkeypatch.setattr(Random, "scores", broken)
    found = train_arms(brief(["random at once", "dense", "simd 4"]), 3)
    assert [type(outcome) for outcome in found] == [ZeroDivisionError, ArmResult, ArmResult]


def test_arms_whose_network_differs_are_alone() -> None:
    def arms() -> list[Start]:
        made = brief(["dense", "simd 16", "simd 8, faster"])
        few = {"optimisation": replace(OPTIMISATION, steps=8), "prune_steps": 4}
        gated = replace(made[1], model=model(clips()), plan=plan(None, pruned("8x1", 0.5, "hard_concrete"), **few))
        taught = replace(made[1], model=model(clips()), plan=plan(None, pruned("8x1", 0.5), distil=0.5, **few))
        other = replace(made[0], model=model(clips()), task=replace(made[0].task, stacked=None))
        return [*made, gated, taught, other]

    assert sorted(Stack(arms(), width=8).programs) == [1, 1, 1, 3]
    assert all(isinstance(outcome, ArmResult) for outcome in train_arms(arms(), 8))


def test_a_penalty_in_the_loss_is_the_arms_own(monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.sparsity.methods.lasso import Lasso

    def ridge(self: Lasso, step: int) -> torch.Tensor:
        return 0.05 * sum((weight.square().sum() for weight in self.target.weights.values()), torch.zeros(()))

    monkeypatch.setattr(Lasso, "penalty", ridge)
    names = ["dense", "simd 16", "lasso"]
    whole = [alone(start) for start in brief(names)]
    for name, theirs, ours in zip(names, whole, train_arms(brief(names), 3), strict=True):
        assert isinstance(ours, ArmResult)
        np.testing.assert_allclose(ours.curves.train_loss, theirs.curves.train_loss, atol=LOSS_TOLERANCE, err_msg=name)


def test_more_arms_than_fit_make_several_programs() -> None:
    names = ["dense", "lasso", "column", "simd 4", "simd 16"]
    assert Stack(starts(names), width=2).programs == [2, 2, 1]


def test_an_arm_of_fewer_steps_ends_earlier() -> None:
    made = starts(["dense", "simd 16"])
    short = replace(made[0], plan=replace(made[0].plan, optimisation=replace(OPTIMISATION, steps=7)))
    first, second = train_arms([short, made[1]], 2)
    assert isinstance(first, ArmResult)
    assert isinstance(second, ArmResult)
    assert (first.curves.step[-1], second.curves.step[-1]) == (7, STEPS)
    expected = alone(replace(short, model=model(clips())))
    np.testing.assert_allclose(first.curves.train_loss, expected.curves.train_loss, atol=LOSS_TOLERANCE)
