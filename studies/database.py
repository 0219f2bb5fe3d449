"""The database below a study: transactions that no other worker interleaves, and patience with a server that restarts.

Optuna's tables are used as they are. What Optuna offers no single call for (claim a trial *and* sign it, end it *and*
say how) is one transaction here, so that a process killed at any moment leaves either all of it or nothing.
"""

import contextlib
import fcntl
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import optuna
import sqlalchemy
import sqlalchemy.exc
from optuna.storages import RDBStorage
from optuna.storages._rdb import models

from bench.errors import LanewiseError, UsageError
from bench.progress import say
from bench.urls import redact
from studies.rehearsal import rehearsing

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

T = TypeVar("T")

HEARTBEAT_S = 10
GRACE_S = 120
OUTAGE_S = 300.0
"""How long a database server may be away before a worker gives up (its trial then waits, to be continued)."""

_POLL_S = 0.5
_FATAL = ("authentication", "does not exist", "no pg_hba.conf entry", "could not translate host name", "not resolve")
"""What a server says when waiting will not help."""


class Database:
    """Optuna's relational storage with exclusive transactions.

    Parameters
    ----------
    url
        SQLAlchemy URL, for instance `sqlite:///runs/demo/optuna.db` or `postgresql://user@host/optuna`.

    Attributes
    ----------
    storage
        Optuna's storage on the same engine.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._lock_path = _lock_path(url)
        self.storage = self.patient(self._open)

    def _open(self) -> RDBStorage:
        local = self._lock_path is not None
        with self._host_lock(), warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            storage = RDBStorage(
                self.url,
                engine_kwargs={"connect_args": {"timeout": 60}} if local else {"pool_pre_ping": True},
                heartbeat_interval=HEARTBEAT_S,
                grace_period=GRACE_S,
            )
        if local and rehearsing():  # a rehearsal survives every kill, but need not survive a power cut
            sqlalchemy.event.listen(storage.engine, "connect", lambda c, _: c.execute("PRAGMA synchronous=OFF"))
            storage.engine.dispose()
        return storage

    @contextlib.contextmanager
    def transaction(self, study_id: int) -> "Iterator[Session]":
        """Yield a session in which nobody else schedules trials of the study; it is committed whole, or not at all.

        A server locks the study's row. SQLite does not lock what is read, so there a file lock keeps this host's
        other workers out (a SQLite study is for one host).
        """
        with self._host_lock(), self.storage.scoped_session() as session:
            try:
                models.StudyModel.find_or_raise_by_id(study_id, session, for_update=True)
                yield session
                session.commit()
            except BaseException:
                session.rollback()
                raise
            finally:
                self.storage.scoped_session.remove()

    def read(self, action: "Callable[[Session], T]") -> T:
        """Return what `action` reads."""
        with self.storage.scoped_session() as session:
            try:
                return action(session)
            finally:
                session.rollback()
                self.storage.scoped_session.remove()

    def patient(self, action: Callable[[], T]) -> T:
        """Return what `action` returns, repeating it while the database server is away for up to `OUTAGE_S`.

        `action` must be safe to repeat: the server may have gone after it did, and before it said so.
        """
        began: float | None = None
        while True:
            try:
                result = action()
            except Exception as error:
                if self._lock_path is not None or not _server_away(error):
                    raise
                if began is None:
                    began = time.monotonic()
                    say(f"the database at {redact(self.url)} does not answer ({first_line(error)}); waiting for it")
                elif time.monotonic() - began > OUTAGE_S:
                    raise
                time.sleep(_POLL_S)
            else:
                if began is not None:
                    say("the database answers again")
                return result

    @contextlib.contextmanager
    def _host_lock(self) -> Iterator[None]:
        if self._lock_path is None:
            yield
            return
        self._lock_path.parent.mkdir(parents=True, exist_ok=True)
        with self._lock_path.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _lock_path(url: str) -> Path | None:
    prefix = "sqlite:///"
    return Path(url.removeprefix(prefix) + ".lock") if url.startswith(prefix) else None


def _server_away(error: BaseException) -> bool:
    """Say whether a database server was not there, or broke off (restarted, failed over, chose us as a deadlock's
    victim), so that trying again may help."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, sqlalchemy.exc.OperationalError | sqlalchemy.exc.InterfaceError):
            return not any(words in str(cause) for words in _FATAL)
        if isinstance(cause, sqlalchemy.exc.DBAPIError) and cause.connection_invalidated:
            return True
        cause = cause.__cause__
    return False


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
            f"{redact(url)}: the study's database cannot be opened or written ({first_line(cause)}); "
            "if its disk is full or read-only, mend that, then `lanewise sweep resume` goes on"
        ) from error


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, credentials masked."""
    lines = str(error).strip().splitlines()
    return redact(lines[0]) if lines else type(error).__name__


def check_url(url: str) -> None:
    """Refuse a storage URL that Optuna's relational storage cannot open, before anything is computed.

    Raises
    ------
    UsageError
        It is not of the form `dialect://...`, or no driver for its dialect is installed.
    """
    if "://" not in url:
        raise UsageError(f"{redact(url)}: is not a database URL; expected for example sqlite:///runs/demo/optuna.db")
    try:
        sqlalchemy.make_url(url).get_dialect().import_dbapi()
    except sqlalchemy.exc.ArgumentError as error:
        raise UsageError(f"{redact(url)}: is not a database URL ({first_line(error)})") from None
    except ImportError as error:
        raise UsageError(
            f"{redact(url)}: no driver is installed for it ({error}); "
            "for PostgreSQL: pip install 'lanewise[postgresql]'"
        ) from None
