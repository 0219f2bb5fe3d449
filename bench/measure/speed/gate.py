"""The gate: a speed figure counts only when the core ran at nominal speed just before and just after it.

One sample is: some unmeasured calls (to fill the caches), a 5 us chain, about 350 us of the candidate, a chain. It is
accepted when both chains ran within 1.08x of nominal speed and no other process took the core in between (the thread's
count of involuntary context switches), else redone later. Candidates take turns in a random order, in one process,
pinned to one core, under the host's timing lock; a figure is the median of 15 to 21 accepted samples.

The verdict in words:

`stable`
    every candidate has its 15 accepted samples, at most 95 % of all samples were rejected, and the samples' relative
    median absolute deviation (MAD / median) is at most 5 %.
`unstable`
    anything else, in particular when 60 s passed (or four times what the samples take on a quiet core, if longer) and
    some candidate was not accepted. The figures stand, as medians of what was accepted, or of every sample if some
    candidate has fewer than three accepted ones; nothing is relabelled.
"""

import gc
import math
import random
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bench import host
from bench.measure.speed.clock import Clock, store_path
from bench.measure.speed.lock import timing_lock
from bench.measure.speed.pin import pinned

MAX_REJECTED_SHARE = 0.95
MAX_RELATIVE_MAD = 0.05
_MIN_USABLE = 3
_KEPT_REJECTED = 21
_WARMING_CALLS = 6
_WARMING_US = 2000.0
"""Before each sample: so many calls, as far as they fit into this time. After other candidates had the caches, a
product of 12.6 MB took 430, 213, 143, 137 us and then that: a victim L3 (Zen 5) is filled by several passes, and with a
single one dense kernels seemed 2.5 times as slow."""


@dataclass(frozen=True)
class Candidate:
    """Something to time: `run(n)` does it n times and returns nanoseconds, its timer as close to the work as can be."""

    name: str
    run: Callable[[int], float]


@dataclass(frozen=True)
class GateRules:
    """How much is measured; the defaults are the documented ones."""

    minimum: int = 15
    maximum: int = 21
    sample_us: float = 350.0
    patience_s: float = 60.0
    """End after this many seconds, whatever was accepted by then, ..."""
    patience_rounds: float = 4.0
    """... unless that is less than this many times what the fewest samples take, judged by the first round of all
    candidates: hundreds of slow ones need minutes on a quiet core too."""


@dataclass
class Timing:
    """One candidate's result; times are microseconds per call."""

    name: str
    calls_per_sample: int
    us: float = 0.0
    samples_us: list[float] = field(default_factory=list)
    rejected_us: list[float] = field(default_factory=list)
    """The latest rejected samples, at most 21."""
    rejected: int = 0
    relative_mad: float = 0.0
    verdict: str = "unstable"
    why: str = ""


@dataclass
class GatedRun:
    """Result of one gated run over all candidates."""

    timings: dict[str, Timing]
    nominal_ghz: float
    rejected: int
    accepted: int
    verdict: str
    why: str
    cpu: str
    core: int | None
    seconds: float

    def us(self, name: str) -> float:
        """Microseconds per call of one candidate."""
        return self.timings[name].us


@dataclass(frozen=True)
class _Sample:
    us: float
    slowest_ghz: float
    preempted: bool

    def counts(self, clock: Clock) -> bool:
        """Whether it is accepted at the nominal speed known now."""
        return not self.preempted and clock.is_nominal(self.slowest_ghz)


def _preemptions() -> int:
    """Times that this thread lost its core to another since it started."""
    return resource.getrusage(getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)).ru_nivcsw


def measure(
    candidates: Sequence[Candidate],
    *,
    rules: GateRules | None = None,
    seed: int = 0,
    clock: Clock | None = None,
    core: int | None = None,
    now: Callable[[], float] = time.monotonic,
) -> GatedRun:
    """Time the candidates against each other, pinned, under the host's timing lock.

    Parameters
    ----------
    candidates
        With distinct names.
    seed
        Of the random order.
    clock
        Default: the engine's chain, nominal speeds kept in the cache directory.
    core
        Core to pin to; default LANEWISE_CORE, else the quietest one.

    Returns
    -------
    GatedRun
        Never raises for an unquiet host: the verdict says so.
    """
    if len({c.name for c in candidates}) != len(candidates):
        raise ValueError("candidates need distinct names")
    with timing_lock(), pinned(core) as used_core:
        started = now()
        clock = clock or Clock(path=store_path())
        was_collecting = gc.isenabled()
        gc.disable()
        try:
            samples, calls, gave_up = _collect(candidates, rules or GateRules(), random.Random(seed), clock, now)
        finally:
            if was_collecting:
                gc.enable()
        clock.save()
        return _judge(samples, calls, rules or GateRules(), clock, gave_up, used_core, now() - started)


