"""Hidden units against slow loops over weights; pruned, they leave a smaller network of the same function."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bench.config.matrices import Layer, Slice, unit_layers
from bench.engine import Vocoder
from bench.engine.pack import GATES, pack_vocoder
from bench.errors import LanewiseError, UsageError
from bench.models.wavernn import Arch, SubbandWaveRNN
from bench.sparsity.count import kept_units
from bench.sparsity.masks import apply_masks_
from bench.sparsity.regularizer import GroupLasso
from bench.sparsity.schedule import KINDS, Schedule
from bench.sparsity.shrink import masked_units, reorder, shrink
from bench.sparsity.units import UnitGroups

from .strategies import seeds, sparsities

Case = tuple[UnitGroups, dict[str, Tensor]]


@st.composite
def networks(draw: st.DrawFn) -> Case:
    """The vocoder's GRU, or two layers of LSTM of unequal sizes with something that reads the second."""
    h, x, o = (draw(st.integers(1, 6)) for _ in range(3))
    if draw(st.booleans()):
        layers: tuple[Layer, ...] = unit_layers(h)
        shapes = {"gru.w_hh": (3 * h, h), "gru.w_embed": (3 * h, x), "head.fc.weight": (o, h)}
        budgeted = draw(st.sampled_from([["gru.w_hh"], ["gru.w_hh", "head.fc.weight"], ["gru.w_embed"]]))
    else:
        k = draw(st.integers(1, 6))
        first = Layer("0", h, (Slice("ih0", 0, 4), Slice("hh0", 0, 4), Slice("hh0", 1), Slice("ih1", 1)))
        second = Layer("1", k, (Slice("ih1", 0, 4), Slice("hh1", 0, 4), Slice("hh1", 1), Slice("out", 1)))
        layers = (first, second)
        shapes = {"ih0": (4 * h, x), "hh0": (4 * h, h), "ih1": (4 * k, h), "hh1": (4 * k, k), "out": (o, k)}
        budgeted = draw(st.sampled_from([["hh0", "hh1"], ["ih1"], ["hh0", "ih1", "out"]]))
    generator = torch.Generator().manual_seed(draw(seeds))
    weights = {key: torch.randn(shape, generator=generator, dtype=torch.float64) for key, shape in shapes.items()}
    return UnitGroups(shapes, layers, budgeted), weights


def members(groups: UnitGroups) -> list[set[tuple[str, int, int]]]:
    """Weights of each unit, by walking over every weight."""
    found = []
    for layer in groups.layers:
        for unit in range(layer.units):
            own = set()
            for key, (out, inputs) in groups.shapes.items():
                for i in range(out):
                    for j in range(inputs):
                        if any((i, j)[s.axis] % layer.units == unit for s in layer.slices if s.state_key == key):
                            own.add((key, i, j))
            found.append(own)
    return found


@given(networks())
def test_norms_and_sums_equal_a_loop(case: Case) -> None:
    groups, w = case
    units = [torch.stack([w[key][i, j] for key, i, j in unit]) for unit in members(groups)]
    assert groups.sizes.tolist() == [len(unit) for unit in units]
    torch.testing.assert_close(groups.norms(w), torch.stack([unit.norm() for unit in units]))
    torch.testing.assert_close(groups.norms(w, "l1"), torch.stack([unit.abs().sum() for unit in units]))
    torch.testing.assert_close(groups.norms(w, "max"), torch.stack([unit.abs().max() for unit in units]))
    torch.testing.assert_close(groups.rms(w), torch.stack([unit.square().mean().sqrt() for unit in units]))
    torch.testing.assert_close(groups.scores(w, "l2-mean"), groups.rms(w))
    torch.testing.assert_close(groups.sums(w), torch.stack([unit.sum() for unit in units]))


