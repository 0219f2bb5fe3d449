"""The page's appendices: how every figure was timed, and what made the study."""

import math
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from reports.analysis import Analysis

ENGINES = ("model", "dense", "kernel", "limit")


def timing_rows(analysis: Analysis) -> list[dict[str, Any]]:
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
