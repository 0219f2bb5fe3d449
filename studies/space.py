"""Search space of a study file: axes, their grid, their Optuna distributions.

An axis is a dotted key of the trial configuration with the values it may take:

- `prune.sparsity: {choice: [0.5, 0.7, 0.9]}`
- `reg.lambda: {log: [1e-6, 1e-3]}`, `train.lr: {float: [1e-4, 1e-3]}`, `model.hidden: {int: [128, 256]}`

or a name of one's own whose choices are named bundles of overrides, for keys that go together:

- `structure: {choice: {lasso: {reg.tile: 1x1, prune.tile: 1x1}, simd-16: {reg.tile: 16x1, prune.tile: 16x1}}}`
"""

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.config.yaml_lines import Document, Keys, Problem, did_you_mean

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import Trial

Overrides = dict[str, Any]
"""Dotted keys of a trial configuration and the values they get."""

KINDS = ("choice", "float", "log", "int")


@dataclass(frozen=True)
class Axis:
    """One dimension of a search: discrete (`choices`, perhaps naming `bundles`) or an interval `low` to `high`."""

    key: str
    kind: str
    choices: tuple[Any, ...] = ()
    bundles: Mapping[str, Overrides] = field(default_factory=dict)
    low: float = 0.0
    high: float = 0.0

    def grid(self) -> tuple[Any, ...]:
        """Return every value of a discrete axis (an `int` interval counts); empty for a continuous one."""
        if self.kind == "int":
            return tuple(range(int(self.low), int(self.high) + 1))
        return self.choices

    def overrides(self, value: Any) -> Overrides:
        """Return what choosing `value` sets."""
        return dict(self.bundles[value]) if self.bundles else {self.key: value}

    def label(self, value: Any) -> str:
        """Return a short name of `value` for an arm's name, for instance `s70`, `simd-16` or `lr0.01`."""
        if self.bundles:
            return str(value)
        if self.key == "prune.sparsity":
            return f"s{100 * value:g}"
        text = f"{value:.3g}" if isinstance(value, float) else str(value)
        return re.sub(r"[^A-Za-z0-9._+-]", "-", self.key.rpartition(".")[2] + text)

    def distribution(self) -> "BaseDistribution":
        """Return the axis as Optuna's distribution."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.kind == "choice":
            return CategoricalDistribution(self.choices)
        if self.kind == "int":
            return IntDistribution(int(self.low), int(self.high))
        return FloatDistribution(self.low, self.high, log=self.kind == "log")

    def suggest(self, trial: "Trial") -> Any:
        """Draw a value from the study's sampler, or get the one that `trial` already has."""
        if self.kind == "choice":
            return trial.suggest_categorical(self.key, self.choices)
        if self.kind == "int":
            return trial.suggest_int(self.key, int(self.low), int(self.high))
        return trial.suggest_float(self.key, self.low, self.high, log=self.kind == "log")


def product(axes: list[Axis]) -> Iterator[dict[str, Any]]:
    """Yield every point of the grid over discrete `axes`, the last axis varying fastest."""
    for values in itertools.product(*(axis.grid() for axis in axes)):
        yield dict(zip((axis.key for axis in axes), values, strict=True))


def point_overrides(axes: list[Axis], point: Mapping[str, Any]) -> Overrides:
    """Return what a point sets, axis after axis."""
    merged: Overrides = {}
    for axis in axes:
        merged.update(axis.overrides(point[axis.key]))
    return merged


def point_name(axes: list[Axis], point: Mapping[str, Any]) -> str:
    """Return a name of a point, for instance `simd-16-s70`."""
    return "-".join(axis.label(point[axis.key]) for axis in axes)


def read_axes(document: Document, keys: Keys, section: Any, problems: list[Problem]) -> list[Axis]:
    """Read the `search:` section at `keys`, adding what is wrong to `problems`."""
    if section is None:
        return []
    if not isinstance(section, dict):
        problems.append(document.problem(keys, "expected axes, for example prune.sparsity: {choice: [0.5, 0.7]}"))
        return []
    axes = [_read_axis(document, (*keys, key), key, spec, problems) for key, spec in section.items()]
    return [axis for axis in axes if axis is not None]


def _read_axis(document: Document, keys: Keys, key: str, spec: Any, problems: list[Problem]) -> Axis | None:
    kind = next(iter(spec)) if isinstance(spec, dict) and len(spec) == 1 else None
    if kind not in KINDS:
        hint = did_you_mean(kind, KINDS) if kind else ""
        problems.append(
            document.problem(
                keys,
                f"got {spec!r}{hint}; expected one of {{choice: [...]}}, "
                "{float: [low, high]}, {log: [low, high]}, {int: [low, high]}",
            )
        )
        return None
    values = spec[kind]
    if kind == "choice":
        return _read_choice(document, (*keys, kind), key, values, problems)
    numbers = isinstance(values, list) and len(values) == 2
    numbers = numbers and all(isinstance(v, int if kind == "int" else (int, float)) for v in values)
    if not numbers or values[0] >= values[1] or (kind == "log" and values[0] <= 0):
        what = "whole numbers" if kind == "int" else "numbers above 0" if kind == "log" else "numbers"
        problems.append(
            document.problem((*keys, kind), f"got {values!r}; expected [low, high], two {what}, low < high")
        )
        return None
    return Axis(key, kind, low=float(values[0]), high=float(values[1]))


def _read_choice(document: Document, keys: Keys, key: str, values: Any, problems: list[Problem]) -> Axis | None:
    if isinstance(values, dict) and values and all(isinstance(bundle, dict) for bundle in values.values()):
        return Axis(key, "choice", tuple(values), values)
    scalar = isinstance(values, list) and all(isinstance(v, (str, int, float, bool)) or v is None for v in values)
    if not scalar or not values:
        problems.append(document.problem(keys, f"got {values!r}; expected a list of values or named bundles of keys"))
        return None
    if len(set(map(repr, values))) < len(values):
        problems.append(document.problem(keys, f"got {values!r}; each choice may stand once"))
        return None
    return Axis(key, "choice", tuple(values))
