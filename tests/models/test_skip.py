"""Skip gates of the vocoder's GRU: the recurrence against a plain loop, gradients, state that is carried, files."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.models import checkpoint, mixture, philox
from bench.models.gru_op import plain_gru
from bench.models.skip import SkipGate, skip_gru, updates
from bench.models.wavernn import Arch, State, SubbandWaveRNN, shift

ARCH = Arch(hidden=24, embed=6, cond=12, head=12, mixtures=2)


def inputs(seed: int = 0, batch: int = 3, steps: int = 24, hidden: int = 8) -> list[Tensor]:
    torch.manual_seed(seed)
    shapes = [(2, 256, 3 * hidden), (batch, steps // 4, 3 * hidden), (3 * hidden, hidden), (3 * hidden,)]
    floats = [torch.randn(*shape, dtype=torch.float64) * 0.5 for shape in shapes]
    indices = torch.randint(0, 256, (batch, steps, 2), dtype=torch.uint8)
    return [indices, *floats, torch.randn(batch, hidden, dtype=torch.float64) * 0.5]


def gate(hidden: int = 8, bias: float = -1.0, seed: int = 0) -> SkipGate:
    made = SkipGate(hidden).double()
    torch.manual_seed(seed)
    with torch.no_grad():
        made.weight.normal_()
        made.bias.fill_(bias)
    return made


def model(bias: float = -1.0) -> SubbandWaveRNN:
    torch.manual_seed(1)
    made = SubbandWaveRNN(ARCH)
    made.gru.skip = SkipGate(ARCH.hidden)
    with torch.no_grad():
        made.gru.skip.weight.normal_()
        made.gru.skip.bias.fill_(bias)
    return made


def test_a_fresh_gate_changes_nothing() -> None:
    indices, tables, cond, w_hh, b_hh, h0 = inputs()
    fresh = SkipGate(8).double()
    states, a = skip_gru(indices, tables, cond, w_hh, b_hh, fresh, h0, torch.ones(3, dtype=torch.float64))
    assert torch.equal(states, plain_gru(indices, tables, cond, w_hh, b_hh, h0))
    assert bool((fresh.last_updates() == 1).all())
    assert a.tolist() == pytest.approx([1 / (1 + math.exp(-1))] * 3)


@pytest.mark.parametrize("bias", [-2.0, -0.7, 0.0])
def test_equals_the_definition_in_scalars(bias: float) -> None:
    """One sequence at a time, decisions as Python numbers, one step of a GRU at a time."""
    indices, tables, cond, w_hh, b_hh, h0 = inputs()
    skip = gate(bias=bias)
    states, last = skip_gru(indices, tables, cond, w_hh, b_hh, skip, h0, torch.ones(3, dtype=torch.float64))
    opened = skip.last_updates().detach()
    assert 0 < float(opened.mean()) < 1
    for row in range(3):
        a, h = 1.0, h0[row]
        for t in range(24):
            u = round(a)
            if u == 1:
                one = indices[row : row + 1, t : t + 1], tables, cond[row : row + 1, t // 4 : t // 4 + 1]
                h = plain_gru(*one, w_hh, b_hh, h[None])[0, 0]
            assert int(opened[row, t]) == u
            torch.testing.assert_close(states[row, t], h, rtol=1e-12, atol=1e-12)
            d = 1 / (1 + math.exp(-float(skip.weight.detach() @ h) - float(skip.bias)))
            a = u * d + (1 - u) * (a + min(d, 1 - a))
        assert float(last[row]) == pytest.approx(a, rel=1e-12)


def test_rounding_passes_gradients_straight_through() -> None:
    a = torch.tensor([0.2, 0.5, 0.51, 1.0], requires_grad=True)
    u = updates(a)
    u.backward(torch.tensor([1.0, 2.0, 3.0, 4.0]))  # type: ignore[no-untyped-call]
    assert u.tolist() == torch.round(a).tolist() == [0, 0, 1, 1]
    assert a.grad is not None
    assert a.grad.tolist() == [1, 2, 3, 4]


def test_gradient_is_that_of_the_network_whose_rounding_is_an_offset() -> None:
    """Straight-through: near a point, u = a + (its rounding there - a there), which can be differentiated plainly."""
    indices, tables, cond, w_hh, b_hh, h0 = inputs(steps=8)
    skip = gate(bias=-0.5)
    states, _ = skip_gru(indices, tables, cond, w_hh, b_hh, skip, h0, torch.ones(3, dtype=torch.float64))
    (states.square().sum() + 3 * skip.last_updates().mean()).backward()  # type: ignore[no-untyped-call]
    offsets: list[Tensor] = []

    def loss(weight: Tensor, bias: Tensor, fixed: bool) -> Tensor:
        a, h, total, share = torch.ones(3, dtype=torch.float64), h0, torch.zeros(()), torch.zeros(())
        for t in range(8):
            if not fixed:
                offsets.append((torch.round(a) - a).detach())
            u = a + offsets[t]
            one = indices[:, t : t + 1], tables, cond[:, t // 4 : t // 4 + 1]
            h = u[:, None] * plain_gru(*one, w_hh, b_hh, h)[:, 0] + (1 - u[:, None]) * h
            d = torch.sigmoid(h @ weight + bias)
            a = u * d + (1 - u) * (a + torch.minimum(d, 1 - a))
            total, share = total + h.square().sum(), share + u.mean() / 8
        return total + 3 * share

    weight, bias = skip.weight.detach(), skip.bias.detach().squeeze()
    loss(weight, bias, fixed=False)
    step = 1e-6
    for i in range(8):
        moved = torch.zeros(8, dtype=torch.float64)
        moved[i] = step
        slope = (loss(weight + moved, bias, True) - loss(weight - moved, bias, True)) / (2 * step)
        assert float(skip.weight.grad[i]) == pytest.approx(float(slope), rel=1e-5, abs=1e-7)  # type: ignore[index]
    slope = (loss(weight, bias + step, True) - loss(weight, bias - step, True)) / (2 * step)
    assert float(skip.bias.grad) == pytest.approx(float(slope), rel=1e-5, abs=1e-7)  # type: ignore[arg-type]


def test_a_run_in_pieces_is_the_whole_run() -> None:
    network = model()
    previous = torch.randint(0, 256, (2, 120, 4), dtype=torch.uint8)
    cond = network.conditioning(torch.randn(2, 3, 80))
    whole, end = network.recur(previous, network.tables(), cond, network.start(2))
    state: State = network.start(2)
    parts = []
    for frame in range(3):
        part = previous[:, 40 * frame : 40 * frame + 40]
        states, state = network.recur(part, network.tables(), cond[:, frame : frame + 1], state)
        parts.append(states)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole)
    assert end.a is not None
    assert state.a is not None
    torch.testing.assert_close(state.a, end.a)


def test_generation_draws_from_what_the_teacher_forced_run_gives() -> None:
    network = model()
    assert network.gru.skip is not None
    mel = np.random.default_rng(0).standard_normal((4, 80)).astype(np.float32)
    levels = network.generate(mel, seed=3)
    with torch.no_grad():
        parameters = network(torch.from_numpy(mel)[None], torch.from_numpy(shift(levels))[None], whole=True)[0]
        assert 0.1 < float(network.gru.skip.last_updates().mean()) < 0.9
        uniforms = torch.from_numpy(philox.uniforms(3, 0, 160, 4))
        drawn = [(mixture.cdf(p, 4, 1.0) <= u[:, None]).sum(-1) for p, u in zip(parameters, uniforms, strict=True)]
    assert np.array_equal(torch.stack(drawn).numpy(), levels)


def test_skipped_steps_are_no_inputs_of_the_recurrent_matrix() -> None:
    network = model()
    with torch.no_grad():
        found = network.inputs(torch.randn(2, 9, 80), torch.randint(0, 256, (2, 120, 4), dtype=torch.uint8))
    assert network.gru.skip is not None
    opened = int(network.gru.skip.last_updates().sum())
    assert 0 < opened < 240
    assert len(found["gru.w_hh"]) == len(found["gru.w_embed"]) == opened
    assert len(found["head.fc.weight"]) == 240


def test_a_checkpoint_keeps_the_gate(tmp_path: Path) -> None:
    network = model()
    checkpoint.save(tmp_path / "m.safetensors", network, {})
    loaded, _ = checkpoint.load(tmp_path / "m.safetensors")
    assert loaded.gru.skip is not None
    assert {"gru.skip.weight", "gru.skip.bias"} <= loaded.state_dict().keys()
    for key, value in network.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[key])
    assert loaded.export()[1]["gru.skip.bias"].shape == (1,)
