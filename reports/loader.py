"""One loader: the records of a study, from a directory or from MLflow's artifacts, as tidy tables.

A trial that is unfinished, failed or unreadable never breaks a report: it is left out, counted and named.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

from bench.errors import LanewiseError
from bench.trial.record import SCHEMA
from reports.tasks import Task, task_of

BASELINE = "dense-continued"
RECORDING, NOISY = "recording", "noisy input"
BESIDE = {RECORDING: "audio_clean", NOISY: "audio_noisy"}
"""Audio that an enhancer's record keeps beside what was enhanced."""
FACTS_OF_A_CLIP = ("condition", "kind", "snr_db")
NOT_SCORES = {"id", "audio", "reasons", *FACTS_OF_A_CLIP}


@dataclass(frozen=True)
class LeftOut:
    """A trial that is in the study but not in the comparison, and why; `seed` is empty where it is not known."""

    trial: str
    arm: str
    state: str
    reason: str
    seed: str = ""


@dataclass(frozen=True)
class Study:
    """Everything that a report reads, as tidy tables.

    Attributes
    ----------
    trials : one row per finished trial: `arm`, `seed`, `number`, `folder`, then its params, metrics, tags
        and `artifacts.config` (the resolved configuration file in its folder), dotted
    utterances : `arm`, `seed`, `utterance`, `metric` (dotted key), `value` (NaN when missing), `reason`
    references : the same without `seed`; `arm` is the reference system's name
    clips : `utterance`, `condition`, `kind` (of noise) and `snr_db` of the test clips (empty where nothing is mixed)
    curves : `arm`, `seed`, `step`, then one column per curve
    timing : `arm`, `seed`, `engine` (model, dense, kernel, limit), `sample_us`
    parts : `arm`, `seed`, `part`, `us_per_step`
    audio : `arm`, `seed` (None for references), `utterance`, `path` (existing files only)
    snapshots : by arm (first seed), what its record says of its matrices over training: `steps`, `matrices`
    left_out : trials that did not finish, failed, could not be read or were repeated
    about : the study file as it ran, `study.yaml` of the study directory (empty without one)
    """

    name: str
    task: Task
    root: Path
    trials: pd.DataFrame
    utterances: pd.DataFrame
    references: pd.DataFrame
    clips: pd.DataFrame
    curves: pd.DataFrame
    timing: pd.DataFrame
    parts: pd.DataFrame
    audio: pd.DataFrame
    snapshots: dict[str, dict[str, Any]]
    left_out: tuple[LeftOut, ...]
    about: dict[str, Any]

    @property
    def arms(self) -> list[str]:
        """Names of the arms with at least one finished trial, in order of their first trial."""
        return list(dict.fromkeys(self.trials["arm"]))

    @cached_property
    def parts_of(self) -> dict[str, dict[str, float]]:
        """Mean microseconds a step of each timed part, by arm."""
        means = self.parts.dropna(subset="us_per_step").groupby(["arm", "part"])["us_per_step"].mean()
        found: dict[str, dict[str, float]] = {}
        for row in means.reset_index().to_dict("records"):
            found.setdefault(str(row["arm"]), {})[str(row["part"])] = float(row["us_per_step"])
        return found

    @cached_property
    def samples(self) -> dict[tuple[str, str, str], NDArray[np.float64]]:
        """Timing samples in microseconds, sorted, by arm, seeds and engine."""
        found: dict[tuple[str, str, str], list[float]] = {}
        keys = (self.timing[name].tolist() for name in ("arm", "seed", "engine", "sample_us"))
        for arm, seed, engine, us in zip(*keys, strict=True):
            found.setdefault((arm, seed, engine), []).append(us)
        return {key: np.sort(np.asarray(values, dtype=np.float64)) for key, values in found.items()}

    def cells(self, arm: str, key: str) -> list[Any]:
        """A column of `trials` for one arm's trials; None where there is no such column."""
        if key not in self._columns:
            found = self._columns[key] = {}
            column = self.trials[key].tolist() if key in self.trials else [None] * len(self.trials)
            for name, value in zip(self.trials["arm"].tolist(), column, strict=True):
                found.setdefault(name, []).append(value)
        return self._columns[key].get(arm, [])

    def values(self, arm: str, key: str) -> list[tuple[str, float]]:
        """A metric of each of an arm's trials, with the trial's seeds; NaN where it is missing."""
        numbers = (math.nan if value is None else float(value) for value in self.cells(arm, key))
        return list(zip(self.cells(arm, "seed"), numbers, strict=True))

    @cached_property
    def not_run(self) -> dict[str, list[str]]:
        """Arms that the study file names -> their seeds (as in `trials`) of which there is no record at all."""
        arms, seeds = self.about.get("arms"), self.about.get("seeds") or {}
        if not isinstance(arms, dict) or not isinstance(seeds, dict):
            return {}
        pairs = [f"{dense}/{recover}" for dense in seeds.get("dense") or [0] for recover in seeds.get("recover") or [0]]
        known = {(item.arm, item.seed) for item in self.left_out}
        known |= set(zip(self.trials["arm"], self.trials["seed"], strict=True))
        missing = {str(arm): [pair for pair in pairs if (str(arm), pair) not in known] for arm in arms}
        return {arm: without for arm, without in missing.items() if without}

    @cached_property
    def _columns(self) -> dict[str, dict[str, list[Any]]]:
        return {}

    @property
    def systems(self) -> list[str]:
        """Names of the reference systems: those with scores, then those with audio alone."""
        heard = self.audio.loc[self.audio["seed"].isna(), "arm"]
        return list(dict.fromkeys([*self.references["arm"], *heard]))

    def folder(self, arm: str) -> Path:
        """Folder of an arm's first finished trial."""
        return Path(self.cells(arm, "folder")[0])


