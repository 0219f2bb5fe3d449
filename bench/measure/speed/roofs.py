"""The host's limits, measured: how fast one core reads bytes from each cache and how fast it multiplies and adds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bench import host
from bench.measure.speed.buffers import aligned
from bench.measure.speed.gate import Candidate, GatedRun, Timing

FORMATS = ("f32", "bf16", "int8")
_PEAK_STEPS = 1000
_BY_WIDTH = ("scalar", "sse4.2", "neon", "avx2", "avx512")
_SHARE = {"L1d": 2, "L2": 2, "L3": 4}
"""A read fills one part in so many of a cache: other data and other cores have the rest."""


@dataclass(frozen=True)
class Roof:
    """A limit of this host.

    Attributes
    ----------
    label
        Such as "L2 512 KiB" or "f32 peak".
    format
        Of a peak: its number format; None for reading.
    per_ns
        Bytes (reading) or operations (peak) a nanosecond, that is GB/s or GOP/s.
    """

    label: str
    format: str | None
    per_ns: float


@dataclass(frozen=True)
class RoofCandidate:
    """One way to measure a roof: `amount` bytes or operations a call."""

    label: str
    format: str | None
    amount: int
    candidate: Candidate


def load_isas() -> tuple[str, ...]:
    """ISAs of this host's two widest kinds of load.

    Two, because the widest are not always the fastest: on Zen 5, 315 KiB are read at 195 GB/s in 512-bit loads and at
    190 or 245 in 256-bit ones, depending on what its prefetcher has settled on. The limit is the faster of both.
    """
    from bench.engine import isas

    here = isas()
    return tuple([isa for isa in _BY_WIDTH if isa in here][-2:])


def read_candidates(name: str, read_bytes: int) -> tuple[Candidate, ...]:
    """Candidates that read that many bytes, one per kind of load: the limit of any product that must read them."""
    from bench.engine import read_ns

    buffer = aligned(np.ones(read_bytes, dtype=np.uint8))
    return limits(name, lambda times, isa: read_ns(buffer, times, isa))


def limits(name: str, read_ns: Callable[[int, str], float]) -> tuple[Candidate, ...]:
    """Turn a read of so many times, with an ISA's loads, into the candidates of which the fastest is the limit."""

    def reading(isa: str) -> Candidate:
        return Candidate(f"{isa} read of {name}", lambda times: read_ns(times, isa))

    return tuple(reading(isa) for isa in load_isas())


def limit(candidates: Sequence[Candidate], run: GatedRun) -> Timing:
    """Of `limits`, the fastest."""
    return min((run.timings[candidate.name] for candidate in candidates), key=lambda timing: timing.us)


def host_roofs() -> list[RoofCandidate]:
    """Return what to time: reads out of each cache, and the peak of each number format that has an instruction here."""
    from bench.engine import isas

    found = []
    for level, cache_bytes in host.cache_sizes().items():
        if level in _SHARE:
            size = cache_bytes // _SHARE[level]
            label = f"{level} {size // 1024} KiB"
            found += [RoofCandidate(label, None, size, candidate) for candidate in read_candidates(label, size)]
    return found + [roof for fmt in FORMATS if (roof := peak_of(fmt, isas()[-1]))]


def peak_of(fmt: str, isa: str) -> RoofCandidate | None:
    """Return how to time the peak of a number format on an ISA; None where it has no instruction of that format."""
    from bench.engine import peak

    operations = peak(fmt, _PEAK_STEPS, isa)[1]
    label = f"{fmt} peak"
    candidate = Candidate(label, lambda times: peak(fmt, _PEAK_STEPS * times, isa)[0])
    return RoofCandidate(label, fmt, operations, candidate) if operations else None


def fastest(candidates: Sequence[RoofCandidate], run: GatedRun) -> list[Roof]:
    """Turn timings into roofs, the fastest way of each."""
    best: dict[tuple[str, str | None], float] = {}
    for c in candidates:
        key = (c.label, c.format)
        best[key] = max(best.get(key, 0.0), c.amount / run.us(c.candidate.name) / 1e3)
    return [Roof(label, fmt, per_ns) for (label, fmt), per_ns in best.items()]
