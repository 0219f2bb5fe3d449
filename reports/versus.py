"""Is B worse than A? Arms paired by name, scores paired by utterance and seed, speeds as ratios. Pure.

A loss is called when its whole 95 % interval lies beyond the margin ("inferior", "slower"), and ruled out when the
whole interval lies within it ("non-inferior", "as fast"); in between the data leave it open.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.errors import LanewiseError
from bench.measure.statistics import FEWEST_SEEDS
from reports.columns import Column, quality_columns
from reports.compare import THIS_MODEL, BySeed, Estimate, difference, unpaired
from reports.side import COUNTED, Side
from reports.speed import ratio_of
from reports.tasks import task_of

WORSE = ("inferior", "slower", "gone", "not scored")
UNDECIDED = ("open", "not comparable")
_SEEDS_DIFFER = "seeds differ"


@dataclass(frozen=True)
class Line:
    """One metric of one arm.

    Attributes
    ----------
    change : B minus A; of a speed or size B over A (above 1: slower, larger)
    margin : largest loss that still counts as none; None where nothing was asked
    verdict : better, non-inferior, inferior or open of quality (better, worse or open without a margin);
        faster, as fast, slower or open of speed; smaller, same or larger of size; gone, not scored, not comparable
    gated : whether `--gate` looks at it
    """

    arm: str
    metric: str
    a: float
    b: float
    change: float
    ci_low: float
    ci_high: float
    margin: float | None
    verdict: str
    gated: bool
    basis: str = ""
    note: str = ""


def compare_sides(
    a: Side, b: Side, margins: Mapping[str, float], margin_speed: float, arms: Sequence[str] = ()
) -> list[Line]:
    """Lines for every arm of A, in A's order.

    Parameters
    ----------
    margins : quality margins that the caller states, by metric key; the study's (A's) margins hold for the rest, and
        only the primary metric and those stated here are gated
    margin_speed : largest slow-down that still counts as none, as a share
    arms : these arms alone; all when empty

    Raises
    ------
    LanewiseError
        The tasks differ, no arm is shared, or an arm or metric named is unknown.
    """
    if a.task != b.task:
        raise LanewiseError(f"{a.name} is of task {a.task}, {b.name} of task {b.task}: nothing to compare")
    task = task_of(a.task)
    pairs = [(arm, arm) for arm in a.arms]
    if len(a.arms) == len(b.arms) == 1:
        pairs = [(a.arms[0], b.arms[0])]
    unknown = [arm for arm in arms if arm not in a.arms]
    if unknown:
        raise LanewiseError(f"{a.name} has no arm {unknown[0]!r}; it has {', '.join(a.arms)}")
    pairs = [pair for pair in pairs if not arms or pair[0] in arms]
    if not any(theirs in b.arms for _, theirs in pairs):
        raise LanewiseError(f"no arm of {a.name} ({_few(a.arms)}) is in {b.name} ({_few(b.arms)})")
    columns = quality_columns(task)
    strange = sorted(set(margins) - {column.key for column in columns})
    if strange:
        raise LanewiseError(
            f"--margin-quality: {strange[0].removeprefix('quality.')} is no quality metric of this task"
        )
    gated = {task.primary, *margins}
    lines = []
    for ours, theirs in pairs:
        label = ours if ours == theirs else f"{ours} -> {theirs}"
        if theirs not in b.arms:
            lines.append(_empty(label, task.primary, None, "gone", True, f"{b.name} has no such arm"))
            continue
        for column in columns:
            margin = margins.get(column.key, a.margins.get(column.key))
            line = _quality(label, column, a.scores[ours].get(column.key), b.scores[theirs].get(column.key), margin,
                            column.key in gated)  # fmt: skip
            lines += [line] if line else []
        lines += _speed(label, a, ours, b, theirs, margin_speed)
        lines += _sizes(label, a.figures[ours], b.figures[theirs])
    return lines


def _quality(
    arm: str, column: Column, old: BySeed | None, new: BySeed | None, margin: float | None, gated: bool
) -> Line | None:
    if not old or not any(value is not None for scores in old.values() for value in scores.values()):
        return None
    if not new:
        return _empty(arm, column.key, margin, "not scored", gated, "B has no such scores")
    note = ""
    if old.keys() & new.keys():
        found = difference({("b", column.key): new, ("a", column.key): old}, "b", "a", column, margin)
    elif min(len(old), len(new)) >= FEWEST_SEEDS:
        found, note = unpaired(new, old, "b", "a", column, margin), _SEEDS_DIFFER
    else:  # too few to know how much seeds differ: these models, and no more
        old, new, note = {"": _averaged(old)}, {"": _averaged(new)}, f"{_SEEDS_DIFFER}, {THIS_MODEL}"
        found = difference({("b", column.key): new, ("a", column.key): old}, "b", "a", column, margin)
    old_mean, new_mean = _mean(old), _mean(new)
    verdict = "not scored" if math.isnan(new_mean) else "not comparable" if found.reason else found.verdict
    note = "; ".join(filter(None, (note, found.reason, f"{found.n_dropped} pairs dropped" if found.n_dropped else "")))
    return Line(
        arm=arm, metric=column.key, a=old_mean, b=new_mean, change=found.value, ci_low=found.ci_low,
        ci_high=found.ci_high, margin=margin, verdict=verdict, gated=gated, basis=found.basis, note=note,
    )  # fmt: skip


def _speed(arm: str, a: Side, ours: str, b: Side, theirs: str, margin: float) -> list[Line]:
    """RTF on the same CPU and ISA; else the ratio to each host's own dense engine."""
    same = a.hosts.get(ours) == b.hosts.get(theirs)
    key = "speed.rtf" if same else "speed.vs_dense"
    old, new = a.figures[ours].get(key), b.figures[theirs].get(key)
    if old is None or math.isnan(old.value):
        return []
    if new is None or math.isnan(new.value):
        return [_empty(arm, key, margin, "not comparable", True, "B was not timed")]
    note = "" if same else f"hosts differ ({a.hosts.get(ours)}; {b.hosts.get(theirs)}): speed-ups over dense compared"
    top, bottom = (new, old) if same else (old, new)
    low, ratio, high = ratio_of(top, bottom)
    unstable = [side.name for side, name in ((a, ours), (b, theirs)) if name not in side.stable]
    verdict = slower(low, high, margin)
    if unstable:
        verdict, note = "not comparable", "; ".join(filter(None, (note, f"timing of {', '.join(unstable)} not stable")))
    return [Line(arm, key, old.value, new.value, ratio, low, high, margin, verdict, True, new.basis, note)]


