"""The study's trials in Optuna's database: what runs next, who runs it, how it ended.

Every trial of a study exists from the start (state WAITING), so that its number, its seeds and its place in the table
never depend on who works when. A worker claims the lowest waiting number; a trial whose process died, or that was
interrupted, goes back to WAITING and is later continued under its own number. Results live in the trials' records;
here stand objective values and the outcome in Lanewise's words, because Optuna has too few states:

| outcome (`lanewise.state`) | Optuna state |
|---|---|
| complete | COMPLETE |
| stopped_early | PRUNED |
| failed, skipped, infeasible | FAIL |
| interrupted | WAITING |
"""

import contextlib
import fcntl
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from bench.errors import LanewiseError, UsageError
from studies.owner import Owner

Direction = Literal["minimize", "maximize"]

HEARTBEAT_S = 10
GRACE_S = 120
MAX_DEATHS = 3

_OPTUNA_STATE = {
    "complete": TrialState.COMPLETE,
    "stopped_early": TrialState.PRUNED,
    "failed": TrialState.FAIL,
    "skipped": TrialState.FAIL,
    "infeasible": TrialState.FAIL,
}


@dataclass(frozen=True)
class Row:
    """One trial as the database knows it. `state` is an outcome above, or `waiting`, `running`; `point` is what a
    sampler drew."""

    number: int
    arm: str
    state: str
    values: tuple[float, ...] | None
    reason: str | None
    seconds: float | None
    duplicate_of: int | None
    config_hash: str | None
    provenance: Mapping[str, str] | None
    point: Mapping[str, Any]
    owner: Owner | None


