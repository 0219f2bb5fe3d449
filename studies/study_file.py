"""Study files: which arms or which space to search, with which seeds, judged by what. See `studies/*.yaml`.

| key | meaning |
|---|---|
| `name` | names the study's folder and its MLflow experiment |
| `about` | what it asks, in words |
| `plugins` | Python files beside this one that add methods and tiles, for every arm (`docs/add-a-method.md`) |
| `base` | settings of every trial (the keys of `lanewise trial`) |
| `arms` | name of an arm -> the settings in which it differs from `base` |
| `search` | axes `{choice: [...]}`, `{float: [lo, hi]}`, `{log: [lo, hi]}`, `{int: [lo, hi]}`; or named bundles |
| `mode` | `factorial` (every point), `random`, `tpe` or `nsga2` |
| `objectives` | what a sampler improves; chosen on validation data, never on test |
| `constraints` | limits such as `speed.rtf: {max: 0.1}`; an arm that breaks one ends as infeasible |
| `stop_dominated` | confidence (such as 0.8) with which a sampled trial is stopped once it cannot join the front |
| `trials` | total number of trials, baselines included (a factorial study without it runs every point) |
| `seeds` | `recover: [1, 2, 3]`, `dense: [0]` (arms run once per pair), `search: 0` (the sampler's) |
| `margins` | what counts as "on a par", fixed before anything runs |
| `baselines` | whether dense-continued, small-dense and a random mask per sparsity are added |
| `fast` | a partial study file laid over this one by `--fast`; `arms` may list the names to keep |

A study file may come from someone else. Paths in it (`data.corpus`, `model.init`) start at the working directory, as
those of a command line do, and are read only: recordings and safetensors, nothing that is run. Plug-ins are code: they
lie beside the file and nowhere else. What is written lies in the study's folder; a `data.cache` elsewhere is refused
unless the command says `--allow-cache DIR`.
"""

import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from bench.config import plugins
from bench.config.yaml_lines import (
    ConfigError,
    Document,
    Keys,
    Problem,
    collected,
    did_you_mean,
    read,
    unknown_key,
)
from studies.constraints import Limit, read_limits
from studies.leaves import Leaf, Leaves, read_leaves
from studies.overlay import dotted_sections, lay_assignments, lay_fast
from studies.space import Axis, read_axes

KEYS = (
    "name",
    "about",
    "plugins",
    "base",
    "arms",
    "search",
    "mode",
    "objectives",
    "constraints",
    "stop_dominated",
    "trials",
    "seeds",
    "margins",
    "baselines",
    "fast",
)
MODES = ("factorial", "random", "tpe", "nsga2")
OBJECTIVES: dict[str, Literal["minimize", "maximize"]] = {
    "valid.loss": "minimize",
    "speed.rtf": "minimize",
    "speed.kernel_us": "minimize",
    "speed.frame_us": "minimize",
    "speed.vs_dense": "maximize",
    "size.bytes": "minimize",
    "size.nonzeros": "minimize",
    "size.compression": "maximize",
}
ONLY = {"speed.kernel_us": "vocoder", "speed.frame_us": "enhancer", "size.compression": "enhancer"}
"""Objectives that the records of one task have; the others all have."""
MARGINS = {
    "vocoder": {"nll_bits": 0.02, "pesq_wb": 0.10, "dnsmos_ovr": 0.05},
    "enhancer": {"si_sdr": 0.1, "sdr": 0.1, "pesq_wb": 0.10, "dnsmos_ovr": 0.05},
}
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
_FREE = ("about", "trials", "fast")
"""Keys that may change between a run and its resumption."""


@dataclass(frozen=True)
class Study:
    """A valid study file, `--fast` and `--set` applied."""

    document: Document
    name: str
    plugins: tuple[str, ...]
    base: Leaves
    arms: Mapping[str, Leaves]
    axes: tuple[Axis, ...]
    mode: str
    objectives: tuple[str, ...]
    trials: int | None
    recover_seeds: tuple[int, ...]
    dense_seeds: tuple[int, ...]
    search_seed: int
    margins: Mapping[str, float]
    baselines: bool
    constraints: tuple[Limit, ...] = ()
    stop_dominated: float | None = None

    @property
    def directions(self) -> list[Literal["minimize", "maximize"]]:
        """Optuna's direction of each objective."""
        return [OBJECTIVES[objective] for objective in self.objectives]

    @property
    def task(self) -> str:
        """What all trials of the study do."""
        return str(self.base["task"].value) if "task" in self.base else "vocoder"

    @property
    def sampled(self) -> bool:
        """Whether a sampler chooses points while the study runs."""
        return self.mode != "factorial" and bool(self.axes)

    def text(self) -> str:
        """Return the study as YAML, everything applied: what a resumed study reads."""
        return _dump(self.document.data, ("fast",))

    def fingerprint(self) -> str:
        """Return the part of the study that must not change once it runs, as YAML."""
        return _dump(self.document.data, _FREE)


