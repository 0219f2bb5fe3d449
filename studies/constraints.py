"""Constraints of a study: limits that an arm must keep to be of use, such as `speed.rtf: {max: 0.1}`.

An arm that breaks one was measured all the same: its outcome is `infeasible`, its values and how far it is off teach
the sampler. Baselines (what is not pruned, or at random) are what others are compared with and may break any.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from bench.config.schema import TrialConfig
from bench.config.yaml_lines import Document, Problem, did_you_mean


@dataclass(frozen=True)
class Limit:
    """The range that one metric must keep to."""

    metric: str
    low: float = -math.inf
    high: float = math.inf

    def excess(self, value: float) -> float:
        """Return how far `value` is outside, at most 0 when it is inside."""
        return max(self.low - value, value - self.high)

    def __str__(self) -> str:
        bounds = [f"at least {self.low:g}"] * (self.low > -math.inf)
        bounds += [f"at most {self.high:g}"] * (self.high < math.inf)
        return f"{self.metric} must be {' and '.join(bounds)}"


def read_limits(document: Document, allowed: tuple[str, ...], problems: list[Problem]) -> tuple[Limit, ...]:
    """Read the `constraints:` section, adding what is wrong to `problems`; metrics are of validation and speed only."""
    section = document.data.get("constraints") or {}
    if not isinstance(section, dict):
        what = f"got {section!r}, expected for example speed.rtf: {{max: 0.1}}"
        problems.append(document.problem(("constraints",), what))
        return ()
    limits = []
    for metric, bounds in section.items():
        keys = ("constraints", metric)
        if metric not in allowed:
            what = f"no constraint can be on this{did_you_mean(metric, allowed)}; expected one of {', '.join(allowed)}"
            problems.append(document.problem(keys, what))
        elif not isinstance(bounds, dict) or not bounds or not set(bounds) <= {"min", "max"} or not _numbers(bounds):
            problems.append(document.problem(keys, f"got {bounds!r}, expected {{max: 0.1}}, {{min: 2}} or both"))
        else:
            limits.append(Limit(metric, float(bounds.get("min", -math.inf)), float(bounds.get("max", math.inf))))
    return tuple(limits)


def _numbers(bounds: Mapping[str, object]) -> bool:
    return all(isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in bounds.values())


def excesses(limits: tuple[Limit, ...], metrics: Mapping[str, float | None]) -> dict[str, float]:
    """Return by how much each limited metric that was measured is outside its limits."""
    found = {limit.metric: metrics.get(limit.metric) for limit in limits}
    return {limit.metric: limit.excess(value) for limit in limits if (value := found[limit.metric]) is not None}


def broken(limits: tuple[Limit, ...], metrics: Mapping[str, float | None]) -> str | None:
    """Return in words which limits are broken; None when none is."""
    off = excesses(limits, metrics)
    words = [f"{limit}, got {metrics[limit.metric]:.4g}" for limit in limits if off.get(limit.metric, 0.0) > 0]
    return "; ".join(words) or None


def exempt(config: TrialConfig) -> bool:
    """Say whether a trial is a baseline."""
    return config.prune.kind in ("none", "random")