class Store:
    """The trials of one study.

    Parameters
    ----------
    url
        SQLAlchemy URL of the Optuna database, for instance `sqlite:///runs/demo/optuna.db`.
    name
        The study's name in it.
    directions
        `minimize` or `maximize` for each objective; None to open a study that must exist.

    Raises
    ------
    LanewiseError
        The database cannot be opened or holds no such study.
    """

    def __init__(self, url: str, name: str, directions: Sequence[Direction] | None = None) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.url = url
        self._lock_path = _lock_path(url)
        try:
            with database_errors(url), self.locked(), warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                self._storage = RDBStorage(
                    url,
                    engine_kwargs={"connect_args": {"timeout": 60}}
                    if url.startswith("sqlite")
                    else {"pool_pre_ping": True},
                    heartbeat_interval=HEARTBEAT_S,
                    grace_period=GRACE_S,
                )
                if directions is None:
                    self.study = optuna.load_study(study_name=name, storage=self._storage)
                else:
                    self.study = optuna.create_study(
                        study_name=name, storage=self._storage, directions=directions, load_if_exists=True
                    )
        except KeyError as error:
            raise LanewiseError(f"{url}: holds no study {name!r}; start it with `lanewise sweep run`") from error

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Exclude this host's other workers: SQLite, unlike other databases, does not lock the rows that are read."""
        if self._lock_path is None:
            yield
            return
        self._lock_path.parent.mkdir(parents=True, exist_ok=True)
        with self._lock_path.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def attribute(self, key: str) -> Any:
        """Return a study-wide attribute, None if unset."""
        return self.study.user_attrs.get(f"lanewise.{key}")

    def set_attribute(self, key: str, value: Any) -> None:
        """Set a study-wide attribute (any JSON value)."""
        self.study.set_user_attr(f"lanewise.{key}", value)

    def enqueue(self, trials: Sequence[Mapping[str, Any]]) -> int:
        """Create the trials that do not exist yet, trial n with the attributes `trials[n]`; return how many."""
        with self.locked():
            first = len(self._trials())
            for attributes in trials[first:]:
                waiting = optuna.trial.create_trial(
                    state=TrialState.WAITING, user_attrs={f"lanewise.{key}": value for key, value in attributes.items()}
                )
                self.study.add_trial(waiting)
            return max(len(trials) - first, 0)

    def claim(self, me: Owner) -> FrozenTrial | None:
        """Take the waiting trial of the lowest number; None when nothing waits."""
        with self.locked():
            for trial in self._trials((TrialState.WAITING,)):
                if self._storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING):
                    self._set(trial, owner=me.to_json(), state="running", reason=None)
                    self._storage.record_heartbeat(trial._trial_id)
                    return self._storage.get_trial(trial._trial_id)
        return None

    @contextlib.contextmanager
    def heartbeat(self, trial: FrozenTrial) -> Iterator[None]:
        """Show other hosts, every few seconds, that the trial's worker lives."""
        done = threading.Event()

        def beat() -> None:
            while not done.wait(HEARTBEAT_S):
                with contextlib.suppress(Exception):  # a database that is away for a moment must not end the trial
                    self._storage.record_heartbeat(trial._trial_id)

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def note(self, trial: FrozenTrial, **attributes: Any) -> None:
        """Keep facts about a trial that is not finished."""
        self._set(trial, **attributes)

    def finish(
        self, trial: FrozenTrial, me: Owner, state: str, values: Sequence[float] | None, **attributes: Any
    ) -> bool:
        """End a trial as `state`; False if it is no longer ours (its worker was believed dead and replaced)."""
        with self.locked():
            if not self._ours(trial, me):
                return False
            self._set(trial, state=state, **attributes)
            self.study.tell(trial.number, values if state == "complete" else None, _OPTUNA_STATE[state])
            return True

    def release(self, trial: FrozenTrial, me: Owner, reason: str) -> None:
        """Put an interrupted trial back, to be continued under its number."""
        with self.locked():
            if self._ours(trial, me):
                self._set(trial, state="interrupted", reason=reason, owner=None)
                self._storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)

    def reap(self, forgive: bool = False) -> list[int]:
        """Put trials of dead processes back; return their numbers.

        A process is dead when this host says so, or, if it ran elsewhere, when its heartbeat is stale. A trial whose
        process died `MAX_DEATHS` times fails, unless `forgive`: then its deaths are forgotten.
        """
        reaped = []
        with self.locked():
            stale = set(self._storage._get_stale_trial_ids(self.study._study_id))
            for trial in self._trials((TrialState.RUNNING,)):
                owner = _owner(trial)
                alive = owner.alive() if owner else None
                if alive or (alive is None and trial._trial_id not in stale and not self._abandoned(trial)):
                    continue
                deaths = 0 if forgive else int(trial.user_attrs.get("lanewise.deaths", 0)) + 1
                if deaths >= MAX_DEATHS:
                    self._set(trial, state="failed", reason=f"its process died {deaths} times", owner=None)
                    self.study.tell(trial.number, state=TrialState.FAIL)
                    continue
                self._set(trial, state="interrupted", reason="its process died", owner=None, deaths=deaths)
                self._storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)
                reaped.append(trial.number)
        return reaped

    def count(self) -> int:
        """Return the number of trials, in whatever state."""
        return len(self._trials())

    def start_over(self) -> None:
        """Forget every trial (records on disk are untouched), as long as none runs.

        Raises
        ------
        LanewiseError
            A trial is running.
        """
        with self.locked():
            running = [str(trial.number) for trial in self._trials((TrialState.RUNNING,))]
            if running:
                raise LanewiseError(f"trials {', '.join(running)} are running; stop them first (`lanewise sweep stop`)")
            attributes = {key: value for key, value in self.study.user_attrs.items() if key != "lanewise.revised"}
            name, directions = self.study.study_name, self.study.directions
            optuna.delete_study(study_name=name, storage=self._storage)
            self.study = optuna.create_study(study_name=name, storage=self._storage, directions=directions)
            for key, value in attributes.items():
                self.study.set_user_attr(key, value)

    def revise(self, number: int, values: Sequence[float]) -> None:
        """Replace the objective values of a complete trial, measured again, and of those that took its result over.

        Optuna lets nobody change a finished trial, and its samplers have learnt from what they were told; so the new
        values are kept beside it, and every row shows them.
        """
        with self.locked():
            same = [row.number for row in self.rows() if number in (row.number, row.duplicate_of)]
            revised: dict[str, list[float]] = self.attribute("revised") or {}
            self.set_attribute("revised", revised | {str(item): list(values) for item in same})

    def rows(self) -> list[Row]:
        """Return every trial, by number."""
        revised: dict[str, list[float]] = self.attribute("revised") or {}
        rows = [_row(trial) for trial in self._trials()]
        return [
            replace(row, values=tuple(revised[str(row.number)])) if str(row.number) in revised else row for row in rows
        ]

    def _trials(self, states: tuple[TrialState, ...] | None = None) -> list[FrozenTrial]:
        return sorted(self.study.get_trials(deepcopy=False, states=states), key=lambda trial: trial.number)

    def _set(self, trial: FrozenTrial, **attributes: Any) -> None:
        for key, value in attributes.items():
            self._storage.set_trial_user_attr(trial._trial_id, f"lanewise.{key}", value)

    def _abandoned(self, trial: FrozenTrial) -> bool:
        """Say whether a worker died before it could sign the trial that it claimed."""
        if _owner(trial) is not None:
            return False
        if self._lock_path is not None:  # claiming and signing are one step under the lock, which we hold
            return True
        started = trial.datetime_start
        return started is not None and (datetime.now() - started).total_seconds() > GRACE_S

    def _ours(self, trial: FrozenTrial, me: Owner) -> bool:
        now = self._storage.get_trial(trial._trial_id)
        return now.state == TrialState.RUNNING and _owner(now) == me


