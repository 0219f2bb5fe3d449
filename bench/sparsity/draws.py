"""Streams of random numbers: one for each purpose, all from the one seed of an arm."""

import hashlib

import torch


def generator(seed: int, purpose: str) -> torch.Generator:
    """Return a generator on the CPU for one purpose, such as "random masks".

    Its seed is a hash of both: the numbers of two purposes have nothing to do with each other, whatever the seed, and
    those of one are the same on every device and after every resumption.
    """
    return torch.Generator().manual_seed(stream(seed, purpose))


def stream(seed: int, purpose: str) -> int:
    """Return the 63-bit seed of one purpose's stream."""
    return int.from_bytes(hashlib.sha256(f"{purpose}: {seed}".encode()).digest()[:8], "big") >> 1
