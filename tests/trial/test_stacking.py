"""Arms trained at once into the cache: the entries are those that their trials would have made."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

from bench.errors import LanewiseError
from bench.learn.arm import ArmRun
from bench.trial import learning
from bench.trial.cache import StageCache
from bench.trial.context import Trial
from bench.trial.stacking import train_stack
from tests.trial.conftest import tiny_config

ARMS = (
    ["reg={kind: none}", "prune={kind: none}"],
    ["seed.recover=1"],
    ["reg.lambda=1.0e+30", "reg.form=subgradient"],  # weights that are no numbers any more
    ["reg.kind=lasso", "reg.tile=1x1", "prune.tile=1x1"],
)
DIVERGES = 2


def trials(corpus: Path, root: Path) -> list[Trial]:
    return [Trial(tiny_config(corpus, *arm), root / str(n), StageCache(root / "cache")) for n, arm in enumerate(ARMS)]


def content(path: Path) -> Any:
    """What a file says, in whatever order (safetensors shuffles its header)."""
    if path.suffix == ".json":
        return path.read_text()
    if path.suffix == ".npz":
        return {key: bits.tolist() for key, bits in np.load(path).items()}
    with safe_open(str(path), framework="pt") as file:
        return file.metadata(), {key: file.get_tensor(key).tolist() for key in file.keys()}  # noqa: SIM118 (not a dict)


def test_trials_find_the_arms_that_they_would_have_trained(
    tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = [learning.trained_arm(t) for n, t in enumerate(trials(tiny_corpus, tmp_path / "alone")) if n != DIVERGES]
    stacked = trials(tiny_corpus, tmp_path / "stacked")
    train_stack(stacked)
    said = capsys.readouterr().err
    assert re.search(r"stack of 4 arms: 3[6-9] arm-steps, [0-9.]+ arm-steps/s", said)  # three of 12 steps, and a few
    assert "leaves the stack (training diverged" in said

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("an arm was trained again")

    monkeypatch.setattr("bench.learn.arm.train_arm", refuse)
    found = [learning.trained_arm(trial) for n, trial in enumerate(stacked) if n != DIVERGES]
    for ours, theirs in zip(found, alone, strict=True):
        assert ours.key == theirs.key
        names = sorted(path.name for path in theirs.folder.iterdir())
        assert sorted(path.name for path in ours.folder.iterdir()) == names
        for name in names:
            assert content(ours.folder / name) == content(theirs.folder / name), name
    with pytest.raises(AssertionError, match="trained again"):
        learning.trained_arm(stacked[DIVERGES])


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            torch.OutOfMemoryError("no room"),
            "2 arms does not fit the memory of the GPU; give a smaller --stack .such as 1",
        ),
        (
            torch.AcceleratorError("unspecified launch failure\nCUDA kernel errors"),
            r"failed \(unspecified launch failure\)",
        ),
    ],
)
def test_what_the_gpu_lacks_or_breaks_is_one_clear_error(
    error: Exception, said: str, tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(self: ArmRun) -> None:
        raise error

    monkeypatch.setattr(ArmRun, "start", start)
    with pytest.raises(LanewiseError, match=said):
        train_stack(trials(tiny_corpus, tmp_path)[:2])


def test_what_is_there_or_under_way_is_left_out(tiny_corpus: Path, tmp_path: Path) -> None:
    first, second, *_ = trials(tiny_corpus, tmp_path)
    learning.trained_arm(first)
    with second.cache.claim(learning.STAGE, learning.inputs(second)):
        train_stack([first, second])
    assert [path.name for path in (tmp_path / "cache" / "arm").glob("[!.]*")] == [learning.key(first)]
    train_stack([second, second])
    assert (tmp_path / "cache" / "arm" / learning.key(second)).is_dir()
    inputs = json.loads((tmp_path / "cache" / "arm" / learning.key(second) / "inputs.json").read_text())["inputs"]
    assert inputs == json.loads(json.dumps(learning.inputs(second)))
