"""The approximations of exp, log, sigmoid and tanh, and the random numbers."""

import numpy as np
import pytest

from bench.engine import isas, reference
from bench.engine.native import core
from tests.engine.models import fresh


@pytest.mark.parametrize("isa", isas())
def test_errors_of_the_approximations(isa: str) -> None:
    x = np.concatenate([np.linspace(-30, 30, 400_001), np.linspace(-86, 86, 20_001)]).astype(np.float32)
    exact = x.astype(np.float64)
    exp_error = np.abs(core.apply("exp", x, isa) / np.exp(exact) - 1).max()
    sigmoid_error = np.abs(core.apply("sigmoid", x, isa) - 1 / (1 + np.exp(-exact))).max()
    tanh_error = np.abs(core.apply("tanh", x, isa) - np.tanh(exact)).max()
    print(f"{isa}: exp {exp_error:.1e} relative, sigmoid {sigmoid_error:.1e}, tanh {tanh_error:.1e} absolute")
    assert exp_error < 2e-7
    assert sigmoid_error < 1.2e-7
    assert tanh_error < 2.4e-7


@pytest.mark.parametrize("isa", isas())
def test_errors_of_the_logarithm(isa: str) -> None:
    x = np.concatenate([np.geomspace(1.2e-38, 3.4e38, 400_001), np.linspace(0.5, 2, 400_001)]).astype(np.float32)
    exact = np.log(x.astype(np.float64))
    error = (np.abs(core.apply("log", x, isa) - exact) / np.maximum(np.abs(exact), 1)).max()
    print(f"{isa}: log {error:.1e} of the greater of 1 and the result")
    assert error < 1e-7


@pytest.mark.parametrize("isa", isas())
def test_extremes_stay_finite(isa: str) -> None:
    x = np.array([-np.inf, -1e30, -100, 0, 100, 1e30, np.inf], dtype=np.float32)
    assert np.isfinite(core.apply("exp", x, isa)).all()
    np.testing.assert_allclose(core.apply("sigmoid", x, isa), [0, 0, 0, 0.5, 1, 1, 1], atol=1e-30)
    np.testing.assert_allclose(core.apply("tanh", x, isa), [-1, -1, -1, 0, 1, 1, 1], atol=1e-7)


# Known answers of the authors' Random123 library (kat_vectors, philox4x32 with 10 rounds).
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
def test_philox_known_answers(counter: tuple[int, ...], key: tuple[int, ...], words: tuple[int, ...]) -> None:
    assert tuple(core.philox(counter, key)) == words
    assert reference.philox((counter[0], counter[1], counter[2], counter[3]), (key[0], key[1])) == words


def test_philox_equals_the_reference_and_the_model() -> None:
    from bench.models import philox

    rng = fresh()
    for _ in range(50):
        counter = tuple(int(c) for c in rng.integers(0, 2**32, 4))
        key = tuple(int(k) for k in rng.integers(0, 2**32, 2))
        assert tuple(core.philox(counter, key)) == reference.philox(counter, key)  # type: ignore[arg-type]
    model = philox.uniforms(2**40 + 5, 2**33 + 7, 30, 6)
    ours = np.stack([reference.uniforms(2**40 + 5, 2**33 + 7, step, 6) for step in range(30)])
    np.testing.assert_array_equal(model, ours.astype(np.float32))


def test_uniform_stays_inside() -> None:
    assert 0 < core.uniform(0) < 1e-7
    assert 1 - 1e-7 < core.uniform(0xFFFFFFFF) < 1