def load_study(root: Path) -> Study:
    """Read `trials/*/record.json` and `references.json` below a study directory.

    Raises
    ------
    LanewiseError
        There is no such directory, it holds no records, or none of its trials finished.
    """
    folders = sorted(path.parent for path in root.glob("trials/*/record.json"))
    if not root.is_dir():
        raise LanewiseError(f"{root}: no such study directory; expected one made by `lanewise sweep run` or `demo`")
    if not folders:
        raise LanewiseError(f"{root}: no records (trials/*/record.json) yet; run the study first")
    return _load(root, folders)


def load_trial(folder: Path) -> Study:
    """Read one trial's folder as a study of one arm.

    Raises
    ------
    LanewiseError
        It has no record, or the trial did not finish.
    """
    return _load(folder.resolve().parent.parent, [folder])


def _load(root: Path, folders: list[Path]) -> Study:
    finished: list[tuple[Path, dict[str, Any]]] = []
    left_out: list[LeftOut] = []
    for folder in folders:
        record, trouble = _read_record(folder)
        if trouble is not None:
            left_out.append(trouble)
        elif record is not None:
            finished.append((folder, record))
    finished, repeated = _newest_of_each(finished)
    left_out += repeated
    if not finished:
        states = "; ".join(f"trial {item.trial} ({item.arm}) {item.state}: {item.reason}" for item in left_out[:5])
        raise LanewiseError(f"{root}: none of {len(folders)} trials finished, nothing to report. {states}")
    names = _arm_names([record for _, record in finished])
    tagged = [(name, _seed_of(record), folder, record) for name, (folder, record) in zip(names, finished, strict=True)]
    systems = _read_references(root)
    return Study(
        name=str(finished[0][1]["study"].get("name") or root.name),
        task=task_of(str(finished[0][1]["study"].get("task"))),
        root=root,
        trials=pd.DataFrame([_trial_row(*item) for item in tagged]),
        utterances=_frame(_score_rows(tagged), ["arm", "seed", "utterance", "metric", "value", "reason"]),
        references=_frame(_reference_rows(systems, tagged), ["arm", "utterance", "metric", "value", "reason"]),
        clips=_frame(_clip_rows(tagged), ["utterance", *FACTS_OF_A_CLIP]).drop_duplicates("utterance"),
        curves=_curves(tagged),
        timing=_frame(_timing_rows(tagged), ["arm", "seed", "engine", "sample_us"]),
        parts=_frame(_part_rows(tagged), ["arm", "seed", "part", "us_per_step"]),
        audio=_frame(_audio_rows(tagged, root, systems), ["arm", "seed", "utterance", "path"]),
        snapshots=_snapshots(tagged),
        left_out=tuple(left_out),
        about=_read_about(root),
    )


