"""Quantiser, mixture of logistics and random numbers."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.models import mixture, philox, quantiser


@given(st.integers(0, 255))
def test_centres_encode_to_themselves(level: int) -> None:
    assert quantiser.encode(quantiser.decode(np.array([level])))[0] == level


@given(st.floats(-1, 1, allow_nan=False))
def test_encode_is_nearest_in_the_companded_domain(value: float) -> None:
    companded = np.sign(value) * np.log1p(255 * abs(value)) / np.log(256)
    distances = np.abs(companded - (np.arange(256) / 127.5 - 1))
    assert distances[quantiser.encode(np.array([value]))[0]] <= distances.min() + 1e-9


def test_clips_beyond_full_scale() -> None:
    assert list(quantiser.encode(np.array([-9.0, 9.0]))) == [0, 255]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.1, 6))
def test_probabilities_sum_to_one_and_match_the_cdf(seed: int, spread: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    parameters = torch.randn(1, 4 * 3 * 4, generator=generator, dtype=torch.float64) * spread
    levels = torch.arange(256)[:, None].expand(256, 4)
    p = mixture.log_prob(parameters.expand(256, -1), levels).exp()
    assert torch.allclose(p.sum(0), torch.ones(4, dtype=torch.float64), atol=1e-9)
    torch.testing.assert_close(p.cumsum(0)[:-1].T, mixture.cdf(parameters, 4)[0], rtol=0, atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.1, 6))
def test_all_levels_at_once_equal_each_level(seed: int, spread: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    parameters, wanted = torch.randn(2, 3, 4 * 3 * 4, generator=generator, dtype=torch.float64) * spread
    levels = torch.arange(256)[:, None, None].expand(256, 3, 4)
    p, t = (mixture.log_prob(x.expand(256, -1, -1), levels).permute(1, 2, 0) for x in (parameters, wanted))
    torch.testing.assert_close(mixture.log_probs(parameters, 4), p, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(mixture.log_probs(parameters.float(), 4).double(), p, rtol=1e-3, atol=1e-3)
    divergence = mixture.kl_divergence(wanted, parameters, 4)
    torch.testing.assert_close(divergence, (t.exp() * (t - p)).sum(-1), rtol=1e-9, atol=1e-9)
    assert bool((divergence > 0).all())
    assert float(mixture.kl_divergence(wanted, wanted, 4).abs().max()) == 0


def test_far_tails_stay_finite_with_finite_gradients() -> None:
    parameters = torch.zeros(1, 12, requires_grad=True)
    with torch.no_grad():
        parameters[0, 1 * 4 : 2 * 4] = 50.0
        parameters[0, 2 * 4 :] = -20.0
    log_p = mixture.log_prob(parameters, torch.tensor([[0]]))
    log_p.sum().backward()
    assert torch.isfinite(log_p).all()
    assert parameters.grad is not None
    assert torch.isfinite(parameters.grad).all()


def test_philox_known_answers() -> None:
    """Vectors of Random123's kat_vectors for philox4x32-10."""
    zeros = philox.philox4x32(np.zeros((1, 4), dtype=np.uint32), (0, 0))
    ones = philox.philox4x32(np.full((1, 4), 0xFFFFFFFF, dtype=np.uint32), (0xFFFFFFFF, 0xFFFFFFFF))
    assert [hex(w) for w in zeros[0]] == ["0x6627e8d5", "0xe169c58d", "0xbc57ac4c", "0x9b00dbd8"]
    assert [hex(w) for w in ones[0]] == ["0x408f276d", "0x41c83b0e", "0xa20bc7c6", "0x6d5451fd"]


def test_uniforms_depend_on_every_key_and_lie_inside() -> None:
    base = philox.uniforms(1, 2, 50, 4)
    assert base.shape == (50, 4)
    assert 0 < base.min() < base.max() < 1
    assert np.array_equal(base[:20], philox.uniforms(1, 2, 20, 4))
    for other in (philox.uniforms(2, 2, 50, 4), philox.uniforms(1, 3, 50, 4), philox.uniforms(1 << 32, 2, 50, 4)):
        assert not np.array_equal(base, other)