def _row(trial: FrozenTrial) -> Row:
    attributes = {key.removeprefix("lanewise."): value for key, value in trial.user_attrs.items()}
    state = attributes.get("state") or trial.state.name.lower()
    if trial.state == TrialState.RUNNING:
        state = "running"
    complete = trial.state == TrialState.COMPLETE
    return Row(
        number=trial.number,
        arm=attributes.get("arm") or "",
        state=state,
        values=tuple(trial.values) if complete and trial.values is not None else None,
        reason=attributes.get("reason"),
        seconds=attributes.get("seconds"),
        duplicate_of=attributes.get("duplicate_of"),
        config_hash=attributes.get("config_hash"),
        provenance=attributes.get("provenance"),
        point=trial.params,
        owner=_owner(trial),
    )


def _owner(trial: FrozenTrial) -> Owner | None:
    values = trial.user_attrs.get("lanewise.owner")
    return Owner.from_json(values) if values else None


def _lock_path(url: str) -> Path | None:
    prefix = "sqlite:///"
    return Path(url.removeprefix(prefix) + ".lock") if url.startswith(prefix) else None


@contextlib.contextmanager
def database_errors(url: str) -> Iterator[None]:
    """Turn what the database at `url` refuses into one clear error.

    Raises
    ------
    LanewiseError
        The database cannot be opened, read or written.
    """
    try:
        yield
    except Exception as error:
        internal = isinstance(error, optuna.exceptions.StorageInternalError)
        if not internal and not type(error).__module__.startswith("sqlalchemy"):
            raise
        cause = error.__cause__ if internal and error.__cause__ else error
        raise LanewiseError(
            f"{url}: the study's database cannot be opened or written ({_first_line(cause)}); "
            "if its disk is full or read-only, mend that, then `lanewise sweep resume` goes on"
        ) from error


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def check_url(url: str) -> None:
    """Refuse a storage URL that Optuna's relational storage cannot open, before anything is computed.

    Raises
    ------
    UsageError
        It is not of the form `dialect://...`.
    """
    if "://" not in url:
        raise UsageError(f"{url}: is not a database URL; expected for example sqlite:///runs/demo/optuna.db")
