"""Arms on a device that is not the CPU: nothing mixes the two, an interrupted arm goes on, the outcome is the same."""

from pathlib import Path

import numpy as np
import pytest
import torch
from second_device import MixedDevicesError, second_device, send
from test_fit import clips, model
from test_stack import LOSS_TOLERANCE, PLANS

from bench.learn.arm import ArmResult, train_arm
from bench.learn.stack import Start, train_arms
from bench.learn.task import vocoder

STOP = 9


def test_it_refuses_what_a_gpu_refuses() -> None:
    with second_device():
        there, here = torch.ones(3, device="meta"), torch.ones(3)
        assert (there + 1).sum().item() == 6
        with pytest.raises(MixedDevicesError):
            there + here
        with pytest.raises(MixedDevicesError):
            torch.cat([there, here])
        with pytest.raises(TypeError):
            there.numpy()
        np.testing.assert_array_equal(there.cpu().numpy(), here.numpy())
        there[torch.tensor([0, 2])] = 5.0
        assert there.tolist() == [5.0, 1.0, 5.0]


def starts(names: list[str], folder: Path | None = None) -> list[Start]:
    """Arms on little data: the second device takes its time."""
    made, data = [], clips(2, 3)
    for name in names:
        plan, seed = PLANS[name]
        start = model(clips())
        task = vocoder(start, data, data[:1], batch=2, frames=1, seed=seed)
        made.append(Start(start, task, plan, seed, folder / name if folder else None))
    return made


def elsewhere(names: list[str], folder: Path | None = None) -> list[Start]:
    made = starts(names, folder)
    for start in made:
        send(start.model)
    return made


def check(found: ArmResult, whole: ArmResult) -> None:
    np.testing.assert_allclose(found.curves.train_loss, whole.curves.train_loss, atol=LOSS_TOLERANCE)
    np.testing.assert_allclose(found.curves.valid_loss, whole.curves.valid_loss, atol=LOSS_TOLERANCE)
    assert {key: bits.numpy().shape for key, bits in found.snapshots.kept.items()} == {
        key: bits.numpy().shape for key, bits in whole.snapshots.kept.items()
    }


@pytest.mark.parametrize("name", ["simd 16", "rigl", "rewound"])
def test_an_arm_that_was_interrupted_there_ends_as_one_of_the_cpu(name: str, tmp_path: Path) -> None:
    def stop(step: int, bits: float) -> None:
        if step == STOP:
            raise KeyboardInterrupt

    (start,) = starts([name])
    whole = train_arm(start.model, start.task, start.plan, seed=start.seed)
    with second_device():
        (start,) = elsewhere([name])
        with pytest.raises(KeyboardInterrupt):
            train_arm(start.model, start.task, start.plan, seed=start.seed, checkpoint_dir=tmp_path, on_step=stop)
        (start,) = elsewhere([name])
        check(train_arm(start.model, start.task, start.plan, seed=start.seed, checkpoint_dir=tmp_path), whole)


def test_so_does_a_stack(tmp_path: Path) -> None:
    names = ["dense", "simd 16", "column"]

    def stop(arm: int, step: int, bits: float) -> None:
        if (arm, step) == (2, STOP):
            raise KeyboardInterrupt

    whole = train_arms(starts(names), len(names))
    with second_device():
        with pytest.raises(KeyboardInterrupt):
            train_arms(elsewhere(names, tmp_path), len(names), stop)
        resumed = train_arms(elsewhere(names, tmp_path), len(names))
        for ours, theirs in zip(resumed, whole, strict=True):
            assert isinstance(ours, ArmResult), ours
            assert isinstance(theirs, ArmResult), theirs
            check(ours, theirs)
