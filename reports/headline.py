"""The verdict in words, made from the data and from nothing else. Pure."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from reports import scaling
from reports.analysis import Analysis
from reports.columns import NOT_DEPLOYABLE, Column, quality_columns
from reports.compare import Difference, difference, not_shown_worse
from reports.loader import BASELINE
from reports.needed import MOST_SEEDS, more_seeds
from reports.speed import told_apart

RTF, VS_DENSE = "speed.rtf", "speed.vs_dense"
DEMO = "demo"
SHORT_STEPS = 1000  # measured: recoveries of a few hundred steps separate structures but are far from converged
MOST_STEPS = 12
CONTROLS = ("small-dense", "random")
_INDISTINCT = ", which are not distinguishable (the intervals of their RTF ratios hold 1)"


@dataclass(frozen=True)
class Sentence:
    """One statement; `kind` is verdict, detail, caution, control, scaling, open, missing or context."""

    kind: str
    text: str


@lru_cache(maxsize=8)
def headline(analysis: Analysis) -> tuple[Sentence, ...]:
    """Sentences in the order of reading; the first is the verdict."""
    return (
        *_verdict(analysis),
        *_short(analysis),
        *_controls(analysis),
        *_memory(analysis),
        *_scaling(analysis),
        *_open(analysis),
        *_missing(analysis),
        Sentence("context", _context(analysis)),
    )


def is_short(analysis: Analysis) -> bool:
    """Whether the study is the demonstration, or trained its arms too briefly to be a finding."""
    steps = _steps(analysis)
    return analysis.study.name == DEMO or (bool(steps) and max(steps) < SHORT_STEPS)


def _steps(analysis: Analysis) -> list[int]:
    trials = analysis.study.trials
    return sorted({int(steps) for steps in trials["train.steps"].dropna()}) if "train.steps" in trials else []


def _verdict(analysis: Analysis) -> Iterator[Sentence]:
    pruned = [arm for arm in analysis.arms if analysis.is_pruned(arm)]
    if BASELINE not in analysis.arms:
        yield Sentence("verdict", _no_baseline(analysis))
        return
    if not pruned:
        yield Sentence("verdict", "No verdict: no pruned arm finished.")
        return
    margin, unit = analysis.margins[analysis.primary], analysis.task.unit
    level = [arm for arm in pruned if _difference(analysis, arm).verdict in ("better", "non-inferior")]
    told = _fastest(analysis, level)
    if told:
        better = all(_difference(analysis, arm).verdict == "better" for arm in told)
        relation = "better than" if better else f"non-inferior to (within {margin:g} {unit} of)"
        one = len(told) == 1
        text = f"The fastest pruned {'arm that is' if one else 'arms that are'} {relation} {BASELINE} "
        yield Sentence("verdict", text + (f"is {told[0]}." if one else f"are {_listed(told)}{_INDISTINCT}."))
        yield from (Sentence("detail", f"{arm}: {_figures(analysis, arm)}.") for arm in told)
        if not one:
            yield Sentence("detail", _best_of_equals(analysis, told))
    elif level:
        text = (
            f"Non-inferior to {BASELINE} within {margin:g} {unit}: {_listed(level)}. Without a stable RTF none of them "
        )
        yield Sentence("verdict", text + "can be called fastest.")
    else:
        yield Sentence("verdict", f"No pruned arm was shown to be non-inferior to {BASELINE} within {margin:g} {unit}.")
        known = [arm for arm in pruned if not math.isnan(_difference(analysis, arm).value)]
        if known:
            least = max(known, key=lambda arm: analysis.task.sign * _difference(analysis, arm).value)
            told = [least]
            equals = _not_shown_worse(analysis, least, known)
            text = f", not shown to differ from that of {_listed(equals)}" if equals else ""
            yield Sentence("detail", f"The smallest loss was {least}'s{text}: {_figures(analysis, least)}.")
    fast = _fastest(analysis, pruned)
    if fast and fast[0] not in told:
        named = f"was {fast[0]}" if len(fast) == 1 else f"were {_listed(fast)}{_INDISTINCT}; {fast[0]}"
        yield Sentence("detail", f"The fastest of all pruned arms {named}: {_figures(analysis, fast[0])}.")


def _no_baseline(analysis: Analysis) -> str:
    """Why nothing can be compared, and which arm would mend that."""
    ended = [
        f"trial {item.trial} {item.state}: {item.reason}" for item in analysis.study.left_out if item.arm == BASELINE
    ]
    if ended:
        why = "; ".join(ended)
        return f"No verdict: the baseline {BASELINE} did not finish ({why}), so no difference can be stated."
    text = (
        f"No verdict, because there is no baseline: the study has no arm {BASELINE} (the dense model trained on for "
        f"exactly the arms' steps), so no difference can be stated. Add `{BASELINE}: {{}}` to the `arms:` of the study "
        "file, or set `baselines: true`, and run it under another name."
    )
    dense = [arm for arm in analysis.arms if not analysis.is_pruned(arm) and not arm.startswith(CONTROLS)]
    dense = [arm for arm in dense if analysis.param(arm, "reg.kind") in (None, "none")]
    return text + (f" If {' or '.join(dense)} is that model, give it this name." if dense else "")


def _fastest(analysis: Analysis, arms: list[str]) -> list[str]:
    """The arm of the lowest stable RTF, then every other whose RTF its interval does not tell apart from it."""
    timed = [arm for arm in arms if arm not in analysis.unstable and not math.isnan(analysis.value(arm, RTF))]
    if not timed:
        return []
    timed.sort(key=lambda arm: analysis.value(arm, RTF))
    best = analysis.estimates[timed[0], RTF]
    return [timed[0], *(arm for arm in timed[1:] if not told_apart(best, analysis.estimates[arm, RTF]))]


def _best_of_equals(analysis: Analysis, arms: list[str]) -> str:
    """What the primary metric says of arms that speed does not tell apart."""
    task = analysis.task
    best = max(arms, key=lambda arm: task.sign * analysis.value(arm, task.primary))
    equals = _not_shown_worse(analysis, best, arms)
    if equals:
        named = _listed(equals)
        return (
            f"Nor is the {task.word} of {best} shown to differ from that of {named}: the study names no best of them."
        )
    return f"Of these {best} has the {task.best} {task.word}."


def _not_shown_worse(analysis: Analysis, best: str, arms: list[str]) -> list[str]:
    """Those of `arms` whose primary metric is not shown to be worse than that of `best`."""
    column = analysis.column(analysis.primary)
    assert column is not None, "a study always has its primary metric as a column"
    return [delta.arm for delta in not_shown_worse(analysis.scores, arms, best, column)]


def _figures(analysis: Analysis, arm: str) -> str:
    return f"{_speed(analysis, arm)}; {_loss(analysis, _difference(analysis, arm))}"


def _short(analysis: Analysis) -> Iterator[Sentence]:
    if is_short(analysis):
        steps = _steps(analysis)
        budget = " to ".join(f"{n:,}" for n in sorted({*steps[:1], *steps[-1:]})) or "few"
        text = f"This study is short: its arms were trained for {budget} steps. " + (
            "It shows that the path works, not which structure is best; studies/paper.yaml is the real test."
            if analysis.task.name == "vocoder"
            else "What pruning costs falls with more of them (train.steps)."
        )
        yield Sentence("caution", text)


def _controls(analysis: Analysis) -> Iterator[Sentence]:
    """The pruned arm with the best primary metric against the controls that any structure has to beat."""
    task, column = analysis.task, analysis.column(analysis.primary)
    controls = [arm for arm in analysis.arms if arm.startswith(CONTROLS)]
    pruned = [arm for arm in analysis.arms if analysis.is_pruned(arm) and arm not in controls]
    pruned = [arm for arm in pruned if not math.isnan(analysis.value(arm, task.primary))]
    if column is None or not pruned:
        return
    best = pruned[0]
    words = []
    for control in controls:
        found = difference(analysis.scores, best, control, column)
        better, worse = ("higher", "lower") if task.higher else ("lower", "higher")
        words_of = {"better": f"{better} than", "worse": f"{worse} than"}
        called = words_of.get(found.verdict, "not shown to differ from")
        words.append(f"{called} that of {control} ({_interval(found)})")
    rivals = _not_shown_worse(analysis, best, pruned)
    text = f"Of the pruned arms {best} has the {task.best} {task.word}"
    text += f", not shown to differ from {_listed(rivals)}" if rivals else ""
    yield Sentence(
        "control", text + (f". Against the controls its {task.word} is {'; '.join(words)}." if words else ".")
    )


def _memory(analysis: Analysis) -> Iterator[Sentence]:
    """The gain over the input, and the smallest file at which the sound is on a par."""
    gain = analysis.estimates.get((BASELINE, f"quality.gain.{analysis.primary.removeprefix('quality.')}"))
    if gain is not None and gain.n:
        between = "" if math.isnan(gain.ci_low) else f" (95 % interval {gain.ci_low:+.2f} to {gain.ci_high:+.2f})"
        text = (
            f"{BASELINE} changes the {analysis.task.word} of its noisy input by {gain.value:+.2f} {analysis.task.unit}"
        )
        yield Sentence("detail", f"{text}{between}.")
    pruned = {arm: smallest(analysis, arm) for arm in analysis.arms if analysis.is_pruned(arm)}
    found = {arm: size for arm, size in pruned.items() if size is not None}
    level = [
        arm for arm in found
        if BASELINE in analysis.arms and _difference(analysis, arm).verdict in ("better", "non-inferior")
    ]  # fmt: skip
    if not level:
        return
    arm = min(level, key=lambda arm: found[arm][0])
    size, column = found[arm]
    whole = analysis.value(arm, "size.f32_bytes")
    whole = analysis.value(BASELINE, "size.bytes") if math.isnan(whole) else whole
    times = "" if math.isnan(whole) else f", {whole / size:.1f} times smaller than dense in f32"
    yield Sentence("detail", f"The smallest file that is non-inferior is {arm}'s: {size / 1e3:.1f} kB as "
                             f"{column.label.removesuffix(', kB')}{times}.")  # fmt: skip


def smallest(analysis: Analysis, arm: str) -> tuple[float, Column] | None:
    """An arm's smallest deployable size in bytes and the column that it is in; None where none is known.

    Not that of a vocoder's int8 form: the arm's verdict is that of the form it was scored in.
    """
    left_out = (*NOT_DEPLOYABLE, "size.bytes_int8")
    sizes = [c for c in analysis.columns if c.key.startswith("size.") and c.key not in left_out]
    known = [(analysis.value(arm, c.key), c) for c in sizes if not math.isnan(analysis.value(arm, c.key))]
    return min(known, key=lambda pair: pair[0], default=None)


def _scaling(analysis: Analysis) -> Iterator[Sentence]:
    steps = scaling.steps(analysis, MOST_STEPS).to_dict("records")
    if steps:
        unit = analysis.task.unit
        told = [
            f"{row['family']}, {row['from']:.0%} to {row['to']:.0%}: {row['cost']:+.3f} {unit} "
            f"({row['low']:+.3f} to {row['high']:+.3f})"
            for row in steps
        ]
        yield Sentence("scaling", f"A further tenth of sparsity costs: {'; '.join(told)}.")
    predicted = scaling.predictions(analysis)
    if not predicted.empty:
        near = predicted[(predicted["ratio"] - 1).abs() <= scaling.WITHIN]
        rest = [f"{row['arm']} ({row['ratio']:.2f})" for row in predicted.drop(near.index).to_dict("records")]
        share = f"{len(near)} of {len(predicted)} arms"
        text = f"The read limit predicts the RTF of {share} within {scaling.WITHIN:.0%}"
        yield Sentence(
            "scaling", text + (f"; predicted over measured of the others: {_listed(rest)}." if rest else ".")
        )


def _open(analysis: Analysis) -> Iterator[Sentence]:
    if BASELINE not in analysis.arms:
        return
    word = analysis.task.word
    primary = [d for (_, key), d in analysis.differences.items() if key == analysis.primary]
    unshown = [d.arm for d in primary if not d.significant and not d.reason]
    if unshown:
        yield Sentence("open", f"Not significant: the {word} of {_listed(unshown)} against {BASELINE}.")
    undecided = [d.arm for d in primary if d.significant and d.verdict == "open"]
    if undecided:
        text = f"{_listed(undecided)}: {word} worse than {BASELINE}, but not shown to be worse by more than the margin."
        yield Sentence("open", text)
    for found in primary:
        if found.reason:
            yield Sentence("open", f"{found.arm}: no {word} difference can be called ({found.reason}).")
    needed = [f"{d.arm} {_seeds(more_seeds(d, analysis.task.sign))}" for d in primary if d.verdict == "open"]
    if needed:
        text = f"More seeds that it takes to decide, should mean and spread stay as they are: {_listed(needed)}."
        yield Sentence("open", text)
    others = [d for (_, key), d in analysis.differences.items() if key != analysis.primary and not d.reason]
    if others:
        called = sum(d.significant for d in others)
        text = f"Of {len(others)} differences in the other metrics {called} are significant, without any correction "
        yield Sentence("open", text + "for testing many.")


def _seeds(more: int | None) -> str:
    return f"more than {MOST_SEEDS}, or not known" if more is None else str(more)


def _missing(analysis: Analysis) -> Iterator[Sentence]:
    left_out = analysis.study.left_out
    if left_out:
        named = _listed([f"trial {item.trial} ({item.arm}, {item.state})" for item in left_out])
        yield Sentence("missing", f"{len(left_out)} of {len(left_out) + len(analysis.study.trials)} trials are "
                                  f"left out: {named}.")  # fmt: skip
    not_run = analysis.study.not_run
    if not_run:
        named = _listed([f"{arm} (seeds {', '.join(seeds)})" for arm, seeds in not_run.items()], 30)
        yield Sentence("missing", f"Not run: {named}.")
    unstable = [arm for arm in analysis.arms if arm in analysis.unstable]
    if unstable:
        yield Sentence("missing", f"No stable timing: {_listed(unstable)}; read their speed with care.")
    scored = [column.key for column in quality_columns(analysis.task)]  # none of another number format
    failed = {arm: n for arm in analysis.arms if (n := _failed_scores(analysis, arm, scored))}
    if failed:
        counts = _listed([f"{arm} ({n})" for arm, n in failed.items()])
        yield Sentence("missing", f"Scores missing: {counts}; their pairs are dropped, not counted as zero.")
    unmeasured = {key.removeprefix("quality."): why for key, why in analysis.unmeasured.items() if ".gain." not in key}
    if unmeasured:
        named = _listed([f"{name} ({why})" for name, why in unmeasured.items()])
        yield Sentence("missing", f"Not measured: {named}.")
    for key, what in (("timing.cpu", "CPUs"), ("timing.isa", "ISAs")):
        different = sorted({str(value) for value in analysis.study.trials[key].dropna()})
        if len(different) > 1:
            text = f"Timed on different {what} ({_listed(different)}): compare speed-ups to dense, not RTFs."
            yield Sentence("missing", text)


def _failed_scores(analysis: Analysis, arm: str, keys: list[str]) -> int:
    return sum(analysis.estimates[arm, key].n_failed for key in keys if (arm, key) in analysis.estimates)


def _context(analysis: Analysis) -> str:
    trials = analysis.study.trials
    n_utterances = analysis.study.utterances["utterance"].nunique()
    seeds = max(len(analysis.study.cells(arm, "seed")) for arm in analysis.arms)
    hosts = _listed(sorted({str(cpu) for cpu in trials["timing.cpu"].dropna()})) or "host not recorded"
    isas = _listed(sorted({str(isa) for isa in trials["timing.isa"].dropna()}))
    dates = sorted(str(ended)[:10] for ended in trials["ended"].dropna())
    date = "date not recorded" if not dates else dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
    seed_words = "1 seed: every interval speaks of this model only" if seeds == 1 else f"up to {seeds} seeds an arm"
    parts = [hosts + (f" ({isas})" if isas else ""), date, f"{n_utterances} test utterances", seed_words]
    return "; ".join(parts) + "."


def _difference(analysis: Analysis, arm: str) -> Difference:
    return analysis.differences[arm, analysis.primary]


def _speed(analysis: Analysis, arm: str) -> str:
    rtf = analysis.estimates[arm, RTF]
    if math.isnan(rtf.value):
        return "RTF not measured"
    known = not math.isnan(rtf.ci_low)
    digits = 4 if rtf.value >= 0.001 else 6
    between = f" (95 % interval {rtf.ci_low:.{digits}f} to {rtf.ci_high:.{digits}f})" if known else ""
    text = f"RTF {rtf.value:.{digits}f}{between}"
    ratio = analysis.estimates[arm, VS_DENSE]
    if not math.isnan(ratio.value):
        basis = f"; {ratio.basis}" if ratio.basis else ""
        between = f" (95 % interval {ratio.ci_low:.2f} to {ratio.ci_high:.2f}{basis})"
        between = "" if math.isnan(ratio.ci_low) else between
        text += f", {ratio.value:.2f} times the speed of the dense engine{between}"
    return text + (", timing not stable" if arm in analysis.unstable else ", timing stable")


def _loss(analysis: Analysis, found: Difference) -> str:
    task = analysis.task
    if math.isnan(found.value):
        return f"no {task.word} difference ({found.reason})"
    if found.reason:
        return f"{task.word} difference {found.value:+.3f} {task.unit}, not called ({found.reason})"
    return f"{task.word} {found.value:+.3f} {task.unit} ({_interval(found)}; {found.basis})"


def _interval(found: Difference) -> str:
    return found.reason or f"95 % interval {found.ci_low:+.3f} to {found.ci_high:+.3f}"


def _listed(names: list[str], most: int = 12) -> str:
    """Names as an enumeration, cut after `most` with the rest counted."""
    if len(names) > most:
        return ", ".join(names[:most]) + f" and {len(names) - most} more"
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else "".join(names)