Tagged = tuple[str, str, Path, dict[str, Any]]


def _frame(rows: Iterator[dict[str, Any]] | Iterator[tuple[Any, ...]], columns: list[str]) -> pd.DataFrame:
    # As they are: Arrow's strings, which pandas would make of them, take seconds to make and to read again.
    frame = pd.DataFrame(list(rows), columns=columns, dtype=object)
    return frame.astype({name: np.float64 for name in ("value", "sample_us", "us_per_step") if name in columns})


def _read_record(folder: Path) -> tuple[dict[str, Any] | None, LeftOut | None]:
    try:
        record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return None, LeftOut(folder.name, "?", "unreadable", str(error))
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        got = record.get("schema") if isinstance(record, dict) else type(record).__name__
        return None, LeftOut(folder.name, "?", "unreadable", f"record schema {got!r}, this version reads {SCHEMA}")
    malformed = [key for key in ("study", "trial", "params") if not isinstance(record.get(key), dict)]
    if malformed:
        return None, LeftOut(folder.name, "?", "unreadable", f"record lacks {', '.join(malformed)}")
    params = record["params"]
    arm, state = str(params.get("arm") or "?"), str(record.get("state"))
    if state != "complete" or arm == "?":
        reason = record.get("reason") or ("its record names no arm" if arm == "?" else "no reason recorded")
        return None, LeftOut(folder.name, arm, state, str(reason), _seed_of(record))
    return record, None


def _seed_of(record: dict[str, Any]) -> str:
    params = record["params"]
    return f"{params.get('seed.dense')}/{params.get('seed.recover')}"


Setting = tuple[tuple[str, str], ...]


def _setting(record: dict[str, Any]) -> Setting:
    """Everything that makes an arm, seeds aside."""
    params = {**record["params"], "study": record["study"].get("name")}
    return tuple(sorted((key, str(value)) for key, value in params.items() if not key.startswith("seed.")))


def _newest_of_each(
    finished: list[tuple[Path, dict[str, Any]]],
) -> tuple[list[tuple[Path, dict[str, Any]]], list[LeftOut]]:
    """Keep the newest of trials that repeat the same arm with the same seeds."""
    newest: dict[Any, tuple[Path, dict[str, Any]]] = {}
    repeated = []
    for folder, record in finished:
        key = (_setting(record), _seed_of(record))
        if key in newest:
            old = newest.pop(key)[0].name
            reason = f"the same arm and seeds were run again as trial {folder.name}"
            repeated.append(LeftOut(old, str(record["params"]["arm"]), "repeated", reason))
        newest[key] = (folder, record)
    return list(newest.values()), repeated


def _arm_names(records: list[dict[str, Any]]) -> list[str]:
    """Name of each record's arm; records that share a name but not their settings get the differing ones appended.

    All but the baseline, which every difference is taken against: of several, the one set most like the other arms
    keeps its name.
    """
    settings: dict[str, set[Setting]] = {}
    for record in records:
        settings.setdefault(str(record["params"]["arm"]), set()).add(_setting(record))
    baseline = _nearest(records, settings.get(BASELINE, set()))
    names = []
    for record in records:
        arm, mine = str(record["params"]["arm"]), _setting(record)
        others = settings[arm]
        if len(others) > 1 and not (arm == BASELINE and mine == baseline):
            differing = sorted({key for other in others for key, value in set(mine) ^ set(other)})
            arm += " (" + ", ".join(f"{key}={dict(mine).get(key, 'None')}" for key in differing) + ")"
        names.append(arm)
    return names