def load(path: str | Path, assignments: Iterable[str] = (), fast: bool = False) -> Study:
    """Read and validate a study file.

    Parameters
    ----------
    path
        YAML file.
    assignments
        `key=value` overrides; a key of a trial (`train.steps=50`) means `base`, any other the study file itself.
        `arms=[NAME, ...]` keeps these arms of the file alone.
    fast
        Lay the file's `fast:` section over it.

    Raises
    ------
    ConfigError
        All problems found: file, line, key, what was got, what is allowed.
    UsageError
        The file cannot be read.
    """
    problems: list[Problem] = []
    document = dotted_sections(read(path), problems)
    arms = document.data.get("arms")
    if fast:
        with collected(problems):
            document = lay_fast(document, KEYS)
    with collected(problems):
        document = lay_assignments(document, assignments, KEYS, arms if isinstance(arms, dict) else {})
    return _validate(plugins.load(document), problems)


def fingerprint(path: Path) -> str:
    """Return the fingerprint of a study file that `Study.text` wrote, without loading its plug-ins."""
    return _dump(read(path).data, _FREE)


def _dump(data: Mapping[str, Any], leave_out: Iterable[str]) -> str:
    kept = {key: value for key, value in data.items() if key not in leave_out}
    return str(yaml.safe_dump(kept, sort_keys=False, allow_unicode=True, width=120))


def _validate(document: Document, problems: list[Problem]) -> Study:
    """Return the study, or raise for everything that is wrong with it, `problems` found before included."""
    data = document.data
    problems += [unknown_key(document, (key,), KEYS) for key in data if key not in KEYS]
    base, arms = read_leaves(document, ("base",), data.get("base"), problems), _arms(document, problems)
    check = _Check(document, problems, str(base["task"].value) if "task" in base else "vocoder")
    name = data.get("name")
    if not isinstance(name, str) or not _NAME.match(name):
        got = f"got {name!r}" if "name" in data else "missing"
        problems.append(document.problem(("name",), f"{got}, expected a word of letters, digits, '.', '_', '-'"))
        name = ""
    if not isinstance(data.get("about", ""), str):
        problems.append(document.problem(("about",), f"got {data['about']!r}, expected text"))
    axes = read_axes(document, ("search",), data.get("search"), problems)
    mode = check.one_of("mode", MODES, "factorial")
    if any("plugins" in settings for settings in (base, *arms.values())) or any(axis.key == "plugins" for axis in axes):
        what = "plug-ins are of the whole study; list them under `plugins:` at the top"
        problems.append(document.problem(("base", "plugins"), what))
    elif data.get("plugins"):
        base["plugins"] = Leaf(data["plugins"], document.origin(("plugins",)))
    seeds = check.section("seeds", ("recover", "dense", "search"))
    study = Study(
        document=document,
        name=name,
        plugins=tuple(data.get("plugins") or ()),
        base=base,
        arms=arms,
        axes=tuple(axes),
        mode=mode,
        objectives=check.objectives(),
        trials=check.count("trials"),
        recover_seeds=check.seed_list(("seeds", "recover"), seeds.get("recover", [0])),
        dense_seeds=check.seed_list(("seeds", "dense"), seeds.get("dense", [0])),
        search_seed=check.seed_list(("seeds", "search"), [seeds.get("search", 0)])[0],
        margins=check.margins(),
        baselines=check.flag("baselines", True),
        constraints=read_limits(document, check.measurable, problems),
        stop_dominated=check.confidence("stop_dominated"),
    )
    if not arms and not axes:
        problems.append(document.problem((), "nothing to run: give `arms:`, or `search:`, or both"))
    problems += _contradictions(study)
    if problems:
        from studies.plan import setting_problems  # which knows studies

        problems += setting_problems(study, problems)
        raise ConfigError(sorted(dict.fromkeys(problems), key=lambda problem: problem.origin.line or 0))
    return study


def _arms(document: Document, problems: list[Problem]) -> dict[str, Leaves]:
    section = document.data.get("arms")
    if section is None:
        return {}
    if not isinstance(section, dict):
        problems.append(document.problem(("arms",), "expected names of arms, each with its settings"))
        return {}
    arms = {}
    for name, settings in section.items():
        arms[name] = read_leaves(document, ("arms", name), settings, problems)
        if "arm" in arms[name]:
            problems.append(document.problem(("arms", name, "arm"), "an arm's name is its key; leave this out"))
    return arms


