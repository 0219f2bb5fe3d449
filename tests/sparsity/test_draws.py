"""Streams of random numbers from one seed: the same again, and never the same as another purpose's."""

import itertools

import torch
from hypothesis import given

from bench.sparsity.draws import generator, stream
from tests.sparsity.calibrating import pruner

from .strategies import seeds

PURPOSES = ("random masks", "first masks of rigl", "gates of step 0", "gates of step 1", "fresh weights")


@given(seeds, seeds)
def test_each_purpose_and_each_seed_has_a_stream_of_its_own(seed: int, other: int) -> None:
    streams = {(purpose, number): stream(number, purpose) for purpose in PURPOSES for number in {seed, other, seed + 1}}
    assert len(set(streams.values())) == len(streams)
    assert all(0 <= value < 2**63 for value in streams.values())
    assert {seed, other}.isdisjoint(streams.values()), "nor that of the dense model's torch.manual_seed"


def test_streams_are_uncorrelated() -> None:
    drawn = torch.stack([torch.rand(4000, generator=generator(3, purpose)) for purpose in PURPOSES])
    correlation = torch.corrcoef(drawn) - torch.eye(len(PURPOSES))
    assert float(correlation.abs().max()) < 5 / 4000**0.5
    assert torch.equal(drawn[0], torch.rand(4000, generator=generator(3, "random masks")))


def test_methods_of_one_seed_draw_other_masks() -> None:
    shapes = {"w": (64, 64)}
    masks = [
        pruner("random", shapes, "4x1", 0.5, seed=7)[0],
        pruner("rigl", shapes, "4x1", 0.5, seed=7, start="random")[0],
    ]
    for made in masks:
        made.begin()
    kept = [made.kept for made in masks]
    for one, another in itertools.pairwise(kept):
        assert one is not None
        assert another is not None
        shared = float((one & another).float().mean())
        assert 0.2 < shared < 0.3, "as chance has it: a quarter"
