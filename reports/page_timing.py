"""The page's appendices: how every figure was timed, and what made the study."""

import math
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reports.analysis import Analysis

ENGINES = ("model", "dense", "kernel", "limit")
STRIP_BELOW, STRIP_ABOVE = 0.01, 0.04


def timing_rows(analysis: Analysis) -> list[dict[str, Any]]:
    """One row per trial: the verdict in words, the samples behind the figure, the host."""
    parts = analysis.study.parts
    samples_of: dict[tuple[str, str], dict[str, str]] = {}
    for (arm, seed, engine), us in analysis.study.samples.items():  # sorted: quantiles are read off, which is fast
        low, middle, high = np.interp(np.array([0.05, 0.5, 0.95]) * (len(us) - 1), np.arange(len(us)), us)
        words = f"{middle:.2f} ({low:.2f} to {high:.2f}), n = {len(us)}"
        samples_of.setdefault((arm, seed), {})[engine] = words
    parts_of: dict[tuple[str, str], list[str]] = {}
    for part in parts.to_dict("records"):
        words = f"{part['part']} {part['us_per_step']:.2f}"
        parts_of.setdefault((part["arm"], part["seed"]), []).append(words)
    strips = {(arm, seed): strip(us) for (arm, seed, engine), us in analysis.study.samples.items() if engine == "model"}
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
                "strip": strips.get(key, ""),
                "parts": ", ".join(parts_of.get(key, [])),
            }
        )
    return rows


def strip(samples: NDArray[np.float64]) -> str:
    """SVG path data: a stroke per sample, 100 wide, from 1 % below the median to 4 % above it; what is beyond, at the
    edges."""
    middle = float(np.median(samples))
    places = np.clip((samples / middle - 1 + STRIP_BELOW) / (STRIP_BELOW + STRIP_ABOVE), 0, 1) * 100
    return "".join(f"M{place:.1f} 2v10" for place in places.tolist())


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


def provenance(analysis: Analysis) -> list[tuple[str, str]]:
    """What made the study: its file's own words, then every tag that trials share (at most three values)."""
    trials, about = analysis.study.trials, analysis.study.about
    found = [(key, str(about[key])) for key in ("name", "about") if about.get(key)]
    for key in sorted(column for column in trials.columns if str(column).startswith("lanewise.")):
        values = sorted({_words(value) for value in trials[key]} - {""})
        if 0 < len(values) <= 3:
            found.append((key, ", ".join(values)))
    return found


def command(analysis: Analysis) -> str:
    """The one command that makes this page again."""
    return f"lanewise report {shlex.quote(_path_words(analysis.study.root))}"


def _path_words(root: Path) -> str:
    """The study's path as one would type it here."""
    absolute = root.resolve()
    here = Path.cwd().resolve()
    return absolute.relative_to(here).as_posix() if absolute.is_relative_to(here) else absolute.as_posix()
