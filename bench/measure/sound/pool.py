"""Scores many pairs in worker processes, one core each.

Workers are spawned (no state of a parent that holds torch or MLflow), told to use one thread, and kept while the
pool is open: the libraries take seconds to load. A pair that kills its worker gets a reason, and a new worker goes on.
"""

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from bench.errors import LanewiseError
from bench.measure.sound.registry import chosen_keys
from bench.measure.sound.scoring import SAMPLE_RATE_HZ, Audio, Reasons, Scores, score_pair
from bench.progress import Progress

_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
_STARTED = "started"
_Context = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Pair:
    """One utterance to score: identity, reference and degraded audio (n,)."""

    id: str
    reference: Audio
    degraded: Audio


@dataclass(frozen=True)
class PairScores:
    """Scores of one utterance: number or None by key, and why where None."""

    id: str
    scores: Scores
    reasons: Reasons = field(default_factory=dict)


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    started: bool = False
    """Whether it has said that it is ready."""
    index: int | None = None
    """Which pair it is scoring."""


class SoundPool:
    """Worker processes that score pairs.

    Parameters
    ----------
    workers
        Number of processes; the smaller of 2 and the CPUs this process may use by default.

    Examples
    --------
    >>> with SoundPool() as pool:
    ...     for arm in arms:
    ...         rows = pool.score_many(pairs_of(arm))
    """

    def __init__(self, workers: int | None = None) -> None:
        self.workers = workers if workers is not None else min(2, _usable_cpus())
        if self.workers < 1:
            raise LanewiseError(f"a scoring pool needs at least one worker, got {workers}")
        self._pool: list[_Worker] = []

    def __enter__(self) -> "SoundPool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the worker processes."""
        for worker in self._pool:
            _end(worker)
        self._pool = []

    def score_many(
        self,
        pairs: Sequence[Pair],
        metrics: Sequence[str] | None = None,
        sample_rate_hz: int = SAMPLE_RATE_HZ,
        label: str = "scoring",
    ) -> list[PairScores]:
        """Score every pair; the result is in the order of `pairs` whatever worker is faster.

        A pair that cannot be scored at all (lengths that differ, a crash of a library) has None everywhere, with the
        reason.

        Raises
        ------
        UsageError
            A metric is unknown.
        """
        chosen_keys(metrics)  # an unknown name is an error here, not a reason on every row
        results: dict[int, PairScores] = {}
        waiting = list(range(len(pairs)))[::-1]
        self._pool = [worker if worker.process.is_alive() else _start() for worker in self._pool]
        while len(self._pool) < min(self.workers, len(pairs)):
            self._pool.append(_start())
        try:
            with Progress(label, len(pairs)) as progress:
                for worker in self._pool:
                    _give(worker, waiting, pairs, metrics, sample_rate_hz)
                while len(results) < len(pairs):
                    for place in self._ready():
                        worker = self._pool[place]
                        answer = _receive(worker, metrics)
                        if answer is None:
                            continue
                        assert worker.index is not None
                        pair = pairs[worker.index]
                        results[worker.index] = PairScores(pair.id, *answer)
                        progress.advance(note=pair.id)
                        if not worker.started:
                            worker = self._pool[place] = _start()
                        _give(worker, waiting, pairs, metrics, sample_rate_hz)
        except BaseException:
            # Workers may be in the middle of a clip whose answer nobody will read: start afresh next time.
            self.close()
            raise
        return [results[index] for index in range(len(pairs))]

    def _ready(self) -> list[int]:
        """Wait; return the places of workers that have answered or died."""
        pipes = {worker.pipe: place for place, worker in enumerate(self._pool) if worker.index is not None}
        return [pipes[pipe] for pipe in wait(list(pipes)) if isinstance(pipe, Connection)]


def score_many(
    pairs: Sequence[Pair],
    metrics: Sequence[str] | None = None,
    workers: int | None = None,
    sample_rate_hz: int = SAMPLE_RATE_HZ,
    label: str = "scoring",
) -> list[PairScores]:
    """Score pairs in a pool of their own (see `SoundPool.score_many`)."""
    with SoundPool(workers) as pool:
        return pool.score_many(pairs, metrics, sample_rate_hz, label)


def _receive(worker: _Worker, metrics: Sequence[str] | None) -> tuple[Scores, Reasons] | None:
    """Return a worker's answer, or None for its word that it has started; one that died is marked not started."""
    try:
        message = worker.pipe.recv()
    except (EOFError, ConnectionResetError):
        _end(worker)
        code = worker.process.exitcode
        if not worker.started:
            raise LanewiseError(
                f"a scoring process ended while starting (exit code {code}, its traceback is above); "
                "a script that scores must start its work under `if __name__ == '__main__':`"
            ) from None
        worker.started = False
        return _all_missing(metrics, f"the scoring process died on this clip (exit code {code})")
    if message == _STARTED:
        worker.started = True
        return None
    scores, reasons = message
    return scores, reasons


def _give(
    worker: _Worker, waiting: list[int], pairs: Sequence[Pair], metrics: Sequence[str] | None, sample_rate_hz: int
) -> None:
    worker.index = waiting.pop() if waiting else None
    if worker.index is not None:
        pair = pairs[worker.index]
        # A worker that has just died shows as end of file when its answer is read.
        with contextlib.suppress(BrokenPipeError):
            worker.pipe.send((pair.reference, pair.degraded, metrics, sample_rate_hz))


def _start() -> _Worker:
    ours, theirs = _Context.Pipe()
    with _one_thread():
        process = _Context.Process(target=_serve, args=(theirs,), daemon=True)
        process.start()
    theirs.close()
    return _Worker(process, ours)


def _end(worker: _Worker) -> None:
    worker.pipe.close()
    worker.process.terminate()
    worker.process.join()


def _usable_cpus() -> int:
    """CPUs that this process may use (its affinity mask, where the system has one)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Environment of a worker while it is spawned: native libraries read these when they load."""
    kept = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    try:
        yield
    finally:
        for name, value in kept.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _serve(pipe: Connection) -> None:
    """Body of a worker: score what arrives until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    with contextlib.suppress(EOFError, BrokenPipeError):  # the parent is gone: so is the work
        pipe.send(_STARTED)
        while True:
            reference, degraded, metrics, sample_rate_hz = pipe.recv()
            try:
                answer = score_pair(reference, degraded, metrics, sample_rate_hz)
            except LanewiseError as error:
                answer = _all_missing(metrics, str(error))
            pipe.send(answer)


def _all_missing(metrics: Sequence[str] | None, reason: str) -> tuple[Scores, Reasons]:
    keys = chosen_keys(metrics)
    return dict.fromkeys(keys), dict.fromkeys(keys, reason)
