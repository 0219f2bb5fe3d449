"""Everything that is computed from a study before anything is drawn or written: one object for all outputs. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from bench.errors import LanewiseError
from reports.columns import NOT_DEPLOYABLE, SMALLEST, Column, quality_columns, trial_columns
from reports.compare import (
    Difference,
    Estimate,
    Scores,
    differences,
    estimates_of,
    not_worse_than_best,
    score_tables,
)
from reports.loader import BASELINE, NOISY, RECORDING, Study
from reports.speed import RTF_INT8, dense_arms, is_stable, speed_estimate, theoretical, told_apart
from reports.tasks import Task

REFERENCE_ORDER = (RECORDING, "copy-synthesis", "griffin-lim", NOISY)


@dataclass(frozen=True, eq=False)  # one object for all outputs: compared, and cached on, by identity
class Analysis:
    """A study with its estimates, differences and marks.

    Attributes
    ----------
    arms : the baseline first, then by the primary metric, best first (missing last), then by name
    columns : metrics that the study has, quality then speed then size
    estimates : (arm or reference system, metric key) -> mean with interval
    differences : (arm, quality metric key) -> paired difference to dense-continued
    marked : metric key -> the best arm and all not significantly worse
    unmeasured : quality metrics of which no arm has a single score -> why
    unstable : arms with a timing that the clock gate did not accept
    unstable_int8 : the same of the timing of their int8 form
    dense : by arm, the dense arm of its network
    """

    study: Study
    arms: tuple[str, ...]
    references: tuple[str, ...]
    columns: tuple[Column, ...]
    margins: Mapping[str, float]
    scores: Scores
    estimates: Mapping[tuple[str, str], Estimate]
    differences: Mapping[tuple[str, str], Difference]
    marked: Mapping[str, frozenset[str]]
    unmeasured: Mapping[str, str]
    unstable: frozenset[str]
    unstable_int8: frozenset[str]
    dense: Mapping[str, str]

    @property
    def task(self) -> Task:
        """What the study is about."""
        return self.study.task

    @property
    def primary(self) -> str:
        """Key of the metric that decides."""
        return self.study.task.primary

    def column(self, key: str) -> Column | None:
        """The column of a metric, or None where the study lacks it."""
        return next((column for column in self.columns if column.key == key), None)

    def value(self, arm: str, key: str) -> float:
        """Mean of a metric; NaN when missing."""
        found = self.estimates.get((arm, key))
        return math.nan if found is None else found.value

    def param(self, arm: str, key: str) -> Any:
        """A parameter of an arm (the same for all its seeds); None when absent or null."""
        value = self._first_trials.get(arm, {}).get(key)
        return None if value is None or (isinstance(value, float) and math.isnan(value)) else value

    @cached_property
    def _first_trials(self) -> dict[str, dict[Any, Any]]:
        return {row["arm"]: row for row in self.study.trials.drop_duplicates("arm").to_dict("records")}

    @cached_property
    def _has_sizes(self) -> bool:
        return len({self.param(name, "model.hidden") for name in self.arms}) > 1

    def is_pruned(self, arm: str) -> bool:
        """Whether the arm's weights were pruned."""
        sparsity = self.param(arm, "prune.sparsity")
        return sparsity is not None and float(sparsity) > 0

    def units(self, arm: str) -> str:
        """How large the arm's network is, in words, where the study has several sizes; empty where it has one."""
        size = self.param(arm, "model.hidden")
        return f"{size:g} units" if self._has_sizes and size is not None else ""

    def is_timed(self, arm: str, key: str) -> bool:
        """Whether the clock gate accepted the timing that a `speed.` figure rests on."""
        return arm not in (self.unstable_int8 if key == RTF_INT8 else self.unstable)