def _contradictions(study: Study) -> list[Problem]:
    """Return what cannot work although each key is right by itself."""
    document, problems = study.document, []
    if study.mode != "factorial" and not study.axes:
        problems.append(document.problem(("mode",), f"{study.mode!r} samples from `search:`, which is missing"))
    if study.sampled and study.trials is None:
        problems.append(document.problem(("mode",), f"{study.mode!r} needs `trials:`, the total number of trials"))
    if study.sampled and len(study.recover_seeds) * len(study.dense_seeds) > 1:
        problems.append(
            document.problem(
                ("seeds",),
                "a sampled study uses one pair of seeds; repeat the best arms "
                "in a factorial study to see what seeds do",
            )
        )
    for axis in study.axes:
        if study.mode == "factorial" and not axis.grid():
            problems.append(
                document.problem(
                    ("search", axis.key),
                    f"{{{axis.kind}: ...}} has no grid; list its values "
                    "with {choice: [...]}, or sample with mode: tpe",
                )
            )
    timed = [objective for objective in study.objectives if objective.startswith("speed.")]
    for settings in (study.base, *study.arms.values()):
        leaf = settings.get("measure.speed")
        if timed and leaf is not None and leaf.value is False:
            what = f"got false, but the objective {timed[0]} needs it; change one of the two"
            problems.append(Problem(leaf.origin, ("measure", "speed"), what))
    tasks = {name: str(settings["task"].value) for name, settings in study.arms.items() if "task" in settings}
    varied: list[Keys] = [("arms", name, "task") for name, task in tasks.items() if task != study.task]
    varied += [
        ("search", axis.key) for axis in study.axes if "task" in {axis.key, *itertools.chain(*axis.bundles.values())}
    ]
    for keys in varied:
        problems.append(document.problem(keys, "tasks are not compared with each other; name one under `base:`"))
    for key in ("seed.recover", "seed.dense", "arm"):
        if key in study.base or any(axis.key == key for axis in study.axes):
            problems.append(document.problem(("base", key), "seeds are listed under `seeds:`, arms under `arms:`"))
    for key, leaf in study.base.items():
        users = [name for name, settings in study.arms.items() if key in settings]
        if users and leaf.origin.source.startswith("--set"):
            problems.append(
                Problem(
                    leaf.origin,
                    (key,),
                    f"arms set this key themselves ({', '.join(users)}); write --set arms.{users[0]}.{key}=...",
                )
            )
    return problems


class _Check:
    """Reads simple values, adding what is wrong to `problems` and going on with the default."""

    def __init__(self, document: Document, problems: list[Problem], task: str) -> None:
        self.document, self.problems, self.task = document, problems, task
        self.measurable = tuple(key for key in OBJECTIVES if ONLY.get(key, task) == task)

    def complain(self, keys: Keys, message: str) -> None:
        self.problems.append(self.document.problem(keys, message))

    def one_of(self, key: str, allowed: tuple[str, ...], default: str) -> str:
        value = self.document.data.get(key, default)
        if value in allowed:
            return str(value)
        self.complain((key,), f"got {value!r}, expected one of {', '.join(allowed)}{did_you_mean(value, allowed)}")
        return default

    def section(self, key: str, allowed: tuple[str, ...]) -> dict[str, Any]:
        value = self.document.data.get(key) or {}
        if not isinstance(value, dict):
            self.complain((key,), f"got {value!r}, expected the keys {', '.join(allowed)}")
            return {}
        self.problems += [unknown_key(self.document, (key, inner), allowed) for inner in value if inner not in allowed]
        return value

    def flag(self, key: str, default: bool) -> bool:
        value = self.document.data.get(key, default)
        if not isinstance(value, bool):
            self.complain((key,), f"got {value!r}, expected true or false")
            return default
        return value

    def count(self, key: str) -> int | None:
        value = self.document.data.get(key)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            self.complain((key,), f"got {value!r}, expected a whole number of at least 1")
            return None
        return value

    def confidence(self, key: str) -> float | None:
        value = self.document.data.get(key)
        if value is None or (isinstance(value, float) and 0.5 <= value < 1):
            return value
        self.complain((key,), f"got {value!r}, expected a confidence from 0.5 up to, but not, 1")
        return None

    def seed_list(self, keys: Keys, value: Any) -> tuple[int, ...]:
        good = isinstance(value, list) and value and all(type(v) is int and 0 <= v < 2**31 for v in value)
        if not good or len(set(value)) < len(value):
            self.complain(keys, f"got {value!r}, expected different whole numbers from 0 to 2147483647")
            return (0,)
        return tuple(value)

    def objectives(self) -> tuple[str, ...]:
        value = self.document.data.get("objectives", ["valid.loss", "speed.rtf"])
        if not isinstance(value, list) or not value or len(set(map(str, value))) < len(value):
            self.complain(
                ("objectives",), f"got {value!r}, expected a list of different metrics: {', '.join(self.measurable)}"
            )
            return self.measurable[:2]
        for position, objective in enumerate(value):
            if objective not in self.measurable:
                test = isinstance(objective, str) and objective.startswith("quality.")
                foreign = f"; task {self.task!r} does not measure it" if objective in OBJECTIVES else ""
                why = "; test scores choose nothing" if test else foreign or did_you_mean(objective, self.measurable)
                allowed = ", ".join(self.measurable)
                self.complain(("objectives", position), f"got {objective!r}{why}; expected one of {allowed}")
        return tuple(objective for objective in value if objective in self.measurable) or self.measurable[:2]

    def margins(self) -> dict[str, float]:
        usual = MARGINS.get(self.task, MARGINS["vocoder"])
        given = self.section("margins", tuple(usual))
        for key, value in given.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
                self.complain(("margins", key), f"got {value!r}, expected a number above 0")
        return {**usual, **{key: value for key, value in given.items() if isinstance(value, (int, float))}}
