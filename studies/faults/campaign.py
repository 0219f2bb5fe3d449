"""A fault campaign: studies are run undisturbed, then again under kills and other faults, and must come out equal."""

import collections
import contextlib
import json
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.errors import LanewiseError
from bench.progress import say
from bench.trial.record import FILE_NAME, Record
from studies import servers
from studies.faults.family import Family
from studies.folder import StudyFolder
from studies.processes import STORES, changed_environment
from studies.rehearsal import STEPS
from studies.run import Options, ended, open_store, run_study
from studies.servers import Postgres, Server
from studies.study_file import load

_STRIKES = 9
"""Most strikes at one study: what is left strikes the next one, which is of another kind."""

_STEP_S = "0.1"
_END_S = 300.0
"""How long a study may take to end once nobody disturbs it any more."""

_BASE = """\
name: {name}
base: {{model.init: dense, model.hidden: 64, train.steps: 20, train.dense_steps: 20, prune.kind: magnitude}}
"""
_ARMS = """\
arms:
{arms}
  again: {{prune.tile: 8x1, prune.sparsity: 0.7}}
seeds: {{recover: [1, 2]}}
baselines: true
"""
_SEARCH = """\
search: {{prune.sparsity: {{float: [0.5, 0.9]}}, prune.tile: {{choice: [4x1, 8x1, 16x1]}}}}
mode: {mode}
trials: 20
"""


@dataclass(frozen=True)
class Kind:
    """One kind of study.

    Attributes
    ----------
    text
        The study file after its base.
    workers
        On one study at a time. TPE draws from the results that are there when a trial begins: with one worker these
        are the same however often it is killed, with several they are what the clock makes of them.
    sampled
        Whether a sampler draws its trials.
    """

    text: str
    workers: int
    sampled: bool


def kinds() -> list[Kind]:
    """Return the kinds of study that a campaign goes through, one after the other."""
    grid = [(tile, sparsity) for tile in ("1x1", "8x1") for sparsity in (0.5, 0.7, 0.9)]
    arms = "\n".join(f"  t{t}-{s}: {{prune.tile: {t}, prune.sparsity: {s}}}" for t, s in grid)
    factorial = Kind(_ARMS.format(arms=arms), 2, False)
    tpe, random_search = (Kind(_SEARCH.format(mode=mode), n, True) for mode, n in (("tpe", 1), ("random", 3)))
    return [factorial, tpe, factorial, random_search]


@dataclass
class Outcome:
    """What a campaign did, and whether it was survived.

    Attributes
    ----------
    done
        How often each fault was struck; `kill worker` and `kill parent` are `kill -9`.
    rounds, trials
        Studies that were disturbed, and their trials in all.
    problems
        What came out otherwise than undisturbed; empty when all is well.
    """

    seed: int
    done: "collections.Counter[str]" = field(default_factory=collections.Counter)
    rounds: int = 0
    trials: int = 0
    restarts: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)

    @property
    def kills(self) -> int:
        """Number of `kill -9`."""
        return self.done["kill worker"] + self.done["kill parent"]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {**vars(self), "done": dict(self.done), "kills": self.kills, "seconds": round(self.seconds, 1)}


@dataclass
class _Ground:
    """What the studies stand on: a database server and an MLflow server, or files in their folders."""

    database: Postgres | None
    mlflow: Server | None
    process: "subprocess.Popen[bytes] | None" = None

    def storage(self, round_: int, root: Path) -> str:
        if self.database is None:
            return f"sqlite:///{root / 'optuna.db'}"
        self.database.add(f"optuna_{round_}")
        return self.database.url(f"optuna_{round_}")

    def restart_database(self, rng: random.Random) -> None:
        if self.database is not None:
            self.database.stop(rng.choice((signal.SIGINT, signal.SIGQUIT)))
            time.sleep(rng.uniform(0, 1))
            self.database.start()

    def toggle_mlflow(self) -> None:
        """Stop the MLflow server, or start it without waiting for it."""
        if self.mlflow is not None:
            if self.process is None:
                self.process = servers.start(self.mlflow)
            else:
                servers.end([self.process])
                self.process = None

    def mlflow_answers(self) -> None:
        if self.mlflow is not None:
            self.process = self.process or servers.start(self.mlflow)
            servers.wait(self.mlflow, self.process)