def analyse(study: Study) -> Analysis:
    """Estimate, compare and mark everything once."""
    margins = _margins(study.about, study.task)
    quality = quality_columns(study.task)
    speed, size = trial_columns([str(name) for name in study.trials.columns])
    scores = score_tables(study.utterances)
    reference_scores = score_tables(study.references.assign(seed=""))
    estimates = dict(zip(scores, estimates_of(list(scores.values())), strict=True))
    of_references = dict(zip(reference_scores, estimates_of(list(reference_scores.values())), strict=True))
    estimates |= {key: found for key, found in of_references.items() if found.n}  # NLL means nothing for a recording
    dense = dense_arms(study)
    for arm in study.arms:
        for column in (*speed, *size):
            estimates[arm, column.key] = speed_estimate(study, arm, column.key)
        estimates[arm, SMALLEST] = _smallest(study, arm, [column.key for column in size])
        estimates[arm, "speed.theory"] = theoretical(study, arm, dense.get(arm))
    measured = {key for (arm, key) in scores if estimates[arm, key].n}
    columns = [column for column in quality if column.key in measured or column.key == study.task.primary]
    columns += [c for c in (*speed, *size) if any(estimates[arm, c.key].n for arm in study.arms)]
    arms = [arm for arm in study.arms if arm != BASELINE]
    deltas = {
        (delta.arm, column.key): delta
        for column in columns
        if column in quality
        for delta in differences(scores, arms, BASELINE, column, margins.get(column.key))
    }
    unstable = frozenset(arm for arm in study.arms if not all(map(is_stable, study.cells(arm, "timing.verdict"))))
    unstable_int8 = frozenset(
        arm for arm in study.arms if not all(map(is_stable, study.cells(arm, "lanewise.timing_verdict_int8")))
    )
    timed = {
        c.key: [a for a in study.arms if a not in (unstable_int8 if c.key == RTF_INT8 else unstable)] for c in speed
    }
    marked = {c.key: frozenset(not_worse_than_best(scores, study.arms, c)) for c in columns if c in quality}
    marked |= {c.key: _not_slower_than_best(estimates, timed[c.key], c) for c in columns if c in speed and c.sign}
    marked |= {c.key: _exactly_best(estimates, study.arms, c) for c in columns if c in size}
    return Analysis(
        study=study,
        arms=_ordered(study.arms, estimates, study.task),
        references=_reference_names(study.systems),
        columns=tuple(columns),
        margins=margins,
        scores=scores,
        estimates=estimates,
        differences=deltas,
        unmeasured=_reasons(study.utterances, {c.key for c in quality} - measured),
        marked=marked,
        unstable=unstable,
        unstable_int8=unstable_int8,
        dense=dense,
    )


def _smallest(study: Study, arm: str, keys: list[str]) -> Estimate:
    """Mean over an arm's trials of the smallest of its deployable sizes."""
    sizes: dict[str, list[float]] = {}
    for key in keys:
        if key not in NOT_DEPLOYABLE and key.startswith("size."):
            for seed, value in study.values(arm, key):
                sizes.setdefault(seed, []).append(value)
    known = [[value for value in values if not math.isnan(value)] for values in sizes.values()]
    least = [min(values) for values in known if values]
    value = math.fsum(least) / len(least) if least else math.nan
    return Estimate(value, math.nan, math.nan, len(least), len(sizes) - len(least), "")


def _margins(about: Mapping[str, Any], task: Task) -> dict[str, float]:
    """Non-inferiority margins: the defaults, replaced by those that the study fixed before it ran."""
    given = about.get("margins") or {}
    if not isinstance(given, Mapping):
        raise LanewiseError(f"margins of the study: expected a mapping of metric to number, got {given!r}")
    margins = dict(task.margins)
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise LanewiseError(f"margin of {name!r} in the study: expected a number above 0, got {value!r}")
        key = str(name) if str(name).startswith("quality.") else f"quality.{name}"
        margins[key] = float(value)
    return margins


def _ordered(arms: list[str], estimates: Mapping[tuple[str, str], Estimate], task: Task) -> tuple[str, ...]:
    def key(arm: str) -> tuple[bool, bool, float, str]:
        known = estimates.get((arm, task.primary))
        missing = known is None or math.isnan(known.value)
        return arm != BASELINE, missing, 0.0 if missing or known is None else -task.sign * known.value, arm

    return tuple(sorted(arms, key=key))


def _reference_names(present: list[str]) -> tuple[str, ...]:
    known = [name for name in REFERENCE_ORDER if name in present]
    return tuple(known + [name for name in present if name not in known])


def _reasons(utterances: pd.DataFrame, keys: set[str]) -> dict[str, str]:
    """The first reason given for each metric that has no score at all; metrics nobody mentions are left out."""
    rows = utterances[utterances["metric"].isin(keys)].drop_duplicates("metric")
    return {str(row.metric): str(row.reason) for row in rows.sort_values("metric").itertuples(index=False)}


def _not_slower_than_best(
    estimates: Mapping[tuple[str, str], Estimate], arms: list[str], column: Column
) -> frozenset[str]:
    """Fastest arm by its mean and all that are not told apart from it; nothing where there are no intervals."""
    known = {arm: estimates[arm, column.key] for arm in arms}
    known = {arm: found for arm, found in known.items() if not math.isnan(found.ci_low)}
    if not known:
        return frozenset()
    best = known[max(known, key=lambda arm: column.sign * known[arm].value)]
    return frozenset(arm for arm, found in known.items() if not told_apart(found, best))


def _exactly_best(estimates: Mapping[tuple[str, str], Estimate], arms: list[str], column: Column) -> frozenset[str]:
    """Arms with the best value of a quantity that is counted, not measured."""
    known = {arm: estimates[arm, column.key].value for arm in arms if estimates[arm, column.key].n}
    if not known or not column.sign:
        return frozenset()
    best = max(column.sign * value for value in known.values())
    return frozenset(arm for arm, value in known.items() if column.sign * value == best)
