"""Stage cache: whole entries only, failures never cached, one builder among many workers, kill -9 leaves nothing."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from bench.trial.cache import StageCache, stage_key

INPUTS = {"data": "abc", "seed": 1}


def _write(text: str, log: Path | None = None, pause_s: float = 0.0):  # type: ignore[no-untyped-def]
    def build(folder: Path, work: Path) -> None:
        (folder / "result.txt").write_text(text)
        time.sleep(pause_s)
        if log is not None:
            with log.open("a") as file:
                file.write(f"{os.getpid()}\n")

    return build


def _worker(root: Path, log: Path, pause_s: float) -> None:
    StageCache(root).fetch("dense", INPUTS, _write("x", log, pause_s))


def test_a_second_fetch_builds_nothing(tmp_path: Path) -> None:
    cache = StageCache(tmp_path)
    first = cache.fetch("dense", INPUTS, _write("one"))
    second = cache.fetch("dense", {"seed": 1, "data": "abc"}, _write("two"))
    assert first == second
    assert (second / "result.txt").read_text() == "one"
    assert cache.find("dense", INPUTS) == first
    assert cache.find("dense", {**INPUTS, "seed": 2}) is None


def test_keys_depend_on_every_input_and_on_nothing_else() -> None:
    keys = {stage_key("dense", INPUTS), stage_key("arm", INPUTS), stage_key("dense", {**INPUTS, "seed": 2})}
    assert len(keys) == 3
    assert stage_key("dense", {"b": 1, "a": 2}) == stage_key("dense", {"a": 2, "b": 1})


def test_a_failed_stage_is_not_cached_but_its_checkpoint_stays(tmp_path: Path) -> None:
    cache = StageCache(tmp_path)

    def fails(folder: Path, work: Path) -> None:
        (folder / "half.txt").write_text("half")
        (work / "checkpoint").write_text("step 50")
        raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        cache.fetch("dense", INPUTS, fails)
    assert cache.find("dense", INPUTS) is None

    def resumes(folder: Path, work: Path) -> None:
        (folder / "result.txt").write_text((work / "checkpoint").read_text())

    entry = cache.fetch("dense", INPUTS, resumes)
    assert (entry / "result.txt").read_text() == "step 50"
    assert not [path for path in entry.parent.iterdir() if path.name.endswith(".work")]


def test_workers_share_one_build(tmp_path: Path) -> None:
    log = tmp_path / "log"
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_worker, args=(tmp_path / "cache", log, 0.3)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert len(log.read_text().splitlines()) == 1


def test_a_killed_builder_leaves_no_entry_and_no_lock(tmp_path: Path) -> None:
    root, log = tmp_path / "cache", tmp_path / "log"
    worker = multiprocessing.get_context("fork").Process(target=_worker, args=(root, log, 60))
    worker.start()
    deadline = time.monotonic() + 10
    while not list(root.glob("dense/.*/result.txt")) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    cache = StageCache(root)
    assert cache.find("dense", INPUTS) is None
    cache.fetch("dense", INPUTS, _write("after", log))
    assert len(log.read_text().splitlines()) == 1


def test_a_claim_is_one_holder_s_and_its_entry_is_what_fetch_would_have_made(tmp_path: Path) -> None:
    cache = StageCache(tmp_path)
    with cache.claim("arm", INPUTS) as mine, cache.claim("arm", INPUTS) as other:
        assert mine is not None
        assert other is None
        (mine.work / "checkpoint").write_text("half")
    with cache.claim("arm", INPUTS) as mine:  # given up, and taken up again
        assert mine is not None
        assert (mine.work / "checkpoint").read_text() == "half"
        mine.fill(lambda folder: _write("claimed")(folder, mine.work))
    with cache.claim("arm", INPUTS) as again:
        assert again is None
    entry = cache.fetch("arm", INPUTS, _write("fetched"))
    assert (entry / "result.txt").read_text() == "claimed"
    other_way = StageCache(tmp_path / "other").fetch("arm", INPUTS, _write("claimed"))
    assert {path.name: path.read_text() for path in entry.iterdir()} == {
        path.name: path.read_text() for path in other_way.iterdir()
    }
    assert not list((tmp_path / "arm").glob(".*.work"))
