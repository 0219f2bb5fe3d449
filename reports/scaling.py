"""Scaling: quality against non-zero weights, the cost of a tenth of sparsity, and the RTF that bytes predict. Pure.

The prediction is the read-limit model: the time to read the bytes that are left of the recurrent matrix, measured with
every arm, plus what a step takes besides. That grows with the matrix, which pushes tables and heads out of the cache: a
line over the time to read, one for all arms of a network in one number format (Theil-Sen, which single arms do not
bend). It is right where a kernel runs at its limit. (What surrounds the GRU from the dense arm and the gates from the
pruned ones, or the median of all, was up to 20 % too slow for the sparsest arms.)
"""

import itertools
import math
from functools import lru_cache

import pandas as pd
from scipy.stats import theilslopes

from reports.analysis import Analysis
from reports.compare import differences

NONZEROS, RTF, KERNEL = "size.nonzeros", "speed.rtf", "speed.kernel_us"
SPARSITY = "prune.sparsity"
DENSE = "dense"
_MAKE_AN_ARM = ("reg.", "prune.", "quant.", "recover.", "pack.", "train.", "model.")
WITHIN = 0.15
"""How far a predicted RTF may be from the measured one to be called right."""


def families(analysis: Analysis) -> dict[str, str]:
    """By arm: a name shared with those that differ from it in sparsity alone (dense ones: in the network's size)."""
    names: dict[tuple[str, ...], str] = {}
    found = {}
    keys = sorted(str(key) for key in analysis.study.trials.columns if str(key).startswith(_MAKE_AN_ARM))
    for arm in analysis.arms:
        settings, words = _settings(analysis, arm, keys), _words(analysis, arm)
        if settings not in names:  # alike in what the words tell, different in what they leave out
            names[settings] = words if words not in names.values() else f"{words} ({arm})"
        found[arm] = names[settings]
    return found


def _settings(analysis: Analysis, arm: str, keys: list[str]) -> tuple[str, ...]:
    """Everything that makes an arm, but for its sparsity and what follows from it."""
    aside = () if analysis.is_pruned(arm) else ("model.",)
    values = {key: analysis.param(arm, key) for key in keys if key != SPARSITY and not key.startswith(aside)}
    sparsity, target = analysis.param(arm, SPARSITY), values.get("reg.target")
    if sparsity is not None and target is not None and math.isclose(target, sparsity / 2):  # its default
        del values["reg.target"]
    return tuple(f"{key}={value}" for key, value in values.items())


def _words(analysis: Analysis, arm: str) -> str:
    keys = ("reg.kind", "reg.tile", "prune.kind", "prune.tile", "prune.schedule", "pack.format")
    reg, reg_tile, prune, tile, schedule, number_format = (analysis.param(arm, key) for key in keys)
    words = [f"{analysis.param(arm, 'model.hidden')} units, {tile}" if analysis.is_pruned(arm) else DENSE]
    if analysis.is_pruned(arm):
        words += [str(prune)] * (prune != "magnitude")
        words += [str(schedule)] * (schedule not in (None, "cubic"))
        if reg not in (None, "none"):
            words.append(str(reg) if reg_tile in (None, tile) else f"{reg} {reg_tile}")
    return ", ".join(words + [str(number_format)] * (number_format not in (None, "f32")))


@lru_cache(maxsize=8)
def sizes(analysis: Analysis) -> pd.DataFrame:
    """Quality over non-zero weights.

    Columns: `arm`, `family`, `sparsity`, `nonzeros`, `value`, `low`, `high` (of the primary metric's paired difference
    to dense-continued), within a family by non-zeros. Arms that lack either figure are left out.
    """
    names, rows = families(analysis), []
    for arm in analysis.arms:
        found = analysis.differences.get((arm, analysis.primary))
        at_baseline = found is None and arm == analysis.arms[0]
        value, low, high = (0.0, 0.0, 0.0) if found is None else (found.value, found.ci_low, found.ci_high)
        nonzeros = analysis.value(arm, NONZEROS)
        if (found is None and not at_baseline) or math.isnan(value) or math.isnan(nonzeros):
            continue
        sparsity = float(analysis.param(arm, SPARSITY) or 0)
        rows.append((arm, names[arm], sparsity, nonzeros, value, low, high))
    data = pd.DataFrame(rows, columns=["arm", "family", "sparsity", "nonzeros", "value", "low", "high"])
    return data.sort_values(["family", "nonzeros"], kind="stable", ignore_index=True)


def steps(analysis: Analysis, most: int | None = None) -> pd.DataFrame:
    """What going from one sparsity to the next costs, per tenth, within each family of pruned arms; the first `most`.

    Columns: `family`, `from`, `to` (sparsities), `cost`, `low`, `high`: the paired difference of the primary metric
    (positive: worse) for each 0.1 of sparsity.
    """
    column = analysis.column(analysis.primary)
    rows: list[tuple[object, ...]] = []
    for name, group in sizes(analysis).groupby("family"):
        ordered = group[group["sparsity"] > 0].sort_values("sparsity").to_dict("records")
        for less, more in itertools.pairwise(ordered):
            if column is None or more["sparsity"] <= less["sparsity"] or len(rows) == most:
                continue
            found = differences(analysis.scores, [more["arm"]], less["arm"], column)[0]
            tenths = 10 * (more["sparsity"] - less["sparsity"])
            costs = sorted(-column.sign * value / tenths for value in (found.ci_low, found.ci_high))
            rows.append((name, less["sparsity"], more["sparsity"], -column.sign * found.value / tenths, *costs))
    return pd.DataFrame(rows, columns=["family", "from", "to", "cost", "low", "high"])


@lru_cache(maxsize=8)
def predictions(analysis: Analysis) -> pd.DataFrame:
    """The RTF that the read-limit model predicts beside the measured one.

    Columns: `arm`, `rtf`, `predicted`, `ratio` (predicted over measured), `stable`; one row for each arm that was timed
    with its recurrent product and shares its size and number format with two others at least.
    """
    alike: dict[tuple[str, str], list[str]] = {}
    steps_us: dict[str, float] = {}
    for arm in analysis.arms:
        parts = analysis.study.parts_of.get(arm, {})
        if "gru" in parts and not math.isnan(analysis.value(arm, KERNEL)):
            key = str(analysis.param(arm, "model.hidden")), str(analysis.param(arm, "pack.format"))
            alike.setdefault(key, []).append(arm)
            steps_us[arm] = math.fsum(parts.values())
    rows = []
    for arms in alike.values():
        limits = {arm: analysis.value(arm, KERNEL) * analysis.value(arm, "speed.vs_limit") for arm in arms}
        limits = {arm: limit for arm, limit in limits.items() if not math.isnan(limit)}
        if len(set(limits.values())) < 3:
            continue
        besides = [steps_us[arm] - analysis.value(arm, KERNEL) for arm in limits]
        line = theilslopes(besides, list(limits.values()))
        for arm, limit in limits.items():
            ratio = (line.intercept + line.slope * limit + limit) / steps_us[arm]
            rtf = analysis.value(arm, RTF)
            rows.append((arm, rtf, ratio * rtf, ratio, arm not in analysis.unstable))
    data = pd.DataFrame(rows, columns=["arm", "rtf", "predicted", "ratio", "stable"])
    return data.dropna(subset="ratio", ignore_index=True)
