"""The study's trials in Optuna's database: what runs next, who runs it, how it ended.

Every trial of a study exists from the start (state WAITING), so that its number, its seeds and its place in the table
never depend on who works when. A worker claims the lowest waiting number; a trial whose process died, or that was
interrupted, goes back to WAITING and is later continued under its own number. Results live in the trials' records;
here stand objective values and the outcome in Lanewise's words, because Optuna has too few states:

| outcome (`lanewise.state`) | Optuna state |
|---|---|
| complete | COMPLETE |
| infeasible | COMPLETE when it was measured (samplers learn from it), else FAIL |
| stopped_early | PRUNED |
| failed, skipped | FAIL |
| interrupted, untimed | WAITING |
"""

import contextlib
import json
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import optuna
from optuna.storages._rdb import models
from optuna.trial import TrialState
from sqlalchemy import func, insert, select

from bench.errors import LanewiseError
from bench.urls import redact
from studies.database import GRACE_S, HEARTBEAT_S, Database, database_errors
from studies.owner import Owner
from studies.rows import PREFIX, Row, read_rows
from studies.states import ENDED

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

T = TypeVar("T")
Direction = Literal["minimize", "maximize"]

MAX_DEATHS = 3
"""Deaths of a trial's process, without a training step between them, after which the trial has failed."""


TIMING = "timing"

_FINISHED = {
    "complete": TrialState.COMPLETE,
    "stopped_early": TrialState.PRUNED,
    "failed": TrialState.FAIL,
    "skipped": TrialState.FAIL,
    "infeasible": TrialState.FAIL,
}