def _nearest(records: list[dict[str, Any]], candidates: set[Setting]) -> Setting | None:
    """The candidate that has most settings in common with the arms to be compared with it; of equals, the first run."""
    others = [set(_setting(record)) for record in records if record["params"]["arm"] != BASELINE]
    ordered = [setting for record in records if (setting := _setting(record)) in candidates]
    return max(ordered, key=lambda setting: sum(len(set(setting) & other) for other in others), default=None)


def _trial_row(arm: str, seed: str, folder: Path, record: dict[str, Any]) -> dict[str, Any]:
    params = {key: value for key, value in record["params"].items() if key != "arm"}
    timing = record.get("timing") or {}
    return {
        "arm": arm,
        "seed": seed,
        "number": record["trial"].get("number"),
        "folder": folder,
        "config_hash": record["trial"].get("config_hash"),
        "started": record["trial"].get("started"),
        "ended": record["trial"].get("ended"),
        "seconds": record["trial"].get("seconds"),
        **params,
        **{key: _number(value) for key, value in (record.get("metrics") or {}).items()},
        **{f"reason.{key}": str(value) for key, value in (record.get("reasons") or {}).items()},
        **(record.get("tags") or {}),
        **{
            f"timing.{key}": timing.get(key)
            for key in ("cpu", "isa", "verdict", "why", "nominal_ghz", "rejected", "pinned")
        },
        **{f"timing.product.{key}": value for key, value in (timing.get("product") or {}).items()},
        "artifacts.config": (record.get("artifacts") or {}).get("config"),
    }


