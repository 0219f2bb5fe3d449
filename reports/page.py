"""`report.html`: one file that needs nothing else, from disk or inside a sandboxed frame."""

import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from reports import listening
from reports.analysis import Analysis
from reports.columns import PRIMARY, Column
from reports.headline import FLATTERY, headline, is_short
from reports.svg import inline
from reports.tables import describe, param_keys

ENGINES = ("model", "dense", "kernel", "limit")
TEMPLATES = Path(__file__).parent / "templates"

CAPTIONS = {
    "quality_vs_rtf": (
        "Quality against speed",
        "Each point is an arm, drawn by its paired difference to dense-continued (star, dashed line); bars are 95 % "
        "intervals, the grey band is the non-inferiority margin. Better is down and to the left for NLL, up and to the "
        "left for PESQ. Hollow points have no stable timing.",
    ),
    "sparsity_vs_speedup": (
        "Where sparsity pays",
        "Speed-up of the whole path over the dense engine. A structure pays where its line is above the dashed one.",
    ),
    "learning_curves": ("Learning curves", "Validation NLL and sparsity over training; bands span the seeds."),
    "masks": (
        "Masks",
        "Blue weights stay. Gates of the recurrent matrix (output rows by input columns), then a corner enlarged with "
        "the grid of the pruning tile.",
    ),
    "spectrograms": ("Spectrograms", "One utterance, all systems on the same axes and the same level scale."),
}


@dataclass(frozen=True)
class Cell:
    """One cell of the main table; `sort` orders the column."""

    text: str
    interval: str = ""
    note: str = ""
    bold: bool = False
    sort: float = math.nan


