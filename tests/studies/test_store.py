"""The trials' database: claims, outcomes, and what becomes of trials whose process died."""

import dataclasses
import json
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from optuna.trial import TrialState

from bench.errors import LanewiseError, UsageError
from studies.database import check_url
from studies.owner import Owner
from studies.store import MAX_DEATHS, Claim, Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(f"sqlite:///{tmp_path / 'optuna.db'}", "tiny", ["minimize", "minimize"])


def optuna_states(store: Store) -> list[TrialState]:
    return [trial.state for trial in store.study.get_trials()]


def dead(me: Owner) -> Owner:
    """Return an identity of this host whose process has ended."""
    child = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    return dataclasses.replace(me, pid=int(child.stdout))


def test_me_is_alive_others_are_not_or_unknown() -> None:
    me = Owner.me()
    assert me.alive() is True
    assert dead(me).alive() is False
    assert dataclasses.replace(me, started="1").alive() is False, "a reused pid is another process"
    assert dataclasses.replace(me, place="elsewhere").alive() is None
    assert Owner.from_json(me.to_json()) == me


def test_a_zombie_is_dead() -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", "import json; from studies.owner import Owner; print(json.dumps(Owner.me().to_json()))"],
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    owner = Owner.from_json(json.loads(child.stdout.readline()))
    child.stdout.read()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert owner.alive() is False
    child.wait()


def test_numbers_follow_the_plan_and_enqueueing_again_adds_nothing(store: Store) -> None:
    plan = [{"arm": name} for name in "abc"]
    assert store.enqueue(plan[:2]) == 2
    assert store.enqueue(plan) == 1
    assert store.enqueue(plan) == 0
    assert [(row.number, row.arm, row.state) for row in store.rows()] == [
        (0, "a", "waiting"),
        (1, "b", "waiting"),
        (2, "c", "waiting"),
    ]


def test_outcomes_stay_four_different_things(store: Store) -> None:
    me = Owner.me()
    outcomes = ["complete", "stopped_early", "failed", "skipped", "infeasible"]
    store.enqueue([{"arm": name} for name in outcomes])
    for outcome in outcomes:
        trial = store.claim(me)
        assert trial is not None
        values = (1.0, 2.0) if outcome == "complete" else None
        assert store.finish(trial, me, outcome, values, reason=None if outcome == "complete" else "why")
    assert store.claim(me) is None
    assert [row.state for row in store.rows()] == outcomes
    assert [row.values for row in store.rows()] == [(1.0, 2.0), None, None, None, None]
    fail = TrialState.FAIL
    assert optuna_states(store) == [TrialState.COMPLETE, TrialState.PRUNED, fail, fail, fail]


def test_an_interrupted_trial_waits_and_keeps_its_number(store: Store) -> None:
    me = Owner.me()
    store.enqueue([{"arm": "a"}, {"arm": "b"}])
    trial = store.claim(me)
    assert trial is not None
    store.release(trial, me, "interrupted")
    assert store.rows()[0].state == "interrupted"
    assert store.rows()[0].reason == "interrupted"
    again = store.claim(me)
    assert again is not None
    assert again.number == trial.number == 0
    assert store.rows()[0].state == "running"


def test_reap_takes_back_from_the_dead_only(store: Store) -> None:
    me = Owner.me()
    store.enqueue([{"arm": "a"}, {"arm": "b"}, {"arm": "c"}])
    store.claim(dead(me))
    store.claim(me)
    elsewhere = store.claim(dataclasses.replace(me, place="elsewhere"))
    assert store.reap() == [0]
    assert [row.state for row in store.rows()] == ["interrupted", "running", "running"]
    assert elsewhere is not None
    assert store.unsure()
    _shift_heartbeat(store, elsewhere, -3600)
    assert store.reap() == [], "a clock that jumps kills nobody: the stamp changed, so the worker lives"
    assert not store.unsure()
    watching = Store(store.url, "tiny", grace_s=0.2)
    assert watching.reap() == [], "first seen now"
    time.sleep(0.3)
    assert watching.reap() == [2]