@given(networks(), seeds)
def test_expand_is_the_product_over_the_units_of_a_weight(case: Case, seed: int) -> None:
    groups, w = case
    values = torch.rand(groups.n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    slow = {key: torch.ones_like(weight) for key, weight in w.items()}
    for value, unit in zip(values, members(groups), strict=True):
        for key, i, j in unit:
            slow[key][i, j] *= value
    for key, spread in groups.expand(values).items():
        torch.testing.assert_close(spread, slow[key])
        assert spread.is_contiguous()
    kept = values < 0.5
    masks = groups.expand(kept)
    assert all(mask.dtype == torch.bool for mask in masks.values())
    shared = {key: torch.ones_like(weight, dtype=torch.bool) for key, weight in w.items()}
    for keep, unit in zip(kept, members(groups), strict=True):
        for key, i, j in unit:
            shared[key][i, j] &= keep
    assert all(torch.equal(masks[key], shared[key]) for key in masks)


@given(networks(), seeds)
def test_reduce_inverts_expand_of_what_leaves_a_network(case: Case, seed: int) -> None:
    groups, _ = case
    kept = torch.rand(groups.n, generator=torch.Generator().manual_seed(seed)) < 0.6
    for part in groups.parts:
        kept[part.start] = True
    assert torch.equal(groups.reduce(groups.expand(kept)), kept)
    nothing = torch.zeros(groups.n, dtype=torch.bool)
    assert torch.equal(groups.reduce(groups.expand(nothing)), nothing)


@given(networks(), seeds, sparsities)
def test_exactly_the_nearest_count_is_kept(case: Case, seed: int, sparsity: float) -> None:
    groups, w = case
    scores = torch.randint(3, (groups.n,), generator=torch.Generator().manual_seed(seed)).double()
    kept = groups.keep(scores, sparsity)
    counts = kept_units(groups.layers, groups.budgeted, sparsity)
    assert [int(kept[part].sum()) for part in groups.parts] == list(counts)
    for part, count in zip(groups.parts, counts, strict=True):
        ranked = sorted(range(part.start, part.stop), key=lambda unit: (-float(scores[unit]), unit))
        assert sorted(ranked[:count]) == [unit for unit in range(part.start, part.stop) if kept[unit]]
    assert torch.equal(groups.keep(scores, sparsity, kept), kept)
    if sparsity in (0.0, 1.0):
        assert bool((kept == (sparsity == 0.0)).all())
    if len(groups.layers) == 1:  # the masks' own sparsity is the nearest that any number of units gives
        total = sum(w[key].numel() for key in groups.budgeted)

        def achieved(count: int) -> float:
            some = torch.arange(groups.n) < count
            return 1 - sum(int(groups.expand(some)[key].sum()) for key in groups.budgeted) / total

        best = min(abs(achieved(count) - sparsity) for count in range(groups.n + 1))
        assert abs(achieved(counts[0]) - sparsity) == pytest.approx(best, abs=1e-9)


@given(networks(), seeds, st.sampled_from(KINDS), st.floats(0, 1))
def test_no_resurrection_over_a_schedule(case: Case, seed: int, kind: str, final: float) -> None:
    groups, _ = case
    schedule = Schedule(kind, final, start=1, end=8)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(seed)
    previous = torch.ones(groups.n, dtype=torch.bool)
    for step in range(10):
        kept = groups.keep(torch.rand(groups.n, generator=generator), schedule.sparsity_at(step), previous)
        assert not bool((kept & ~previous).any())
        previous = kept
    assert [int(previous[p].sum()) for p in groups.parts] == list(kept_units(groups.layers, groups.budgeted, final))


@given(networks())
def test_penalty_gradient_equals_finite_differences(case: Case) -> None:
    groups, w = case
    regularizer, keys = GroupLasso(groups, lam=0.7), list(groups.keys)
    leaves = [w[key].requires_grad_() for key in keys]
    assert torch.autograd.gradcheck(
        lambda *given: regularizer.penalty(dict(zip(keys, given, strict=True))), leaves, fast_mode=True
    )


def test_counts_by_hand() -> None:
    layers = unit_layers(256)
    recurrent = {"gru.w_hh": (768, 256)}
    assert [kept_units(layers, recurrent, s)[0] for s in (0, 0.7, 0.8, 0.9, 0.95, 1)] == [256, 140, 114, 81, 57, 0]
    assert kept_units(layers, {"gru.w_cond": (768, 128)}, 0.75) == (64,)
    assert kept_units(layers, recurrent | {"head.fc.weight": (128, 256)}, 0.5) == (175,)


def test_bad_arguments() -> None:
    shapes = {"gru.w_hh": (12, 4), "head.out.weight": (5, 7)}
    with pytest.raises(
        UsageError, match=r"prune\.matrices: hidden units have no slice of head\.out\.weight; they have"
    ):
        UnitGroups(shapes, unit_layers(4), ["gru.w_hh", "head.out.weight"])
    groups = UnitGroups(shapes, unit_layers(4), ["gru.w_hh"])
    assert groups.keys == ("gru.w_hh",)
    with pytest.raises(UsageError, match=r"within 0\.\.1"):
        groups.keep(torch.ones(4), 1.5)
    with pytest.raises(UsageError, match=r"gru: 3 of 4 .* left only 0; sparsity may not fall"):
        groups.keep(torch.ones(4), 0.5, torch.zeros(4, dtype=torch.bool))
    with pytest.raises(LanewiseError, match=r"gru\.w_hh: .* NaN"):
        groups.scores({"gru.w_hh": torch.full((12, 4), torch.nan)})
    with pytest.raises(UsageError, match=r"prune\.score"):
        groups.scores({"gru.w_hh": torch.zeros(12, 4)}, "l0")  # type: ignore[arg-type]
    mask = torch.ones(12, 4, dtype=torch.bool)
    mask[0, 0] = False
    with pytest.raises(LanewiseError, match="keeps some hidden unit in part"):
        groups.reduce({"gru.w_hh": mask})


ARCH = Arch(hidden=24, embed=4, cond=8, head=8, mixtures=2, mels=20)


def vocoder(seed: int = 0) -> SubbandWaveRNN:
    torch.manual_seed(seed)
    model = SubbandWaveRNN(ARCH)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return model


def pruned(model: SubbandWaveRNN, kept: Tensor) -> dict[str, Tensor]:
    """Prune units in place; return the masks."""
    named = {key: value for key, value in model.named_parameters() if key in GATES and key != "head.out.weight"}
    groups = UnitGroups({key: (w.shape[0], w.shape[1]) for key, w in named.items()}, unit_layers(24), ["gru.w_hh"])
    masks = groups.expand(kept)
    apply_masks_(named, masks)
    return masks


def outputs(model: SubbandWaveRNN) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    mel = torch.randn(2, 9, 20, generator=generator)
    previous = torch.randint(256, (2, 120, 4), generator=generator, dtype=torch.uint8)
    with torch.no_grad():
        return model(mel, previous)


@settings(max_examples=20)
@given(seeds)
def test_unit_pruning_equals_running_the_smaller_network(seed: int) -> None:
    kept = torch.rand(24, generator=torch.Generator().manual_seed(seed)) < 0.5
    kept[seed % 24] = True
    model = vocoder()
    masks = pruned(model, kept)
    assert torch.equal(masked_units(masks), kept)
    small = shrink(model, kept)
    assert small.arch.hidden == int(kept.sum())
    torch.testing.assert_close(outputs(small), outputs(model), atol=2e-5, rtol=1e-4)


@settings(max_examples=20)
@given(seeds)
def test_reordered_units_compute_the_same(seed: int) -> None:
    order = torch.randperm(24, generator=torch.Generator().manual_seed(seed))
    other = reorder(vocoder(), order)
    torch.testing.assert_close(outputs(other), outputs(vocoder()), atol=2e-5, rtol=1e-4)
    back = reorder(other, order.argsort())
    assert all(
        torch.equal(a, b) for a, b in zip(back.state_dict().values(), vocoder().state_dict().values(), strict=True)
    )


def parameters(model: SubbandWaveRNN, path: Path) -> np.ndarray:
    """The engine's distributions."""
    rng = np.random.default_rng(1)
    levels = rng.integers(0, 256, (3 * 40, 4), dtype=np.uint8)
    pack_vocoder(path, *model.export())
    return Vocoder(path, "auto").parameters(rng.standard_normal((3, 20)).astype(np.float32), levels)


def test_the_engine_runs_the_smaller_and_the_reordered_network(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    kept = torch.rand(24, generator=generator) < 0.5
    model = vocoder()
    pruned(model, kept)
    whole = parameters(model, tmp_path / "whole.lwm")
    small = parameters(shrink(model, kept), tmp_path / "small.lwm")
    other = parameters(reorder(model, torch.randperm(24, generator=generator)), tmp_path / "other.lwm")
    np.testing.assert_allclose(small, whole, atol=1e-4)
    np.testing.assert_allclose(other, whole, atol=1e-4)
    assert (tmp_path / "small.lwm").stat().st_size < (tmp_path / "whole.lwm").stat().st_size


def test_a_network_without_units_is_refused() -> None:
    with pytest.raises(UsageError, match=r"prune\.sparsity: no hidden unit is left"):
        shrink(vocoder(), torch.zeros(24, dtype=torch.bool))