def run_campaign(folder: Path, seed: int, kills: int, postgresql: bool = True, tracked: bool = True) -> Outcome:
    """Disturb studies of light trials until `kills` processes were killed; compare each with an undisturbed one.

    Parameters
    ----------
    folder
        Where everything is kept (an unprivileged user must be able to reach it when PostgreSQL is used).
    seed
        Of what is struck and when.
    kills
        Number of `kill -9`; other faults come on top, each at least once.
    postgresql, tracked
        Whether the studies' database is PostgreSQL (else SQLite), and whether an MLflow server mirrors them.
    """
    rng, outcome, began = random.Random(seed), Outcome(seed), time.monotonic()
    strikes = _schedule(rng, kills, postgresql, tracked)
    with _ground(folder, postgresql, tracked) as ground:
        while strikes:
            now, strikes = strikes[-_STRIKES:], strikes[:-_STRIKES]
            kind = kinds()[outcome.rounds % len(kinds())]
            outcome.rounds += 1
            _round(folder / f"round-{outcome.rounds}", kind, now, ground, rng, outcome)
            strikes += now  # those that found nobody to strike
    outcome.seconds = time.monotonic() - began
    return outcome


def _schedule(rng: random.Random, kills: int, postgresql: bool, tracked: bool) -> list[str]:
    others = ["full disk", "read-only folder", "clock jump", "one more worker"]
    others += ["database restart"] * postgresql + ["MLflow stop", "MLflow start"] * tracked
    strikes = [rng.choice(("kill worker", "kill worker", "kill parent")) for _ in range(kills)]
    strikes += others * max(1, round(kills / 25))
    rng.shuffle(strikes)
    return strikes


@contextlib.contextmanager
def _ground(folder: Path, postgresql: bool, tracked: bool) -> Iterator[_Ground]:
    database = Postgres(folder / "postgresql") if postgresql else None
    with contextlib.ExitStack() as stack:
        if database is not None:
            stack.callback(database.stop)
            database.create("mlflow")
        mlflow = None
        if tracked:
            backend = database.url("mlflow") if database else f"sqlite:///{folder / 'mlflow.db'}"
            mlflow = servers.mlflow_server(folder, backend, servers.free_port())
        ground = _Ground(database, mlflow)
        stack.callback(lambda: servers.end([ground.process] if ground.process else []))
        ground.toggle_mlflow()
        yield ground


def _round(root: Path, kind: Kind, strikes: list[str], ground: _Ground, rng: random.Random, outcome: Outcome) -> None:
    """Run one study twice, undisturbed and under the strikes, and compare."""
    file = root.with_suffix(".yaml")
    file.write_text(_BASE.format(name=root.name) + kind.text, encoding="utf-8")
    with changed_environment({"LANEWISE_REHEARSAL": "1"}, STORES):
        expected = root.with_name(f"{root.name}-undisturbed")
        run_study(load(file), StudyFolder(expected), Options(tracking_uri="none"))
    storage = ground.storage(outcome.rounds, root)
    tracking = ground.mlflow.url if ground.mlflow else "none"
    environment = {"LANEWISE_REHEARSAL": "1", "LANEWISE_REHEARSAL_STEP_S": _STEP_S}
    environment |= {"LANEWISE_STORAGE": storage, "MLFLOW_TRACKING_URI": tracking}
    family = Family(root, environment)
    try:
        _disturb(family, file, kind, strikes, ground, rng, outcome, storage)
        _bring_to_its_end(family, file, kind, outcome)
        if ground.mlflow is not None:
            ground.mlflow_answers()
            if family.lanewise("tracking", "resync", str(root)).wait():
                outcome.problems.append(f"{root.name}: MLflow could not be rebuilt; see {root.with_suffix('.log')}")
    finally:
        family.end()
    with changed_environment({"LANEWISE_REHEARSAL": "1"}, STORES):
        found, wanted = table(root, storage), table(expected)
    outcome.trials += len(found)
    if found != wanted:
        different = [row["number"] for row, other in zip(found, wanted, strict=False) if row != other]
        outcome.problems.append(f"{root.name}: {len(found)} of {len(wanted)} trials; different: {different}")
    outcome.problems += [f"{root.name}: {problem}" for problem in _repeated(root)]
    if ground.mlflow is not None:
        outcome.problems += [f"{root.name}: {problem}" for problem in _mirror_problems(root, ground.mlflow.url)]
    say(f"{root.name}: {len(found)} trials, {outcome.kills} kills so far, {len(outcome.problems)} problems")