@dataclass(frozen=True)
class Claim:
    """A trial that its worker may run."""

    number: int
    trial_id: int


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
    heartbeat_s
        How often a worker shows that it lives.
    grace_s
        How long a worker on another host may show nothing before it is believed dead.

    Raises
    ------
    LanewiseError
        The database cannot be opened or holds no such study.
    """

    def __init__(
        self,
        url: str,
        name: str,
        directions: Sequence[Direction] | None = None,
        heartbeat_s: float = HEARTBEAT_S,
        grace_s: float = GRACE_S,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.url, self._name, self._directions = url, name, directions
        self._heartbeat_s, self._grace_s = heartbeat_s, grace_s
        self._beats: dict[int, tuple[Any, float, bool]] = {}
        with database_errors(url):
            self._database = Database(url)
            self.study = self._database.patient(self._open_study)

    def _open_study(self) -> optuna.Study:
        storage = self._database.storage
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            try:
                return optuna.load_study(study_name=self._name, storage=storage)
            except KeyError:
                if self._directions is None:
                    raise LanewiseError(
                        f"{redact(self.url)}: holds no study {self._name!r}; start it with `lanewise sweep run`"
                    ) from None
                return optuna.create_study(
                    study_name=self._name, storage=storage, directions=self._directions, load_if_exists=True
                )

    def attribute(self, key: str) -> Any:
        """Return a study-wide attribute, None if unset."""
        return self._database.patient(lambda: self.study.user_attrs.get(PREFIX + key))

    def set_attribute(self, key: str, value: Any) -> None:
        """Set a study-wide attribute (any JSON value)."""
        self._database.patient(lambda: self.study.set_user_attr(PREFIX + key, value))

    def enqueue(self, trials: Sequence[Mapping[str, Any]]) -> int:
        """Create the trials that do not exist yet, trial n with the attributes `trials[n]`; return how many."""

        def create(session: "Session") -> int:
            first = self._count(session)
            new = [
                models.TrialModel(study_id=self.study._study_id, number=number, state=TrialState.WAITING)
                for number in range(first, len(trials))
            ]
            session.add_all(new)
            session.flush()
            attributes = [
                {"trial_id": trial.trial_id, "key": PREFIX + key, "value_json": json.dumps(value)}
                for trial, values in zip(new, trials[first:], strict=True)
                for key, value in values.items()
            ]
            if attributes:
                session.execute(insert(models.TrialUserAttributeModel), attributes)
            return len(new)

        return self._do(create)

    def claim(self, me: Owner, timing: bool | None = None) -> Claim | None:
        """Take the waiting trial of the lowest number; None when nothing waits that may run now.

        A trial with the settings of an earlier one that has not ended yet may not: it will take over its result.

        Parameters
        ----------
        me
            Who takes it.
        timing
            True for trials of which only the timing is left, or that will take over a complete one's result; False for
            all but those to be timed; None for both.
        """

        def take(session: "Session") -> Claim | None:
            rows = read_rows(session, self.study._study_id, states=(TrialState.WAITING, TrialState.RUNNING))
            for row in rows:
                if row.state == "running" and row.owner == me:  # taken, but the database's answer was lost
                    return Claim(row.number, row.trial_id)
            pending: set[str] = set()
            timed = self._complete(session) if timing and any(row.waits for row in rows) else set()
            for row in rows:
                mine = timing is None or timing == (row.needs == TIMING or row.config_hash in timed)
                if row.waits and mine and row.config_hash not in pending:
                    self._change(session, row.trial_id, TrialState.RUNNING, owner=me.to_json(), state="running")
                    self._set(session, row.trial_id, reason=None)
                    return Claim(row.number, row.trial_id)
                if row.config_hash:
                    pending.add(row.config_hash)
            return None

        claimed = self._do(take)
        if claimed is not None:
            self._database.patient(lambda: self._database.storage.record_heartbeat(claimed.trial_id))
        return claimed

    @contextlib.contextmanager
    def heartbeat(self, claim: Claim, step: Callable[[], int] = lambda: 0) -> Iterator[None]:
        """Show other hosts, every few seconds, that the trial's worker lives, and which training step it is at."""
        done = threading.Event()
        shown = 0

        def beat() -> None:
            nonlocal shown
            while not done.wait(self._heartbeat_s):
                with contextlib.suppress(Exception):  # a database that is away for a moment must not end the trial
                    self._database.storage.record_heartbeat(claim.trial_id)
                    if step() != shown:
                        shown = step()
                        self._database.storage.set_trial_user_attr(claim.trial_id, PREFIX + "step", shown)

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def note(self, claim: Claim, **attributes: Any) -> None:
        """Keep facts about a trial that is not finished."""
        self._do(lambda session: self._set(session, claim.trial_id, **attributes))

    def finish(
        self,
        claim: Claim,
        me: Owner,
        state: str,
        values: Sequence[float] | None,
        constraints: Mapping[str, float] | None = None,
        **attributes: Any,
    ) -> bool:
        """End a trial as `state`; False if it is no longer ours (its worker was believed dead and replaced).

        `values` are the objectives' of a complete trial, or of one that breaks a constraint; `constraints` are how
        far it breaks each (0 and below: it keeps it), which samplers learn from.
        """

        def end(session: "Session") -> bool:
            row = self._row(session, claim)
            if row.owner != me:
                return False
            if row.state in ENDED:  # ended by us, but the database's answer was lost
                return True
            self._set(session, claim.trial_id, state=state, **attributes)
            trial = session.get_one(models.TrialModel, claim.trial_id)
            measured = values is not None and state in ("complete", "infeasible")
            for name, excess in (constraints or {}).items():
                self._database.storage._set_trial_attr_without_commit(
                    session, models.TrialSystemAttributeModel, claim.trial_id, f"constraints:{name}", excess
                )
            for objective, value in enumerate(values or ()) if measured else ():
                self._database.storage._set_trial_value_without_commit(session, trial, objective, value)
            trial.state = TrialState.COMPLETE if measured else _FINISHED[state]
            trial.datetime_complete = datetime.now()
            return True

        return self._do(end)

    def release(self, claim: Claim, me: Owner, reason: str, state: str = "interrupted", **attributes: Any) -> None:
        """Put a trial back, to be continued under its number."""

        def put_back(session: "Session") -> None:
            row = self._row(session, claim)
            if row.state == "running" and row.owner == me:
                self._change(session, claim.trial_id, TrialState.WAITING, state=state, reason=reason, owner=None)
                self._set(session, claim.trial_id, **attributes)

        self._do(put_back)

    def reap(self, forgive: bool = False) -> list[int]:
        """Put trials of dead processes back; return their numbers.

        A process is dead when this host says so, or, if it ran elsewhere, when we saw no heartbeat of it for the
        grace period. (We watch the stamps change and compare them with no clock, so that a clock that jumps kills
        nobody.) A trial whose process died `MAX_DEATHS` times without getting on fails, unless `forgive`: then its
        deaths are forgotten.
        """

        def put_back(session: "Session") -> list[int]:
            reaped = []
            silent = self._silent(session)
            for row in read_rows(session, self.study._study_id, states=(TrialState.RUNNING,)):
                alive = row.owner.alive() if row.owner else False
                if alive or (alive is None and row.trial_id not in silent):
                    continue
                step = row.step or 0
                deaths = 0 if forgive else 1 + (row.deaths if step <= row.death_step else 0)
                self._set(session, row.trial_id, owner=None, deaths=deaths, death_step=step)
                if deaths >= MAX_DEATHS:
                    reason = f"its process died {deaths} times"
                    self._change(session, row.trial_id, TrialState.FAIL, state="failed", reason=reason)
                    continue
                reason = "its process died"
                self._change(session, row.trial_id, TrialState.WAITING, state="interrupted", reason=reason)
                reaped.append(row.number)
            return reaped

        return self._do(put_back)

    def unsure(self) -> bool:
        """Say whether a trial runs on another host of which we do not know yet whether it lives."""

        def ask(session: "Session") -> bool:
            self._silent(session)
            rows = read_rows(session, self.study._study_id, states=(TrialState.RUNNING,))
            elsewhere = [row for row in rows if row.owner and row.owner.alive() is None]
            return any(not self._beats.get(row.trial_id, (None, 0.0, False))[2] for row in elsewhere)

        return self._read(ask)

    def count(self) -> int:
        """Return the number of trials, in whatever state."""
        return self._read(self._count)

    def left(self) -> int:
        """Return the number of trials that have not ended."""
        return self._read(lambda session: self._count(session, (TrialState.WAITING, TrialState.RUNNING)))

    def start_over(self) -> None:
        """Forget every trial (records on disk are untouched), as long as none runs.

        Raises
        ------
        LanewiseError
            A trial is running.
        """
        self.check_idle()
        attributes = {key: value for key, value in self.study.user_attrs.items() if key != PREFIX + "revised"}
        storage, directions = self._database.storage, self.study.directions
        optuna.delete_study(study_name=self._name, storage=storage)
        self.study = optuna.create_study(study_name=self._name, storage=storage, directions=directions)
        for key, value in attributes.items():
            self.study.set_user_attr(key, value)

    def check_idle(self) -> None:
        """Raise unless no trial is running.

        Raises
        ------
        LanewiseError
            Some are.
        """
        running = [str(row.number) for row in self.rows() if row.state == "running"]
        if running:
            raise LanewiseError(f"trials {', '.join(running)} are running; stop them first (`lanewise sweep stop`)")

    def revise(self, number: int, values: Sequence[float]) -> None:
        """Replace the objective values of a complete trial, measured again, and of those that took its result over.

        Optuna lets nobody change a finished trial, and its samplers have learnt from what they were told; so the new
        values are kept beside it, and every row shows them.
        """
        same = [row.number for row in self.rows() if number in (row.number, row.duplicate_of)]
        revised: dict[str, list[float]] = self.attribute("revised") or {}
        self.set_attribute("revised", revised | {str(item): list(values) for item in same})

    def rows(self, config_hash: str | None = None) -> list[Row]:
        """Return every trial, by number; or those of some settings, which takes no longer the more there are."""
        revised: dict[str, list[float]] = self.attribute("revised") or {}
        rows = self._read(lambda session: read_rows(session, self.study._study_id, config_hash=config_hash))
        return [
            replace(row, values=tuple(revised[str(row.number)])) if str(row.number) in revised else row for row in rows
        ]

    def draw(self, action: Callable[[optuna.Study], T]) -> T:
        """Return what `action` draws from the study's sampler; it is repeated when a server breaks off."""
        return self._database.patient(lambda: action(self.study))

    def _read(self, action: "Callable[[Session], T]") -> T:
        return self._database.patient(lambda: self._database.read(action))

    def _count(self, session: "Session", states: Sequence[TrialState] = ()) -> int:
        trial = models.TrialModel
        counted = select(func.count()).select_from(trial).where(trial.study_id == self.study._study_id)
        if states:
            counted = counted.where(trial.state.in_(states))
        return int(session.execute(counted).scalar_one())

    def _complete(self, session: "Session") -> set[str]:
        """Return the settings, by their hash, of which there is a result."""
        rows = read_rows(session, self.study._study_id, states=(TrialState.COMPLETE,))
        return {row.config_hash for row in rows if row.config_hash}

    def _do(self, action: "Callable[[Session], T]") -> T:
        def once() -> T:
            with self._database.transaction(self.study._study_id) as session:
                return action(session)

        return self._database.patient(once)

    def _row(self, session: "Session", claim: Claim) -> Row:
        return read_rows(session, self.study._study_id, claim.trial_id)[0]

    def _set(self, session: "Session", trial_id: int, **attributes: Any) -> None:
        for key, value in attributes.items():
            self._database.storage._set_trial_attr_without_commit(
                session, models.TrialUserAttributeModel, trial_id, PREFIX + key, value
            )

    def _change(self, session: "Session", trial_id: int, into: TrialState, /, **attributes: Any) -> None:
        self._set(session, trial_id, **attributes)
        trial = session.get_one(models.TrialModel, trial_id)
        trial.state = into
        if into == TrialState.RUNNING:
            trial.datetime_start = datetime.now()
        if into.is_finished():
            trial.datetime_complete = datetime.now()

    def _silent(self, session: "Session") -> set[int]:
        """Return the running trials whose heartbeat we have watched, unchanged, for the grace period."""
        trial, beat = models.TrialModel, models.TrialHeartbeatModel
        stamps = session.execute(
            select(trial.trial_id, beat.heartbeat)
            .outerjoin(beat, beat.trial_id == trial.trial_id)
            .where(trial.study_id == self.study._study_id, trial.state == TrialState.RUNNING)
        ).all()
        now = time.monotonic()
        seen: dict[int, tuple[Any, float, bool]] = {}
        for trial_id, stamp in stamps:
            before = self._beats.get(trial_id)
            seen[trial_id] = before if before and before[0] == stamp else (stamp, now, before is not None)
        self._beats = seen
        return {trial_id for trial_id, (_, since, _) in seen.items() if now - since >= self._grace_s}
