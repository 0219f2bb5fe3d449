"""The gate on a simulated core whose clock flips, against what the simulation knows to be true."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from bench import host
from bench.measure.speed.clock import Clock
from bench.measure.speed.gate import Candidate, GatedRun, GateRules, measure
from bench.measure.speed.pin import pinned

FAST, SLOW = 3.7, 2.1


class Core:
    """A core with its own time; `speed(seconds)` is its clock in GHz."""

    def __init__(self, speed: Callable[[float], float]) -> None:
        self.speed, self.seconds, self.calls = speed, 0.0, [""]

    def now(self) -> float:
        return self.seconds

    def cycles(self, count: float) -> float:
        ns = count / self.speed(self.seconds)
        self.seconds += ns * 1e-9
        return ns

    def work(self, name: str, us_at_fast: float) -> Candidate:
        def run(times: int) -> float:
            self.calls.append(name)
            return self.cycles(times * us_at_fast * 1e3 * FAST)

        return Candidate(name, run)

    def clock(self, path: Path | None = None) -> Clock:
        return Clock(chain=lambda n: self.cycles(n), path=path, now=self.now)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANEWISE_CACHE", str(tmp_path))


def run(core: Core, candidates: list[Candidate], rules: GateRules | None = None, path: Path | None = None) -> GatedRun:
    return measure(candidates, rules=rules, clock=core.clock(path), now=core.now)


def test_quiet_core_is_stable_and_exact() -> None:
    core = Core(lambda _: FAST)
    result = run(core, [core.work("a", 7.0), core.work("b", 21.0)])
    assert result.verdict == "stable"
    assert result.why == ""
    assert result.rejected == 0
    assert result.us("a") == pytest.approx(7.0)
    assert result.us("b") == pytest.approx(21.0)
    assert result.nominal_ghz == pytest.approx(FAST)
    for timing in result.timings.values():
        assert 15 <= len(timing.samples_us) <= 21
        assert 300 <= timing.calls_per_sample * timing.us <= 400


@pytest.mark.parametrize("slow_share", [0.2, 0.7])
def test_flipping_clock_changes_no_figure(slow_share: float) -> None:
    core = Core(lambda t: SLOW if (t / 0.013) % 1.0 < slow_share else FAST)
    result = run(core, [core.work("a", 7.0), core.work("b", 21.0)])
    assert result.verdict == "stable"
    assert result.rejected > 0
    assert result.us("a") == pytest.approx(7.0, rel=0.01)
    assert result.us("b") == pytest.approx(21.0, rel=0.01)
    assert all(len(t.rejected_us) <= min(t.rejected, 21) for t in result.timings.values())


@pytest.mark.parametrize(("rounds", "verdict"), [(4.0, "stable"), (0.0, "unstable")])
def test_work_that_takes_minutes_on_a_quiet_core_is_finished(rounds: float, verdict: str) -> None:
    core = Core(lambda _: FAST)
    candidates = [core.work(f"slow {i}", 10_000.0) for i in range(300)]
    assert run(core, candidates, GateRules(patience_rounds=rounds)).verdict == verdict
    assert core.seconds > 60


def test_core_that_never_reaches_its_recorded_speed_is_unstable_in_a_minute(tmp_path: Path) -> None:
    store = tmp_path / "clock.json"
    store.write_text(json.dumps({host.cpu_key(): FAST}))
    core = Core(lambda _: SLOW)
    result = run(core, [core.work("a", 7.0)], path=store)
    assert result.verdict == "unstable"
    assert "0 of 15 samples accepted after 60 s" in result.why
    assert 60 <= result.seconds < 62
    assert result.accepted == 0
    assert result.us("a") == pytest.approx(7.0 * FAST / SLOW), "the figure stands as measured, it is never scaled"
    assert result.nominal_ghz == FAST


def test_slow_trickle_of_accepted_samples_ends_in_time(tmp_path: Path) -> None:
    store = tmp_path / "clock.json"
    store.write_text(json.dumps({host.cpu_key(): FAST}))
    core = Core(lambda t: FAST if t % 4 < 0.0008 else SLOW)
    result = run(core, [core.work("a", 7.0), core.work("b", 9.0)], GateRules(patience_s=20), store)
    assert result.verdict == "unstable"
    assert "of 15 samples accepted after 20 s" in result.why
    assert 20 <= result.seconds < 21


def test_state_faster_than_all_before_rejudges_what_was_accepted() -> None:
    core = Core(lambda t: SLOW if t < 3.0 else FAST)
    result = run(core, [core.work(f"k{i}", 5.0 + i) for i in range(450)])
    assert result.nominal_ghz == pytest.approx(FAST)
    assert result.verdict == "stable"
    assert result.rejected > 0
    assert result.us("k3") == pytest.approx(8.0)


def test_wild_samples_are_called_unstable() -> None:
    core = Core(lambda _: FAST)
    factor = random.Random(5)

    def wild(times: int) -> float:
        return core.cycles(times * 7e3 * FAST * factor.uniform(1.0, 1.6))

    result = run(core, [Candidate("wild", wild), core.work("calm", 7.0)])
    assert result.verdict == "unstable"
    assert result.timings["wild"].verdict == "unstable"
    assert "spread" in result.timings["wild"].why
    assert result.timings["calm"].verdict == "stable"


def test_mostly_rejected_is_unstable() -> None:
    core = Core(lambda t: FAST if 0.5 < t % 1.0 < 0.52 or t < 2.0 else SLOW)
    result = run(core, [core.work("a", 7.0), core.work("b", 9.0)])
    assert result.verdict == "unstable"
    assert "rejected" in result.why
    assert result.us("a") == pytest.approx(7.0, rel=0.01)


def test_order_is_random_seeded_and_interleaved() -> None:
    def order(seed: int) -> list[str]:
        core = Core(lambda _: FAST)
        measure([core.work(n, 5.0) for n in "abcd"], seed=seed, clock=core.clock(), now=core.now)
        return core.calls

    assert order(1) == order(1)
    assert order(1) != order(2)
    rounds = order(1)[-8 * 15 :: 2]  # each turn is a warming call and a sample
    assert all(set(rounds[i : i + 4]) == set("abcd") for i in range(0, len(rounds), 4))


def test_nominal_speed_is_kept_between_processes_and_only_rises(tmp_path: Path) -> None:
    store = tmp_path / "clock.json"
    fast, slow = Core(lambda _: FAST), Core(lambda _: SLOW)
    run(fast, [fast.work("a", 7.0)], path=store)
    assert json.loads(store.read_text()) == {host.cpu_key(): pytest.approx(FAST)}
    slow.clock(store).save()
    assert slow.clock(store).nominal_ghz == pytest.approx(FAST)


@pytest.mark.parametrize("content", ["", "not json", "[1]", '{"x": "fast"}'])
def test_damaged_store_is_a_fresh_start(tmp_path: Path, content: str) -> None:
    store = tmp_path / "clock.json"
    store.write_text(content)
    core = Core(lambda _: FAST)
    clock = core.clock(store)
    clock.save()
    assert json.loads(store.read_text())[host.cpu_key()] == pytest.approx(FAST)


def test_pinning_restores_and_refuses_cores_one_cannot_use(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    from bench.errors import UsageError

    before = os.sched_getaffinity(0)
    with pinned() as core:
        assert os.sched_getaffinity(0) == {core}
    assert os.sched_getaffinity(0) == before
    monkeypatch.setenv("LANEWISE_CORE", "4096")
    with pytest.raises(UsageError, match="4096"), pinned():
        pass


def test_names_must_be_distinct() -> None:
    core = Core(lambda _: FAST)
    with pytest.raises(ValueError, match="distinct"):
        run(core, [core.work("a", 1.0), core.work("a", 2.0)])