def test_a_heartbeat_lets_others_know(store: Store) -> None:
    store.enqueue([{"arm": "a"}])
    working = Store(store.url, "tiny", heartbeat_s=0.1)
    claim = working.claim(me := dataclasses.replace(Owner.me(), place="elsewhere"))
    assert claim is not None
    watching = Store(store.url, "tiny", grace_s=3.0)
    assert watching.unsure()
    with working.heartbeat(claim, lambda: 7):
        deadline = time.monotonic() + 20  # SQLite's stamps are whole seconds
        while watching.unsure():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert watching.reap() == []
    assert store.rows()[0].step == 7
    assert working.finish(claim, me, "complete", (1.0, 2.0))


def test_deaths_of_a_trial_that_gets_on_are_forgiven(store: Store) -> None:
    ghost = dead(Owner.me())
    store.enqueue([{"arm": "a"}])
    for step in range(2 * MAX_DEATHS):
        claim = store.claim(ghost)
        assert claim is not None
        store.note(claim, step=step + 1)
        assert store.reap() == [0]


def test_a_lost_answer_repeats_nothing(store: Store) -> None:
    me = Owner.me()
    store.enqueue([{"arm": "a"}, {"arm": "b"}])
    first = store.claim(me)
    assert first is not None
    assert store.claim(me) == first, "a worker runs one trial: it asks again because it never heard"
    assert store.finish(first, me, "complete", (1.0, 2.0))
    assert store.finish(first, me, "complete", (1.0, 2.0))
    assert [row.state for row in store.rows()] == ["complete", "waiting"]


def test_the_same_settings_wait_for_the_earlier_trial(store: Store) -> None:
    me, other = Owner.me(), dead(Owner.me())
    store.enqueue([{"arm": "a", "config_hash": "x"}, {"arm": "b", "config_hash": "x"}, {"arm": "c"}])
    claims = [store.claim(me), store.claim(other), store.claim(dataclasses.replace(other, place="elsewhere"))]
    assert [claim.number if claim else None for claim in claims] == [0, 2, None]
    assert claims[0] is not None
    store.finish(claims[0], me, "complete", (1.0, 2.0))
    again = store.claim(me)
    assert again is not None
    assert again.number == 1


def test_rows_of_some_settings(store: Store) -> None:
    store.enqueue(
        [{"arm": "a", "config_hash": "x"}, {"arm": "b", "config_hash": "y"}, {"arm": "c", "config_hash": "x"}]
    )
    assert store.rows("x") == [row for row in store.rows() if row.config_hash == "x"]
    assert [row.number for row in store.rows("x")] == [0, 2]
    assert store.rows("z") == []


def test_timing_is_left_to_the_quiet_host(store: Store) -> None:
    me = Owner.me()
    store.enqueue([{"arm": "a"}, {"arm": "b"}])
    assert store.claim(me, timing=True) is None
    first = store.claim(me, timing=False)
    assert first is not None
    store.release(first, me, "trained", state="untimed", needs="timing")
    second = store.claim(me, timing=False)
    assert second is not None
    assert second.number == 1
    quiet = dead(me)
    assert store.claim(quiet, timing=True) == first
    assert store.rows()[0].state == "running"
    assert store.left() == 2


def test_the_quiet_host_ends_trials_that_take_over_a_result(store: Store) -> None:
    me, quiet = Owner.me(), dead(Owner.me())
    store.enqueue([{"arm": "a", "config_hash": "x"}, {"arm": "b", "config_hash": "x"}, {"arm": "c"}])
    first = store.claim(me, timing=False)
    assert first is not None
    store.release(first, me, "trained", state="untimed", needs="timing")
    assert store.claim(quiet, timing=True) == first
    assert store.claim(dataclasses.replace(quiet, pid=1), timing=True) is None, "its twin is being timed"
    store.finish(first, quiet, "complete", (1.0, 2.0))
    twin = store.claim(quiet, timing=True)
    assert twin is not None
    assert twin.number == 1
    store.finish(twin, quiet, "complete", (1.0, 2.0), duplicate_of=0)
    assert store.claim(quiet, timing=True) is None, "the third is to be trained elsewhere"


