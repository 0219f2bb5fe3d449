"""Training loop: learns, resumes to the same weights, refuses another plan; evaluation equals a plain computation."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.errors import LanewiseError, UsageError
from bench.learn.dataset import ClipData, Segments, scales
from bench.learn.evaluate import clip_nlls
from bench.learn.fit import Fit, Optimisation
from bench.learn.task import nll_bits
from bench.models import mixture, quantiser
from bench.models.wavernn import Arch, SubbandWaveRNN, shift

ARCH = Arch(hidden=32, embed=8, cond=16, head=16, mixtures=2)


def clips(count: int = 3, frames: int = 30) -> list[ClipData]:
    rng = np.random.default_rng(0)
    return [
        ClipData(
            f"clip{i}",
            rng.standard_normal((frames + 7 * i, 80)).astype(np.float32),
            (rng.standard_normal(((frames + 7 * i) * 40, 4)) * [0.3, 0.1, 0.05, 0.02]).astype(np.float32),
        )
        for i in range(count)
    ]


def model(data: list[ClipData]) -> SubbandWaveRNN:
    torch.manual_seed(0)
    made = SubbandWaveRNN(ARCH)
    made.set_scales(*scales(data))
    return made


def fit(data: list[ClipData], steps: int = 12, rate: float = 1e-3) -> Fit:
    start = model(data)
    segments = Segments(data, ARCH, start.band_scale.numpy(), batch=4, frames=3)

    def loss(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        bits = nll_bits(start, segments(step, 7))
        return bits, bits

    return Fit(start, Optimisation(steps, rate=rate, warmup=2, average=0.9), loss)


def test_learns() -> None:
    run = fit(clips(), 60)
    run.run(60)
    bits = [b for _, b in run.curve]
    assert np.mean(bits[-10:]) < np.mean(bits[:10]) - 0.3


def test_resumed_run_ends_where_an_undisturbed_one_does(tmp_path: Path) -> None:
    data = clips()
    whole = fit(data)
    whole.run(12)
    first = fit(data)
    first.run(5)
    first.save(tmp_path / "run.resume", {"note": 1}, {"mask": torch.tensor([True, False])})
    second = fit(data)
    extra, tensors = second.restore(tmp_path / "run.resume")
    second.run(12)
    assert extra == {"note": 1, "planned_steps": 12}
    assert tensors["mask"].tolist() == [True, False]
    assert second.curve == whole.curve
    for a, b in zip(whole.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(a, b)
    whole.use_average(), second.use_average()
    for a, b in zip(whole.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_another_plan_is_refused(tmp_path: Path) -> None:
    data = clips()
    run = fit(data)
    run.run(1)
    run.save(tmp_path / "run.resume")
    for other in fit(data, steps=11), fit(data, rate=1e-4):
        with pytest.raises(LanewiseError, match="another training plan"):
            other.restore(tmp_path / "run.resume")


def test_a_finished_run_can_be_extended(tmp_path: Path) -> None:
    data = clips()
    run = fit(data)
    run.run(12)
    run.save(tmp_path / "run.resume")
    longer = fit(data, steps=16)
    extra, _ = longer.restore(tmp_path / "run.resume")
    longer.run(16)
    assert extra["planned_steps"] == 12
    assert [step for step, _ in longer.curve] == list(range(1, 17))


def test_divergence_is_an_error() -> None:
    run = fit(clips())
    with torch.no_grad():
        run.model.gru.w_hh.fill_(math.nan)
    with pytest.raises(LanewiseError, match="diverged at step 0"):
        run.run(1)


def test_batches_depend_on_step_and_seed_alone() -> None:
    data = clips()
    segments = Segments(data, ARCH, scales(data).band_scale, batch=8, frames=3)
    for a, b in zip(segments(3, 5), segments(3, 5), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(segments(3, 5).target, segments(4, 5).target)
    assert not np.array_equal(segments(3, 5).target, segments(3, 6).target)
    np.testing.assert_array_equal(segments(3, 5).previous[:, 1:], segments(3, 5).target[:, :-1])


@torch.no_grad()
def test_clip_nll_equals_a_plain_computation() -> None:
    data = clips(count=19)  # two groups, in which rows end one after another
    made = model(data)
    found = clip_nlls(made, data)
    assert list(found) == [clip.id for clip in data]
    for clip in (data[0], data[10], data[18]):
        indices = quantiser.encode(clip.bands / made.band_scale.numpy())
        parameters = made(torch.from_numpy(clip.mel)[None], torch.from_numpy(shift(indices))[None], whole=True)
        nats = -mixture.log_prob(parameters.double(), torch.from_numpy(indices)[None]).sum()
        assert found[clip.id] == pytest.approx(float(nats) / math.log(2) / indices.size, rel=1e-5)


def test_segments_longer_than_every_clip_are_refused() -> None:
    data = clips()
    with pytest.raises(UsageError, match="100 frames of 10 ms, the longest training clip 44"):
        Segments(data, ARCH, scales(data).band_scale, frames=100)
