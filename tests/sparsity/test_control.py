"""Lambda control on a real Adam training of a small recurrent network."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import UsageError
from bench.sparsity.control import FixedLambda, LambdaControl, TargetSparsity, zero_share
from bench.sparsity.count import kept_count, log_grid
from bench.sparsity.groups import TileGroups
from bench.sparsity.regularizer import Form, GroupLasso
from bench.sparsity.schedule import Schedule
from bench.sparsity.tile import Tile

LR, STEPS = 2e-3, 80


def lasso(tile: str, form: Form = "proximal") -> GroupLasso:
    return GroupLasso(TileGroups({"w": (72, 24)}, Tile.parse(tile), {"w": 3}), form)


def train(regularizer: GroupLasso, control: LambdaControl, steps: int = STEPS) -> list[float]:
    """Fit a GRU to a fixed random one; returns the share of (nearly) zero groups measured after each step."""
    torch.manual_seed(0)
    gru, teacher = torch.nn.GRU(6, 24, batch_first=True), torch.nn.GRU(6, 24, batch_first=True)
    optimiser = torch.optim.Adam(gru.parameters(), LR)
    tolerance = control.tolerance  # type: ignore[attr-defined]
    shares = []
    for step in range(steps):
        x = torch.randn(4, 10, 6)
        loss = ((gru(x)[0] - teacher(x)[0].detach()) ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        w = {"w": gru.get_parameter("weight_hh_l0")}
        regularizer.lam = control.update(step, regularizer.rms(w), LR)
        regularizer.step_(w, LR)
        shares.append(float((regularizer.rms(w) <= tolerance).double().mean()))
    return shares


@pytest.mark.parametrize("tile", ["1x1", "8x1", "1x4", "5x7", "column"])
def test_horizon_one_follows_the_schedule_to_the_group(tile: str) -> None:
    schedule = Schedule("linear", 0.7, start=5, end=STEPS - 20)
    control = TargetSparsity(schedule, horizon=1)
    n = Tile.parse(tile).grid((72, 24), 3).n_groups
    shares = train(lasso(tile), control)
    assert shares == pytest.approx([1 - kept_count(n, schedule.sparsity_at(step)) / n for step in range(STEPS)])
    assert [point.sparsity for point in control.curve] == pytest.approx(shares)


@pytest.mark.parametrize("tile", ["1x1", "8x1", "column"])
def test_default_horizon_ends_on_the_target(tile: str) -> None:
    schedule = Schedule("linear", 0.7, start=5, end=STEPS - 1)
    control = TargetSparsity(schedule)
    n = Tile.parse(tile).grid((72, 24), 3).n_groups
    shares = train(lasso(tile), control)
    assert shares[-1] == pytest.approx(1 - kept_count(n, 0.7) / n)
    assert [point.sparsity for point in control.curve] == pytest.approx(shares)
    assert [point.target for point in control.curve] == [schedule.sparsity_at(step) for step in range(STEPS)]


def test_subgradient_form_reaches_the_target_within_its_tolerance() -> None:
    control = TargetSparsity(Schedule("linear", 0.7, end=STEPS - 20), form="subgradient", tolerance=2 * LR)
    shares = train(lasso("8x1", "subgradient"), control)
    assert shares[-1] == pytest.approx(0.7, abs=0.03)
    assert [point.sparsity for point in control.curve] == pytest.approx(shares)
    assert max(point.lam for point in control.curve) <= 2.0


def test_bounds_hold() -> None:
    control = TargetSparsity(Schedule("one-shot", 0.9), lam_min=0.01, lam_max=0.5)
    shares = train(lasso("8x1"), control, steps=10)
    assert {point.lam for point in control.curve} == {0.5}
    assert shares[-1] < 0.9
    low = TargetSparsity(Schedule("one-shot", 0.0), lam_min=0.01)
    assert low.update(0, torch.ones(4), LR) == 0.01
    assert low.update(1, torch.ones(4), 0.0) == 0.01


@pytest.mark.parametrize("form", ["proximal", "subgradient"])
def test_fixed_lambda_records_what_it_does(form: str) -> None:
    control = FixedLambda(0.6, form, tolerance=1e-3 if form == "subgradient" else 0.0)  # type: ignore[arg-type]
    shares = train(lasso("1x1", form), control)  # type: ignore[arg-type]
    assert {point.lam for point in control.curve} == {0.6}
    assert [point.sparsity for point in control.curve] == pytest.approx(shares)
    assert shares[-1] > 0.05


def test_sparsity_zero_and_one() -> None:
    rms = torch.tensor([0.3, 0.0, 0.1])
    none, everything = (TargetSparsity(Schedule("one-shot", s)) for s in (0.0, 1.0))
    assert none.update(0, rms, LR) == 0.0
    assert everything.update(0, rms, LR) * LR == pytest.approx(0.3, rel=1e-5)
    assert everything.curve[-1].sparsity == 1.0


def test_zero_share() -> None:
    rms = torch.tensor([0.0, 0.1, 0.2, 0.4])
    assert zero_share(rms, 0.2) == 0.75
    assert zero_share(rms, 0.2, "subgradient", 0.05) == 0.5
    assert zero_share(rms[:0], 0.2) == 0.0


@given(st.floats(1e-6, 1e3), st.floats(1, 1e4), st.integers(2, 12))
def test_grid_is_logarithmic(low: float, factor: float, count: int) -> None:
    grid = log_grid(low, low * factor, count)
    assert len(grid) == count
    assert (grid[0], grid[-1]) == (low, low * factor)
    for i, lam in enumerate(grid):
        assert math.log(lam) == pytest.approx(math.log(low) + i / (count - 1) * math.log(factor), abs=1e-9)


def test_bad_values() -> None:
    assert log_grid(0.1, 0.1, 1) == [0.1]
    for low, high, count in [(0.0, 1.0, 3), (1.0, 0.1, 3), (0.1, 1.0, 1), (0.1, math.inf, 3), (0.1, 0.1, 0)]:
        with pytest.raises(UsageError, match="tune: got"):
            log_grid(low, high, count)
    schedule = Schedule("one-shot", 0.5)
    for options, message in [
        ({"lam_min": 2.0, "lam_max": 1.0}, r"reg\.lambda"),
        ({"horizon": 0}, r"reg\.horizon"),
        ({"form": "subgradient"}, r"reg\.tolerance"),
        ({"tolerance": -1.0}, r"reg\.tolerance"),
    ]:
        with pytest.raises(UsageError, match=message):
            TargetSparsity(schedule, **options)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"reg\.lambda"):
        FixedLambda(-1.0)