def _number(value: Any) -> float:
    """`value` as a float; NaN for everything that is not a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    return float(value) if math.isfinite(value) else math.nan


ScoreRow = tuple[str, str, float, str | None]
"""Utterance, metric key, value, reason: tuples, because studies have hundreds of thousands of them."""


def _scores_of(row: dict[str, Any]) -> Iterator[ScoreRow]:
    reasons = row.get("reasons") or {}
    for key, raw in row.items():
        if key in NOT_SCORES or key.startswith("noisy.") or isinstance(raw, str | dict | list):
            continue
        value = _number(raw)
        yield _score(row, key, value, reasons.get(key))
        if f"noisy.{key}" in row and f"gain.{key}" not in row:
            gain = value - _number(row[f"noisy.{key}"])
            yield _score(row, f"gain.{key}", gain, reasons.get(key) or reasons.get(f"noisy.{key}"))


def _score(row: dict[str, Any], key: str, value: float, why: object) -> ScoreRow:
    return str(row["id"]), f"quality.{key}", value, None if value == value else str(why or "no reason recorded")


def _score_rows(tagged: list[Tagged]) -> Iterator[tuple[Any, ...]]:
    for arm, seed, _, record in tagged:
        for row in record.get("utterances") or []:
            yield from ((arm, seed, *score) for score in _scores_of(row))


def _clip_rows(tagged: list[Tagged]) -> Iterator[dict[str, Any]]:
    for _, _, _, record in tagged:
        for row in record.get("utterances") or []:
            if row.get("kind") is not None:
                yield {"utterance": str(row["id"]), **{key: row.get(key) for key in FACTS_OF_A_CLIP}}


def _reference_rows(systems: dict[str, list[dict[str, Any]]], tagged: list[Tagged]) -> Iterator[tuple[Any, ...]]:
    for system, rows in systems.items():
        for row in rows:
            yield from ((system, *score) for score in _scores_of(row))
    seen: set[str] = set()
    for _, _, _, record in tagged:  # the input is the same for every arm: the first record that has a clip speaks
        for row in record.get("utterances") or []:
            if row["id"] in seen:
                continue
            reasons = row.get("reasons") or {}
            for key in (key for key in row if key.startswith("noisy.") and key != "noisy.audio"):
                seen.add(row["id"])
                yield (NOISY, *_score(row, key.removeprefix("noisy."), _number(row[key]), reasons.get(key)))


def _curves(tagged: list[Tagged]) -> pd.DataFrame:
    columns: dict[str, list[Any]] = {"arm": [], "seed": [], "step": []}
    for arm, seed, _, record in tagged:
        curves = {key: values for key, values in (record.get("curves") or {}).items() if values}
        length = len(curves.get("step", []))
        before = len(columns["arm"])
        for key, values in curves.items():
            if len(values) == length:
                column = columns.setdefault(key, [])
                column += [math.nan] * (before - len(column))
                column += [_number(value) for value in values]
        columns["arm"] += [arm] * length
        columns["seed"] += [seed] * length
    rows = len(columns["arm"])
    return pd.DataFrame({key: column + [math.nan] * (rows - len(column)) for key, column in columns.items()})


def _timing_rows(tagged: list[Tagged]) -> Iterator[tuple[Any, ...]]:
    for arm, seed, _, record in tagged:
        for engine, samples in ((record.get("timing") or {}).get("samples_us") or {}).items():
            yield from ((arm, seed, engine, float(us)) for us in samples)


def _part_rows(tagged: list[Tagged]) -> Iterator[dict[str, Any]]:
    for arm, seed, _, record in tagged:
        for part, us in ((record.get("timing") or {}).get("parts_us") or {}).items():
            yield {"arm": arm, "seed": seed, "part": part, "us_per_step": _number(us)}


def _snapshots(tagged: list[Tagged]) -> dict[str, dict[str, Any]]:
    first = {arm: record for arm, _, _, record in reversed(tagged)}
    facts = {arm: (record.get("facts") or {}).get("snapshots") for arm, record in first.items()}
    return {arm: found for arm, found in facts.items() if found}


def _audio_rows(tagged: list[Tagged], root: Path, systems: dict[str, list[dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    given: set[tuple[str, str]] = set()
    for arm, seed, folder, record in tagged:
        for row in record.get("utterances") or []:
            if row.get("audio") and (path := _inside(folder, row["audio"])):
                yield {"arm": arm, "seed": seed, "utterance": str(row["id"]), "path": path}
            for system, key in BESIDE.items():  # the same beside every arm: the first record that has it speaks
                name = str(row["id"])
                if row.get(key) and (system, name) not in given and (path := _inside(folder, row[key])):
                    given.add((system, name))
                    yield {"arm": system, "seed": None, "utterance": name, "path": path}
    for system, rows in systems.items():
        for row in rows:
            if row.get("audio") and (path := _inside(root, row["audio"])):
                yield {"arm": system, "seed": None, "utterance": str(row["id"]), "path": path}


def _inside(folder: Path, name: object) -> Path | None:
    """The file `name` of a folder; None where there is none, or where the name leads out of the folder."""
    path = folder / str(name)
    return path if path.is_file() and path.resolve().is_relative_to(folder.resolve()) else None


def _read_references(root: Path) -> dict[str, list[dict[str, Any]]]:
    path = root / "references.json"
    if not path.is_file():
        return {}
    try:
        systems = json.loads(path.read_text(encoding="utf-8"))["systems"]
    except (ValueError, KeyError, TypeError) as error:
        raise LanewiseError(
            f"{path}: cannot be read ({error!r}); delete it and let `lanewise sweep resume` write it again"
        ) from error
    return {str(name): rows for name, rows in systems.items()}


def _read_about(root: Path) -> dict[str, Any]:
    path = root / "study.yaml"
    if not path.is_file():
        return {}
    try:
        about = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise LanewiseError(f"{path}: cannot be read as YAML ({error})") from error
    if not isinstance(about, dict):
        raise LanewiseError(f"{path}: expected a mapping, got {type(about).__name__}")
    return about
