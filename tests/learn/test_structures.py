"""Arms of structures that are no tiles of a matrix: hidden units, N:M, own tiles, reordered units."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_fit import clips, model

from bench.config.matrices import unit_layers
from bench.errors import UsageError
from bench.learn.arm import ArmPlan, ArmResult, Pruning, Regularization, train_arm
from bench.learn.fit import Optimisation
from bench.learn.structure import groups_of, reorder_units_
from bench.learn.task import vocoder
from bench.sparsity.count import kept_units
from bench.sparsity.shrink import masked_units, shrink
from bench.sparsity.tile import Tile

PLAN = ArmPlan(Optimisation(9, rate=1e-3, warmup=2), reg_steps=3, prune_steps=3, validate_every=3)
LASSO = {"form": "proximal", "lambda": "controlled", "target": 0.3}


def run(plan: ArmPlan, folder: Path | None = None, on_step: object = None) -> ArmResult:
    data = clips()
    dense = model(data)
    task = vocoder(dense, data, data[:1], batch=4, frames=3, seed=3)
    return train_arm(dense, task, plan, seed=3, checkpoint_dir=folder, on_step=on_step)  # type: ignore[arg-type]


def pruning(tile: str, sparsity: float = 0.7, **options: object) -> Pruning:
    return Pruning(Tile.parse(tile), sparsity, **options)  # type: ignore[arg-type]


def stop(step: int, bits: float) -> None:
    if step == 5:
        raise KeyboardInterrupt


def same(a: ArmResult, b: ArmResult) -> bool:
    weights = zip(a.model.state_dict().values(), b.model.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in weights) and vars(a.curves) == vars(b.curves) and a.facts == b.facts


@pytest.mark.parametrize("kind", ["magnitude", "random"])
@pytest.mark.parametrize("schedule", ["cubic", "one-shot"])
def test_an_arm_of_units_is_a_smaller_network(kind: str, schedule: str) -> None:
    reg = Regularization(Tile.parse("unit"), options=LASSO)
    result = run(replace(PLAN, reg=reg, prune=pruning("unit", kind=kind, schedule=schedule)))
    assert result.tiles == dict.fromkeys(["gru.w_hh", "gru.w_embed", "gru.w_cond", "head.fc.weight"], "unit")
    kept = masked_units(result.masks)
    (count,) = kept_units(unit_layers(32), {"gru.w_hh": (96, 32)}, 0.7)
    assert int(kept.sum()) == count == 18
    assert result.curves.sparsity[-1] == pytest.approx(1 - (18 / 32) ** 2)
    data = clips()
    small = shrink(result.model, kept)  # type: ignore[arg-type]
    task = vocoder(small, data, data[:1], batch=4, frames=3, seed=3)
    assert task.validate(small) == pytest.approx(result.milestones["recovered"], abs=1e-5)


def test_an_interrupted_arm_of_units_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    plan = replace(PLAN, reg=Regularization(Tile.parse("unit"), options=LASSO), prune=pruning("unit"))
    with pytest.raises(KeyboardInterrupt):
        run(plan, tmp_path, stop)
    assert same(run(plan, tmp_path), run(plan))


def test_units_refuse_what_only_tiles_have() -> None:
    for options, message in (
        ({"scope": "gate"}, r"prune\.scope: got gate, which prune\.tile 'unit' does not have"),
        ({"gate_sparsity": (0.1, 0.2, 0.3)}, r"prune\.gate_sparsity: got"),
        ({"keep_diagonal": True}, r"prune\.keep_diagonal: got True"),
    ):
        with pytest.raises(UsageError, match=message):
            run(replace(PLAN, prune=pruning("unit", **options)))


@pytest.mark.parametrize("tile", ["1x1", "8x1"])
def test_an_arm_of_two_in_four(tile: str) -> None:
    result = run(replace(PLAN, prune=pruning(tile, 0.5, scope="2:4")))
    kept = Tile.parse(tile).grid((96, 32), 3).reduce(result.masks["gru.w_hh"])
    assert kept.reshape(-1, 4).sum(dim=1).unique().tolist() == [2]
    assert result.curves.sparsity[-1] == 0.5


@pytest.mark.parametrize("tile", ["8x1", "1x4", "4x4"])
def test_a_reordered_arm_begins_as_the_dense_model_and_retains_more(tile: str, tmp_path: Path) -> None:
    plan = replace(PLAN, reg_steps=0, prune=pruning(tile, permute=True))
    result = run(plan)
    order = result.facts["permute"]["gru"]["order"]
    before, after = result.facts["permute"]["gru"]["retained"]
    assert sorted(order) == list(range(32))
    assert order != list(range(32))
    assert before < after <= 1
    plain = run(replace(plan, prune=pruning(tile)))
    assert result.milestones["start"] == pytest.approx(plain.milestones["start"], abs=1e-5)
    assert "permute" not in plain.facts
    with pytest.raises(KeyboardInterrupt):
        run(plan, tmp_path, stop)
    assert same(run(plan, tmp_path), result)


def test_what_is_retained_is_what_pruning_leaves() -> None:
    data = clips()
    dense = model(data)
    task = vocoder(dense, data, data[:1], batch=4, frames=3, seed=3)
    groups = groups_of(dense, task, ["gru.recurrent", "gru.cond"], Tile.parse("8x1"))
    facts = reorder_units_(dense, task, groups, Tile.parse("8x1"), 0.7)
    w = {key: dense.get_parameter(key).detach() for key in groups.keys}
    masks = groups.expand(groups.keep(groups.scores(w), 0.7))
    squares = [sum(float(v.double().square().sum()) for v in part) for part in (
        [w[key][masks[key]] for key in w], list(w.values())
    )]  # fmt: skip
    assert facts["gru"]["retained"][1] == pytest.approx((squares[0] / squares[1]) ** 0.5)


def test_reordering_is_refused_where_it_changes_nothing() -> None:
    for tile in ("1x1", "column", "gate-column", "row", "unit"):
        with pytest.raises(UsageError, match=r"prune\.permute: the order of hidden units makes no difference for tile"):
            run(replace(PLAN, prune=pruning(tile, permute=True)))
    plan = replace(PLAN, matrices=("head.out",), prune=pruning("4x1", permute=True))
    with pytest.raises(UsageError, match=r"prune\.permute: head\.out\.weight have no slices"):
        run(plan)
    plan = replace(PLAN, matrices=("gru.cond",), prune=pruning("1x4", permute=True))
    with pytest.raises(UsageError, match=r"prune\.permute: no pruned matrix has slices"):
        run(plan)