def _disturb(
    family: Family,
    file: Path,
    kind: Kind,
    strikes: list[str],
    ground: _Ground,
    rng: random.Random,
    outcome: Outcome,
    storage: str,
) -> None:
    """Strike until the study has ended in spite of it, or nothing is left to strike with."""
    while strikes:
        if not family.alive():
            if family.parent is not None and family.parent.returncode == 0:
                return
            _start(family, file, kind, outcome)
        time.sleep(rng.uniform(0.05, 1.5))
        strike = strikes.pop()
        if strike.startswith("kill"):
            if kind.workers == 1:
                strike = "kill parent"  # which is the one worker
            if not family.kill(strike.split()[1], rng):
                strikes.insert(0, strike)  # nobody there: later
                continue
        elif strike == "full disk":
            family.fill_disk()
        elif strike == "read-only folder":
            family.forbid_writing()
        elif strike == "clock jump":
            family.jump_clock(rng, storage)
        elif strike == "one more worker":
            if kind.workers == 1:
                strikes.insert(0, strike)  # not at this study
                continue
            family.join()
        elif strike == "database restart":
            ground.restart_database(rng)
        else:
            ground.toggle_mlflow()
        outcome.done[strike] += 1


def _start(family: Family, file: Path, kind: Kind, outcome: Outcome) -> None:
    """Do what a person would: start the study, or resume it."""
    outcome.restarts += family.parent is not None
    what = ["run", str(file), "--out", str(family.root)]
    if (family.root / "study.yaml").exists():
        what = ["resume", str(family.root)] + ["--retry-failed"] * (not kind.sampled)
    family.parent = family.lanewise("sweep", *what, "--workers", str(kind.workers))


def _bring_to_its_end(family: Family, file: Path, kind: Kind, outcome: Outcome) -> None:
    """Resume, undisturbed, until the study says that it is done."""
    deadline = time.monotonic() + _END_S
    while family.parent is None or family.parent.poll() != 0:
        if time.monotonic() > deadline:
            outcome.problems.append(f"{family.root.name}: does not end; see {family.root.with_suffix('.log')}")
            return
        if not family.alive():
            _start(family, file, kind, outcome)
        time.sleep(0.2)
    for process in family.joined:
        process.wait(_END_S)


def table(root: Path, storage: str | None = None) -> list[dict[str, Any]]:
    """Return everything about a study's trials that must not depend on what happened to it meanwhile."""
    folder = StudyFolder(root)
    rows = []
    for row in open_store(folder.load(), folder, storage).rows():
        known: dict[str, Any] = {
            "number": row.number, "arm": row.arm, "state": row.state, "values": row.values, "hash": row.config_hash,
            "duplicate_of": row.duplicate_of, "point": row.point, "ended": ended(row),
        }  # fmt: skip
        if row.duplicate_of is None:
            record = Record.read(folder.trial(row.number))
            kept = ("state", "reason", "params", "metrics", "reasons", "tags", "utterances", "curves")
            known |= {key: getattr(record, key) for key in kept}
            known["trial"] = {key: record.trial[key] for key in ("number", "name", "config_hash")}
        rows.append(json.loads(json.dumps(known)))
    return rows


def _repeated(root: Path) -> list[str]:
    """Return which trials had a step computed twice: two workers had them at once, or a checkpoint was lost."""
    problems = []
    for log in sorted(root.glob("trials/*/progress.log")):
        lines = log.read_text().splitlines()
        if len(set(lines)) != len(lines) or len(lines) > STEPS:
            problems.append(f"trial {log.parent.name} computed a step twice: {', '.join(lines)}")
    return problems


def _mirror_problems(root: Path, uri: str) -> list[str]:
    """Return which trials MLflow has not exactly once, as their record says."""
    from mlflow import MlflowClient

    from bench.trial import mirror
    from bench.trial.tracking import DIGEST_TAG

    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(root.name)
    if experiment is None:
        return ["MLflow has no experiment of it"]
    runs = client.search_runs([experiment.experiment_id], "tags.`lanewise.kind` = 'trial'", max_results=1000)
    found = sorted(run.data.tags.get(DIGEST_TAG, "") for run in runs)
    wanted = sorted(mirror.digest(path) for path in root.glob(f"trials/*/{FILE_NAME}"))
    return [] if found == wanted else [f"MLflow has {len(found)} trials of {len(wanted)}, or other results"]


def check(outcome: Outcome) -> None:
    """Raise unless the campaign was survived.

    Raises
    ------
    LanewiseError
        Something came out otherwise.
    """
    if outcome.problems:
        raise LanewiseError(f"seed {outcome.seed}: " + "; ".join(outcome.problems))
