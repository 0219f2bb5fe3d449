"""One side of a comparison: a study, a trial or a kept baseline, reduced to what is compared. Pure but for files."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.errors import LanewiseError, UsageError
from bench.trial.files import read_json, write_json
from reports.analysis import Analysis, analyse
from reports.compare import BySeed, Estimate
from reports.loader import load_study, load_trial

KEPT = 1
"""Version of the file that `keep` writes."""
COUNTED = ("size.bytes", "size.smallest")
SPEEDS = ("speed.rtf", "speed.vs_dense")


@dataclass(frozen=True)
class Side:
    """What a comparison reads.

    Attributes
    ----------
    name : how it was named
    task : of its records
    arms : names, in the report's order
    margins : metric key -> largest loss that still counts as on a par
    scores : arm -> quality metric key -> seed -> utterance -> score, None where missing
    figures : arm -> speed or size key -> estimate
    stable : arms whose timing the clock gate accepted
    hosts : CPU and ISA of each arm's timing
    """

    name: str
    task: str
    arms: tuple[str, ...]
    margins: Mapping[str, float]
    scores: Mapping[str, Mapping[str, BySeed]]
    figures: Mapping[str, Mapping[str, Estimate]]
    stable: tuple[str, ...]
    hosts: Mapping[str, str]


def read_side(given: str, runs: Path) -> Side:
    """Read what a person named: a study's or a trial's directory, a name below `runs`, or a kept baseline's file.

    Raises
    ------
    UsageError
        It is none of these.
    LanewiseError
        It cannot be read, or nothing in it finished.
    """
    for path in (Path(given), runs / given):
        if path.is_file() and path.name != "record.json":
            return _kept(path)
        folder = path.parent if path.is_file() else path
        if (folder / "record.json").is_file():
            return _side(analyse(load_trial(folder)), given)
        if folder.is_dir():
            return _side(analyse(load_study(folder)), given)
    raise UsageError(
        f"{given}: is no study (a directory or a name below {runs}/), no trial (a directory with a record.json) and no "
        "file written by `lanewise compare STUDY --keep FILE`"
    )


def keep(side: Side, path: Path) -> None:
    """Write a side into a file that `read_side` reads, small enough to be committed."""
    content = asdict(side)
    content["figures"] = {
        arm: {key: {name: None if value != value else value for name, value in found.items()}
              for key, found in figures.items()}
        for arm, figures in content["figures"].items()
    }  # fmt: skip
    write_json(path, {"lanewise_baseline": KEPT, **content})


def _kept(path: Path) -> Side:
    content = read_json(path)
    if not isinstance(content, dict) or content.pop("lanewise_baseline", None) != KEPT:
        raise LanewiseError(
            f"{path}: is no baseline of this version; write one with `lanewise compare STUDY --keep FILE`"
        )
    try:
        content["figures"] = {
            arm: {key: _estimate(found) for key, found in figures.items()}
            for arm, figures in content["figures"].items()
        }
        return Side(**content | {key: tuple(content[key]) for key in ("arms", "stable")})
    except (TypeError, KeyError, AttributeError) as error:
        raise LanewiseError(f"{path}: is a damaged baseline ({error}); write it again with `--keep`") from error


def _estimate(found: Mapping[str, Any]) -> Estimate:
    values: dict[str, Any] = {name: math.nan if value is None else value for name, value in found.items()}
    return Estimate(**values)


def _side(analysis: Analysis, name: str) -> Side:
    def host(arm: str) -> str:
        return ", ".join(str(analysis.param(arm, f"timing.{key}") or "?") for key in ("cpu", "isa"))

    keys = [column.key for column in analysis.columns]
    return Side(
        name=name,
        task=analysis.task.name,
        arms=analysis.arms,
        margins=dict(analysis.margins),
        scores={
            arm: {key: analysis.scores[arm, key] for key in keys if (arm, key) in analysis.scores}
            for arm in analysis.arms
        },
        figures={
            arm: {key: analysis.estimates[arm, key] for key in (*SPEEDS, *COUNTED) if key in keys}
            for arm in analysis.arms
        },
        stable=tuple(arm for arm in analysis.arms if arm not in analysis.unstable),
        hosts={arm: host(arm) for arm in analysis.arms},
    )
