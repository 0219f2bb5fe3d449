"""The enhancer: its size, that it is causal, frame by frame against the whole, and its checkpoints."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import LanewiseError
from bench.models import checkpoint
from bench.models.enhancer import MATRICES, Cell, Enhancer, EnhancerArch, EnhancerStream, matrices, mel_bands
from bench.models.wavernn import Arch, SubbandWaveRNN

SMALL = {"hidden": 12, "fc": 8, "mels": 16}


def small(cell: Cell = "lstm", **sizes: int) -> Enhancer:
    torch.manual_seed(3)
    model = Enhancer(EnhancerArch(cell=cell, **(SMALL | sizes)))
    with torch.no_grad():  # a mask that moves
        for parameter in model.parameters():
            parameter.mul_(3.0)
    return model.eval()


def test_size_is_that_of_the_parent_paper() -> None:
    model = Enhancer(EnhancerArch())
    counted = sum(parameter.numel() for parameter in model.parameters())
    assert counted == model.arch.parameters == 968_960
    assert not [name for name, _ in model.named_modules() if "norm" in name]
    assert sum(name.endswith("bias") for name, _ in model.named_parameters()) == 4
    pruned = sum(model.state_dict()[key].numel() for key, _ in MATRICES.values())
    assert pruned == 968_960 - (2 * 1024 + 2 * 128) == 966_656
    assert model.arch.latency_ms == 32.0


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_matrices_are_stacked_gates(cell: Cell) -> None:
    model = small(cell)
    assert sum(parameter.numel() for parameter in model.parameters()) == model.arch.parameters
    for name, (key, gates) in matrices(model.arch).items():
        weights = model.state_dict()[key]
        assert weights.ndim == 2
        rows = {"fc.hidden": 8, "fc.mask": 16}.get(name, 12)
        assert weights.shape[0] == gates * rows


def reference(model: Enhancer, features: torch.Tensor) -> torch.Tensor:
    """Mask of one clip (frames, mels) by the gate equations, one frame and one layer at a time."""
    arch = model.arch
    h, c = ([torch.zeros(arch.hidden) for _ in range(arch.layers)] for _ in range(2))
    masks = []
    for x in features:
        for layer, rnn in enumerate(model.rnn):
            inner, fed = rnn.w_ih @ x + rnn.bias, rnn.w_hh @ h[layer]
            if arch.cell == "lstm":
                i, f, g, o = (inner + fed).chunk(4)
                c[layer] = torch.sigmoid(f) * c[layer] + torch.sigmoid(i) * torch.tanh(g)
                h[layer] = torch.sigmoid(o) * torch.tanh(c[layer])
            else:
                (r_in, z_in, n_in), (r_fed, z_fed, n_fed) = inner.chunk(3), fed.chunk(3)
                z = torch.sigmoid(z_in + z_fed)
                h[layer] = (1 - z) * torch.tanh(n_in + torch.sigmoid(r_in + r_fed) * n_fed) + z * h[layer]
            x = h[layer]
        masks.append(torch.sigmoid(model.mask(torch.relu(model.fc(x)))))
    return torch.stack(masks)


@torch.no_grad()
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_mask_follows_the_gate_equations(cell: Cell) -> None:
    model = small(cell)
    features = torch.randn(1, 20, model.arch.mels)
    mask, state = model.band_mask(features, model.zero_state(1))
    assert len(state) == (4 if cell == "lstm" else 2)
    torch.testing.assert_close(mask[0], reference(model, features[0]), atol=1e-5, rtol=0)


@torch.no_grad()
@settings(max_examples=15, deadline=None)
@given(st.integers(1, 4000), st.sampled_from(["lstm", "gru"]), st.sampled_from([256, 128]), st.integers(0, 2**31))
def test_frame_by_frame_equals_the_whole(samples: int, cell: Cell, hop: int, seed: int) -> None:
    model = small(cell, hop=hop)
    audio = (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)
    whole = model(torch.from_numpy(audio)[None])[0].numpy()
    late = model.arch.n_fft - hop
    fed = np.pad(audio, (0, -samples % hop + late)).reshape(-1, hop)
    stream = EnhancerStream(model)
    live = np.concatenate([stream.push(part) for part in fed])[late:]
    np.testing.assert_allclose(live[:samples], whole, atol=1e-6)


@torch.no_grad()
def test_output_never_depends_on_what_comes_later_than_the_latency() -> None:
    model = small()
    audio = 0.1 * torch.randn(1, 8000)
    changed = audio.clone()
    changed[:, 4096:] = 0.1 * torch.randn(1, 3904)
    first, second = model(audio)[0], model(changed)[0]
    heard_until = 4096 - model.arch.n_fft
    torch.testing.assert_close(first[:heard_until], second[:heard_until], atol=0, rtol=0)
    assert not torch.equal(first[4096:], second[4096:])


@torch.no_grad()
@pytest.mark.parametrize("hop", [256, 128])
def test_an_open_mask_gives_the_input_back(hop: int) -> None:
    model = Enhancer(EnhancerArch(hop=hop, low_hz=0.0))
    model.mask.bias.fill_(100.0)
    audio = 0.1 * torch.randn(2, 5000)
    torch.testing.assert_close(model(audio), audio, atol=1e-6, rtol=0)


def test_mel_bands_cover_every_bin_of_the_band() -> None:
    analysis, synthesis = mel_bands(EnhancerArch())
    np.testing.assert_allclose(analysis.sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(synthesis[2:].sum(1), 1, rtol=1e-5)
    assert not synthesis[:2].any()
    assert (synthesis >= 0).all()


def test_checkpoint_round_trip_and_kinds(tmp_path) -> None:  # type: ignore[no-untyped-def]
    model = small("gru")
    path = tmp_path / "model.safetensors"
    checkpoint.save_enhancer(path, model, {"steps": 3})
    loaded, meta = checkpoint.load_enhancer(path)
    assert (loaded.arch, meta) == (model.arch, {"steps": 3})
    for key, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value), key
    with pytest.raises(LanewiseError, match=r"not a Lanewise vocoder checkpoint \(header kind 'enhancer'\)"):
        checkpoint.load(path)
    checkpoint.save(path, SubbandWaveRNN(Arch(hidden=32, cond=8, head=8)), {})
    with pytest.raises(LanewiseError, match="not a Lanewise enhancer checkpoint"):
        checkpoint.load_enhancer(path)
    checkpoint.save_enhancer(path, model, {})
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(LanewiseError, match="damaged checkpoint"):
        checkpoint.load_enhancer(path)
