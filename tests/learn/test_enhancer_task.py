"""The enhancer as arms see it: validation, what its matrices meet, distance to a teacher, units taken out."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.learn.arm import ArmPlan, ArmResult, Pruning, train_arm
from bench.learn.enhancement import si_sdr_db
from bench.learn.enhancer_loss import LOSSES
from bench.learn.enhancer_task import enhancer_task, minus_improvement_db
from bench.learn.fit import DivergedError, Optimisation
from bench.learn.task import Task
from bench.models.enhancer import Cell, Enhancer, EnhancerArch
from bench.models.quantised import Quantisation, QuantisedEnhancer, quantise
from bench.sparsity.shrink import shrink_enhancer
from bench.sparsity.tile import Tile

Clips = tuple[NDArray[np.float32], NDArray[np.float32]]


def mixtures(step: int, seed: int) -> Clips:
    """Speech-like tones in noise, (4, 2048) each."""
    rng = np.random.default_rng([seed, step])
    time = np.arange(2048) / 16000
    clean = 0.2 * np.sin(2 * np.pi * rng.uniform(100, 1000, (4, 1)) * time).astype(np.float32)
    return clean + 0.1 * rng.standard_normal(clean.shape).astype(np.float32), clean


def stretch(step: int, seed: int, samples: int) -> Clips:
    """One noisy and clean clip (samples,)."""
    noisy, clean = mixtures(step, seed)
    return noisy[0, :samples], clean[0, :samples]


def network(cell: Cell = "lstm", integers: bool = False) -> Enhancer:
    torch.manual_seed(5)
    model = Enhancer(EnhancerArch(cell=cell, hidden=16, fc=16, mels=16))
    return quantise(model, Quantisation()) if integers else model


def task(model: Enhancer) -> Task:
    valid = [stretch(i, 9, 1000 + 7 * i) for i in range(40)]
    return enhancer_task(model, mixtures, valid, "si-sdr", seed=3)


@pytest.mark.parametrize("integers", [False, True])
def test_validation_is_the_mean_over_clips_enhanced_one_by_one(integers: bool) -> None:
    model = network(integers=integers).eval()
    clips = [stretch(i, 1, 1500 + 31 * i) for i in range(5)]
    with torch.no_grad():
        gains = [
            si_sdr_db(clean, model(torch.from_numpy(noisy)[None])[0].numpy()) - si_sdr_db(clean, noisy)
            for noisy, clean in clips
        ]
    assert minus_improvement_db(model, clips) == pytest.approx(-float(np.mean(gains)), abs=1e-3)


@torch.no_grad()
def test_a_model_that_only_gives_silence_has_diverged() -> None:
    model = network(integers=True).eval()
    model.mask.weight.zero_()
    model.mask.bias.fill_(-30)  # rounds to a mask of 0
    with pytest.raises(DivergedError, match="silence"), np.errstate(all="ignore"):
        minus_improvement_db(model, [stretch(0, 1, 1500)])


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@torch.no_grad()
def test_inputs_are_what_the_matrices_meet_frame_by_frame(cell: Cell) -> None:
    model = network(cell).eval()
    found = task(model).inputs(model, mixtures(0, 0))
    features = model.features(model.spectrum(torch.from_numpy(mixtures(0, 0)[0])))
    state = model.zero_state(4)
    expected: dict[str, list[Tensor]] = {key: [] for key in found}
    for frame in features.unbind(1):
        x = frame[:, None]
        hs, cs = [], []
        for layer, rnn in enumerate(model.rnn):
            expected[f"rnn.{layer}.w_ih"].append(x[:, 0])
            expected[f"rnn.{layer}.w_hh"].append(state[layer])
            x, after = rnn(x, state[layer::2])
            hs.append(after[0])
            cs += after[1:]
        state = (*hs, *cs)
        expected["fc.weight"].append(x[:, 0])
        expected["mask.weight"].append(torch.relu(model.fc(x))[:, 0])
    assert found.keys() == {key for key, _ in task(model).matrices.values()}
    for key, frames in expected.items():
        torch.testing.assert_close(found[key], torch.stack(frames, 1).reshape(-1, found[key].shape[1]))


def test_distillation_measures_both_from_one_pass() -> None:
    student, teacher = network(), network()
    with torch.no_grad():
        teacher.fc.bias += 0.3
    own, distance = task(student).distil(student, teacher, mixtures(1, 1))
    noisy, clean = (torch.from_numpy(part) for part in mixtures(1, 1))
    torch.testing.assert_close(own, LOSSES["si-sdr"](clean, student(noisy)))
    torch.testing.assert_close(distance, LOSSES["si-sdr"](teacher(noisy), student(noisy)))


def arm(model: Enhancer, tile: str, sparsity: float = 0.5, **prune: str) -> tuple[ArmResult, Enhancer]:
    plan = ArmPlan(
        Optimisation(6, rate=1e-3, warmup=0),
        matrices=tuple(task(model).matrices),
        prune=Pruning(Tile.parse(tile), sparsity, **prune),  # type: ignore[arg-type]
        prune_steps=3,
        validate_every=3,
    )
    result = train_arm(model, task(model), plan, seed=0)
    assert isinstance(result.model, Enhancer)
    return result, result.model


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@torch.no_grad()
def test_a_network_without_its_pruned_units_computes_the_same(cell: Cell) -> None:
    with torch.enable_grad():
        result, model = arm(network(cell), "unit")
    small = shrink_enhancer(model, result.masks)
    noisy = torch.from_numpy(mixtures(2, 2)[0])
    torch.testing.assert_close(small.eval()(noisy), model.eval()(noisy), atol=1e-5, rtol=1e-5)
    assert max(small.arch.widths) < 16
    assert small.arch.fc < 16
    assert small.arch.parameters == sum(p.numel() for p in small.parameters()) < model.arch.parameters


@pytest.mark.parametrize("tile", ["1x1", "16x4", "unit"])
def test_sparsity_is_learned_with_integers(tile: str) -> None:
    result, model = arm(network(integers=True), tile)
    assert isinstance(model, QuantisedEnhancer)
    assert result.masks
    for name, (integers, _) in model.stored().items():
        key = task(model).matrices[name][0]
        if key in result.masks:
            assert not integers[~result.masks[key].numpy()].any()
    assert result.curves.sparsity[-1] == pytest.approx(0.5, abs=0.1)


def test_offline_pruning_trains_the_dense_model_and_nothing_afterwards() -> None:
    pruned, model = arm(network(integers=True), "1x1", schedule="offline")
    dense = network(integers=True)
    plan = ArmPlan(Optimisation(6, rate=1e-3, warmup=0), matrices=tuple(task(dense).matrices), validate_every=3)
    train_arm(dense, task(dense), plan, seed=0)
    weights = dict(model.named_parameters())
    for key, weight in dense.named_parameters():
        expected = torch.where(pruned.masks[key], weight, 0) if key in pruned.masks else weight
        torch.testing.assert_close(weights[key], expected, atol=0, rtol=0)
    assert pruned.curves.sparsity[-2] == 0


def test_fresh_weights_are_of_the_same_arithmetic() -> None:
    for integers in (False, True):
        model = network(integers=integers)
        other = task(model).fresh(model, 7)
        assert type(other) is type(model)
        assert not torch.equal(dict(other.named_parameters())["fc.weight"], model.fc.weight)