def slower(low: float, high: float, margin: float) -> str:
    """What an interval of the slow-down (above 1: B is slower) allows to be said."""
    if math.isnan(low) or math.isnan(high):
        return "open"
    if high < 1:
        return "faster"
    if high <= 1 + margin:
        return "as fast"
    return "slower" if low > 1 + margin else "open"


def _sizes(arm: str, old: Mapping[str, Estimate], new: Mapping[str, Estimate]) -> list[Line]:
    lines = []
    for key in COUNTED:
        before, after = old.get(key), new.get(key)
        if before is None or after is None or not before.value > 0 or math.isnan(after.value):
            continue
        ratio = after.value / before.value
        verdict = "same" if ratio == 1 else "smaller" if ratio < 1 else "larger"
        lines.append(
            Line(arm, key, before.value, after.value, ratio, math.nan, math.nan, None, verdict, False, "counted")
        )
    return lines


def _averaged(by_seed: BySeed) -> dict[str, float | None]:
    names = sorted({name for scores in by_seed.values() for name in scores})
    found = {name: [s[name] for s in by_seed.values() if s.get(name) is not None] for name in names}
    return {name: math.fsum(v for v in values if v is not None) / len(values) if values else None
            for name, values in found.items()}  # fmt: skip


def _mean(by_seed: BySeed) -> float:
    values = [value for scores in by_seed.values() for value in scores.values() if value is not None]
    return math.fsum(values) / len(values) if values else math.nan


def _empty(arm: str, metric: str, margin: float | None, verdict: str, gated: bool, note: str) -> Line:
    nan = math.nan
    return Line(arm, metric, nan, nan, nan, nan, nan, margin, verdict, gated, "", note)


def _few(names: Sequence[str], most: int = 6) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
