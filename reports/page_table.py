"""The page's main table: one row per arm and reference, cells with interval, note and sorting value."""

import math
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from reports.analysis import Analysis
from reports.columns import Column
from reports.figures.fronts import RTF, size_key
from reports.pareto import FRONTIER, front
from reports.tables import describe


@dataclass(frozen=True)
class Cell:
    """One cell of the main table; `sort` orders the column, `text` and `interval` are numbers as they are printed."""

    text: str
    interval: str = ""
    note: str = ""
    bold: bool = False
    sort: float = math.nan
    minor: bool = False

    @property
    def html(self) -> Markup:
        """The cell as HTML; a template takes seconds for the forty thousand cells of two thousand arms."""
        found = f'<td data-sort="{self.sort}"' + (' class="minor"' if self.minor else "")
        found += f'><span class="{"best" if self.bold else ""}">{self.text}</span>'
        found += f"<small>{self.interval}</small>" if self.interval else ""
        if self.note:
            found += f'<small class="note {escape(self.note.split(" ")[0])}">{escape(self.note)}</small>'
        return Markup(found + "</td>")


def headings(analysis: Analysis) -> list[dict[str, Any]]:
    """Label, explanation and rank (minor or not) of each column."""
    found: list[dict[str, Any]] = []
    for column in analysis.columns:
        label = f"{column.label} {column.arrow}".rstrip()
        found.append({"label": label, "help": column.help, "minor": column.minor})
        if column.key == analysis.primary:
            words = "Paired difference to dense-continued with its 95 % interval and the verdict against the margin."
            found.append({"label": analysis.task.delta, "help": words, "minor": False})
    for key, what in fronts_of(analysis):
        words = (
            f"Probability that the arm is Pareto-optimal in {analysis.task.word} against {what} (joint bootstrap): "
            "frontier from 95 %, dominated up to 5 %, ambiguous between."
        )
        found.append({"label": f"P(front), {what}", "help": f"{words} {key}", "minor": False})
    return found


def rows(analysis: Analysis) -> list[dict[str, Any]]:
    """One row per arm and reference: its name, setting and cells."""
    fronts = [front_of(analysis, key) for key, _ in fronts_of(analysis)]
    arms = [_row(analysis, arm, number, fronts) for number, arm in enumerate(analysis.arms)]
    return arms + [_row(analysis, name, None, fronts) for name in analysis.references]


def fronts_of(analysis: Analysis) -> list[tuple[str, str]]:
    """The costs against which the table says who is on the front, with what to call them."""
    keys = ((RTF, "RTF"), (size_key(analysis), "size"))
    return [(key, what) for key, what in keys if analysis.column(key) is not None]


def front_of(analysis: Analysis, key: str) -> dict[str, tuple[float, str]]:
    """Probability and verdict of each arm in the primary metric against `key`."""
    points = front(analysis, analysis.primary, key)
    return {
        str(arm): (float(probability), str(verdict))
        for arm, probability, verdict in zip(points["arm"], points["probability"], points["front"], strict=True)
    }


def _row(
    analysis: Analysis, arm: str, number: int | None, fronts: list[dict[str, tuple[float, str]]]
) -> dict[str, Any]:
    cells = []
    for column in analysis.columns:
        cells.append(_cell(analysis, arm, column))
        if column.key == analysis.primary:
            delta = analysis.differences.get((arm, analysis.primary))
            value, interval, verdict = describe(delta, column)
            cells.append(Cell(value, interval, verdict, sort=delta.value if delta else math.nan))
    for verdicts in fronts:
        probability, verdict = verdicts.get(arm, (math.nan, ""))
        text = "–" if math.isnan(probability) else f"{probability:.2f}"
        cells.append(Cell(text, "", verdict, verdict == FRONTIER, probability))
    kind, setting = ("reference", "") if number is None else ("arm", _setting(analysis, arm))
    return {"arm": arm, "number": number, "kind": kind, "setting": setting, "cells": cells}


def _cell(analysis: Analysis, arm: str, column: Column) -> Cell:
    found = analysis.estimates.get((arm, column.key))
    if found is None:
        return Cell("–", minor=column.minor)
    known = not math.isnan(found.ci_low) and found.ci_low != found.ci_high
    interval = f"[{column.show(found.ci_low)}, {column.show(found.ci_high)}]" if known else ""
    notes = []
    if found.n_failed:
        notes.append(f"{found.n_failed} missing")
    if column.key.startswith("speed.") and not analysis.is_timed(arm, column.key) and not math.isnan(found.value):
        notes.append("not stable")
    bold = arm in analysis.marked.get(column.key, frozenset())
    return Cell(column.show(found.value), interval, ", ".join(notes), bold, found.value, column.minor)


def _setting(analysis: Analysis, arm: str) -> str:
    """What makes the arm, in a few words below its name."""
    words = [units] if (units := analysis.units(arm)) else []
    if analysis.is_pruned(arm):
        words.append(f"tile {analysis.param(arm, 'prune.tile')}, sparsity {analysis.param(arm, 'prune.sparsity'):g}")
    if analysis.param(arm, "reg.kind") not in (None, "none"):
        words.append(f"{analysis.param(arm, 'reg.kind')} on {analysis.param(arm, 'reg.tile')}")
    if (form := analysis.param(arm, "pack.format")) not in (None, "f32"):
        words.append(str(form))
    seeds = len(analysis.study.cells(arm, "seed"))
    words.append(f"{seeds} seed{'s' if seeds > 1 else ''}")
    return "; ".join(words)