def render(analysis: Analysis, figures: Mapping[str, Path]) -> str:
    """The page as text.

    Parameters
    ----------
    figures : SVG file of each figure by name
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    rows, dropped = listening.rows(analysis)
    titles = {number: _tooltip(analysis, arm) for number, arm in enumerate(analysis.arms)}
    drawn = [
        {"name": name, "title": CAPTIONS[name][0], "caption": CAPTIONS[name][1],
         "svg": inline(path.read_text(encoding="utf-8"), name, CAPTIONS[name][0], titles)}
        for name, path in figures.items()
    ]  # fmt: skip
    return environment.get_template("report.html.j2").render(
        study=analysis.study,
        css=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
        js=Markup((TEMPLATES / "report.js").read_text(encoding="utf-8")),
        short=is_short(analysis),
        sentences=headline(analysis),
        flattery=FLATTERY,
        headings=_headings(analysis),
        rows=[_row(analysis, arm) for arm in (*analysis.arms, *analysis.references)],
        columns=analysis.columns,
        margins=[(key.removeprefix("quality."), value) for key, value in analysis.margins.items()],
        figures=drawn,
        listening=rows,
        dropped=dropped,
        timing=_timing(analysis),
        engines=ENGINES,
        provenance=_provenance(analysis),
        trials=analysis.study.trials.sort_values(["number", "arm"]).to_dict("records"),
        command=f"lanewise report {shlex.quote(_path_words(analysis.study.root))}",
    )


def _headings(analysis: Analysis) -> list[dict[str, str]]:
    headings = []
    for column in analysis.columns:
        headings.append({"label": f"{column.label} {column.arrow}".rstrip(), "help": column.help})
        if column.key == PRIMARY:
            words = "Paired difference to dense-continued with its 95 % interval and the verdict against the margin."
            headings.append({"label": "Δ NLL to dense-continued", "help": words})
    return headings


def _row(analysis: Analysis, arm: str) -> dict[str, Any]:
    cells = []
    for column in analysis.columns:
        cells.append(_cell(analysis, arm, column))
        if column.key == PRIMARY:
            delta = analysis.differences.get((arm, PRIMARY))
            value, interval, verdict = describe(delta, column)
            cells.append(Cell(value, interval, verdict, sort=delta.value if delta else math.nan))
    kind = "arm" if arm in analysis.arms else "reference"
    return {"arm": arm, "kind": kind, "setting": _setting(analysis, arm) if kind == "arm" else "", "cells": cells}


def _cell(analysis: Analysis, arm: str, column: Column) -> Cell:
    found = analysis.estimates.get((arm, column.key))
    if found is None:
        return Cell("–")
    known = not math.isnan(found.ci_low) and found.ci_low != found.ci_high
    interval = f"[{column.show(found.ci_low)}, {column.show(found.ci_high)}]" if known else ""
    notes = []
    if found.n_failed:
        notes.append(f"{found.n_failed} missing")
    if column.key.startswith("speed.") and arm in analysis.unstable and not math.isnan(found.value):
        notes.append("not stable")
    bold = arm in analysis.marked.get(column.key, frozenset())
    return Cell(column.show(found.value), interval, ", ".join(notes), bold, found.value)


def _setting(analysis: Analysis, arm: str) -> str:
    """What makes the arm, in a few words below its name."""
    words = []
    if analysis.is_pruned(arm):
        words.append(f"tile {analysis.param(arm, 'prune.tile')}, sparsity {analysis.param(arm, 'prune.sparsity'):g}")
    if analysis.param(arm, "reg.kind") not in (None, "none"):
        words.append(f"{analysis.param(arm, 'reg.kind')} on {analysis.param(arm, 'reg.tile')}")
    seeds = len(analysis.study.of_arm(arm))
    words.append(f"{seeds} seed{'s' if seeds > 1 else ''}")
    return "; ".join(words)


def _tooltip(analysis: Analysis, arm: str) -> str:
    lines = [arm]
    for column in analysis.columns:
        if column.key in (PRIMARY, "quality.pesq_wb", "speed.rtf", "speed.vs_dense", "sparsity.achieved"):
            lines.append(f"{column.label}: {column.show(analysis.value(arm, column.key))}")
    for key in param_keys(analysis):
        value = analysis.param(arm, key)
        if value is not None:
            lines.append(f"{key} = {value}")
    return "\n".join(lines)


def _timing(analysis: Analysis) -> list[dict[str, Any]]:
    """One row per trial: the verdict in words, the samples behind the figure, the host."""
    timing, parts = analysis.study.timing, analysis.study.parts
    samples_of: dict[tuple[str, str], dict[str, str]] = {}
    for (arm, seed, engine), us in timing.groupby(["arm", "seed", "engine"])["sample_us"]:
        low, middle, high = np.quantile(us.to_numpy(dtype=np.float64), [0.05, 0.5, 0.95])
        words = f"{middle:.2f} ({low:.2f} to {high:.2f}), n = {len(us)}"
        samples_of.setdefault((str(arm), str(seed)), {})[str(engine)] = words
    parts_of: dict[tuple[str, str], list[str]] = {}
    for part in parts.to_dict("records"):
        words = f"{part['part']} {part['us_per_step']:.2f}"
        parts_of.setdefault((part["arm"], part["seed"]), []).append(words)
    rows = []
    for trial in analysis.study.trials.to_dict("records"):
        key = (trial["arm"], trial["seed"])
        samples = dict.fromkeys(ENGINES, "–") | samples_of.get(key, {})
        rows.append(
            {
                "arm": trial["arm"],
                "seed": trial["seed"],
                "verdict": _timing_words(trial),
                "isa": _words(trial["timing.isa"]),
                "cpu": _words(trial["timing.cpu"]),
                "ghz": _words(trial["timing.nominal_ghz"]),
                "rejected": _words(trial["timing.rejected"]),
                "pinned": _words(trial["timing.pinned"]),
                "samples": samples,
                "parts": ", ".join(parts_of.get(key, [])),
            }
        )
    return rows


def _timing_words(trial: Mapping[Any, Any]) -> str:
    """The verdict, and why it is not better."""
    verdict, why = _words(trial["timing.verdict"]), _words(trial["timing.why"])
    if not verdict:
        verdict, why = "not timed", _words(trial.get("reason.speed.rtf"))
    return f"{verdict}: {why}" if why else verdict


def _words(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _provenance(analysis: Analysis) -> list[tuple[str, str]]:
    """What made the study: its file's own words, then every tag that trials share (at most three values)."""
    trials, about = analysis.study.trials, analysis.study.about
    found = [(key, str(about[key])) for key in ("name", "about") if about.get(key)]
    for key in sorted(column for column in trials.columns if str(column).startswith("lanewise.")):
        values = sorted({_words(value) for value in trials[key]} - {""})
        if 0 < len(values) <= 3:
            found.append((key, ", ".join(values)))
    return found


def _path_words(root: Path) -> str:
    """The study's path as one would type it here."""
    absolute = root.resolve()
    here = Path.cwd().resolve()
    return absolute.relative_to(here).as_posix() if absolute.is_relative_to(here) else absolute.as_posix()