def _collect(
    candidates: Sequence[Candidate],
    rules: GateRules,
    order: random.Random,
    clock: Clock,
    now: Callable[[], float],
) -> tuple[dict[str, list[_Sample]], dict[str, int], str]:
    """Take samples in random turns until all have enough; return them, the calls per sample, why it gave up."""
    plans = {c.name: _calls_per_sample(c, rules.sample_us) for c in candidates}
    calls = {name: plan[0] for name, plan in plans.items()}
    samples: dict[str, list[_Sample]] = {c.name: [] for c in candidates}
    accepted = dict.fromkeys(samples, 0)
    nominal = clock.nominal_ghz
    started = now()
    rounds = 0
    patience_s = rules.patience_s
    while min(accepted.values(), default=rules.minimum) < rules.minimum:
        turn = [c for c in candidates if accepted[c.name] < rules.maximum]
        for candidate in order.sample(turn, len(turn)):
            candidate.run(plans[candidate.name][1])
            preemptions = _preemptions()
            before = clock.read_ghz()
            ns = candidate.run(calls[candidate.name])
            slowest = min(before, clock.read_ghz())
            sample = _Sample(ns / calls[candidate.name] / 1e3, slowest, _preemptions() > preemptions)
            samples[candidate.name].append(sample)
            if sample.counts(clock):
                accepted[candidate.name] += 1
        rounds += 1
        if rounds == 1:
            patience_s = max(patience_s, rules.patience_rounds * rules.minimum * (now() - started))
        if clock.nominal_ghz > nominal:  # a faster state appeared: what passed before is judged again
            nominal = clock.nominal_ghz
            accepted = {name: sum(s.counts(clock) for s in taken) for name, taken in samples.items()}
        if rounds >= _MIN_USABLE and now() - started > patience_s:
            few = min(accepted.values())
            gave_up = f"{few} of {rules.minimum} samples accepted after {patience_s:.0f} s"
            return samples, calls, f"{gave_up} (core at {slowest:.2f} GHz, nominal is {nominal:.2f})"
    return samples, calls, ""


def _calls_per_sample(candidate: Candidate, sample_us: float) -> tuple[int, int]:
    """Calls that fill one sample, and those that warm the caches before it, from the fastest of three tries."""
    calls = 1
    while True:
        fastest_us = max(min(candidate.run(calls) for _ in range(3)) / 1e3, 1e-3)
        if fastest_us >= sample_us / 4 or calls >= 1 << 20:
            measured = max(1, round(calls * sample_us / fastest_us))
            fitting = math.ceil(_WARMING_US * calls / fastest_us)
            return measured, max(measured // 8, min(_WARMING_CALLS, fitting))
        calls *= 4


def _judge(
    samples: dict[str, list[_Sample]],
    calls: dict[str, int],
    rules: GateRules,
    clock: Clock,
    gave_up: str,
    core: int | None,
    seconds: float,
) -> GatedRun:
    """Turn samples into medians and verdicts at the final nominal speed."""
    timings: dict[str, Timing] = {}
    for name, taken in samples.items():
        timing = Timing(name, calls[name])
        timing.samples_us = [s.us for s in taken if s.counts(clock)]
        rejected = [s.us for s in taken if not s.counts(clock)]
        timing.rejected, timing.rejected_us = len(rejected), rejected[-_KEPT_REJECTED:]
        timings[name] = timing
    total = sum(len(taken) for taken in samples.values())
    rejected_total = sum(t.rejected for t in timings.values())
    share = rejected_total / max(total, 1)
    # Medians of different clock states must not meet in one ratio, so either all use accepted samples or none does.
    gated = all(len(t.samples_us) >= _MIN_USABLE for t in timings.values())
    for name, timing in timings.items():
        used = timing.samples_us if gated else [s.us for s in samples[name]]
        timing.us = statistics.median(used)
        timing.relative_mad = statistics.median(abs(x - timing.us) for x in used) / timing.us if timing.us else 0.0
        timing.why = _objection(timing, rules, share, gave_up)
        timing.verdict = "unstable" if timing.why else "stable"
    doubtful = [t for t in timings.values() if t.why]
    return GatedRun(
        timings=timings,
        nominal_ghz=clock.nominal_ghz,
        rejected=rejected_total,
        accepted=total - rejected_total,
        verdict="unstable" if doubtful else "stable",
        why=f"{doubtful[0].why} ({len(doubtful)} of {len(timings)} figures)" if doubtful else "",
        cpu=host.cpu_name(),
        core=core,
        seconds=seconds,
    )


def _objection(timing: Timing, rules: GateRules, rejected_share: float, gave_up: str) -> str:
    """Why a timing is not stable; empty if it is."""
    if len(timing.samples_us) < rules.minimum:
        return gave_up
    if rejected_share > MAX_REJECTED_SHARE:
        return f"{rejected_share:.0%} of the samples were rejected"
    if timing.relative_mad > MAX_RELATIVE_MAD:
        return f"samples spread by {timing.relative_mad:.0%} (relative MAD)"
    return ""