def test_a_broken_constraint_is_an_outcome_of_its_own(store: Store) -> None:
    me = Owner.me()
    store.enqueue([{"arm": "a"}])
    claim = store.claim(me)
    assert claim is not None
    assert store.finish(claim, me, "infeasible", (1.0, 2.0), constraints={"speed.rtf": 0.5}, reason="too slow")
    assert (store.rows()[0].state, store.rows()[0].values) == ("infeasible", (1.0, 2.0))
    (trial,) = store.study.get_trials()
    assert trial.state == TrialState.COMPLETE
    assert trial.constraints == {"speed.rtf": 0.5}


def test_a_trial_that_keeps_killing_its_process_fails(store: Store) -> None:
    ghost = dead(Owner.me())
    store.enqueue([{"arm": "a"}])
    for _ in range(MAX_DEATHS - 1):
        assert store.claim(ghost) is not None
        assert store.reap() == [0]
    store.claim(ghost)
    assert store.reap(forgive=True) == [0], "a person who resumes starts the count anew"
    for _ in range(MAX_DEATHS - 1):
        store.claim(ghost)
        assert store.reap() == [0]
    store.claim(ghost)
    assert store.reap() == []
    assert (store.rows()[0].state, store.rows()[0].reason) == ("failed", f"its process died {MAX_DEATHS} times")


def test_a_worker_that_was_replaced_cannot_finish(store: Store) -> None:
    me = Owner.me()
    ghost = dead(me)
    store.enqueue([{"arm": "a"}])
    old = store.claim(ghost)
    assert old is not None
    store.reap()
    new = store.claim(me)
    assert new is not None
    assert not store.finish(old, ghost, "complete", (9.0, 9.0))
    assert store.finish(new, me, "complete", (1.0, 2.0))
    assert store.rows()[0].values == (1.0, 2.0)


def _claim_all(url: str, start: "multiprocessing.synchronize.Event", queue: "multiprocessing.Queue[int]") -> None:
    store = Store(url, "tiny")
    me = Owner.me()
    start.wait()
    while (trial := store.claim(me)) is not None:
        store.finish(trial, me, "complete", (0.0, 0.0))
        queue.put(trial.number)
    queue.put(-1)


def test_workers_never_claim_the_same_trial(store: Store) -> None:
    count, workers = 16, 3
    store.enqueue([{"arm": str(n)} for n in range(count)])
    context = multiprocessing.get_context("spawn")
    start, queue = context.Event(), context.Queue()
    processes = [context.Process(target=_claim_all, args=(store.url, start, queue)) for _ in range(workers)]
    for process in processes:
        process.start()
    start.set()
    taken: list[int] = []
    ends = 0
    while ends < workers:
        number = queue.get(timeout=60)
        ends += number < 0
        taken += [number] if number >= 0 else []
    for process in processes:
        process.join()
    assert sorted(taken) == list(range(count))


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(LanewiseError, match="holds no study 'none'"):
        Store(f"sqlite:///{tmp_path / 'optuna.db'}", "none")
    (tmp_path / "text.db").write_text("this is no database, and long enough to be seen as none\n" * 100)
    with pytest.raises(LanewiseError, match="cannot be opened"):
        Store(f"sqlite:///{tmp_path / 'text.db'}", "tiny", ["minimize"])
    with pytest.raises(UsageError, match="is not a database URL"):
        check_url("optuna.db")


def _shift_heartbeat(store: Store, claim: Claim, seconds: int) -> None:
    import sqlite3

    with sqlite3.connect(store.url.removeprefix("sqlite:///")) as database:
        database.execute(
            "UPDATE trial_heartbeats SET heartbeat = datetime(heartbeat, ?) WHERE trial_id = ?",
            (f"{seconds} seconds", claim.trial_id),
        )
