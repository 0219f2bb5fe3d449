"""The host lock between real processes."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from bench.measure.speed.lock import lock_path, pause_while_timing, timing_lock

HOLD = """
import sys
from bench.measure.speed.lock import timing_lock
with timing_lock():
    print("held", flush=True)
    sys.stdin.readline()
print("released", flush=True)
"""


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANEWISE_CACHE", str(tmp_path))
    monkeypatch.setattr("bench.measure.speed.lock._reader", None)


def holder() -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def release(process: subprocess.Popen[str], after_s: float) -> threading.Timer:
    def tell() -> None:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()

    timer = threading.Timer(after_s, tell)
    timer.start()
    return timer


def test_second_process_waits_and_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    process = holder()
    started = time.monotonic()
    release(process, 1.5)
    with timing_lock():
        assert time.monotonic() - started >= 1.5
    process.communicate(timeout=10)
    assert "waiting for another process" in capfd.readouterr().err


def test_training_pauses_while_another_process_times() -> None:
    assert pause_while_timing() == 0.0
    process = holder()
    release(process, 0.5)
    assert pause_while_timing() >= 0.3
    assert pause_while_timing() == 0.0
    process.communicate(timeout=10)


def test_killed_holder_leaves_nothing_behind() -> None:
    process = holder()
    process.kill()
    process.wait()
    with timing_lock():
        pass


def test_nested_in_one_thread_and_never_stops_itself() -> None:
    with timing_lock(), timing_lock():
        assert pause_while_timing() == 0.0
    assert pause_while_timing() == 0.0


def test_another_thread_of_the_same_process_pauses() -> None:
    waited: list[float] = []
    with timing_lock():
        trainer = threading.Thread(target=lambda: waited.append(pause_while_timing()))
        trainer.start()
        time.sleep(0.5)
        assert waited == []
    trainer.join(5)
    assert waited[0] >= 0.3


def test_forked_worker_checks_for_itself() -> None:
    pause_while_timing()
    child = os.fork()
    if child == 0:
        os._exit(0 if pause_while_timing() == 0.0 else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_lock_lives_in_the_cache_directory(tmp_path: Path) -> None:
    assert lock_path() == tmp_path / "timing.lock"
