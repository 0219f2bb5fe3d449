"""A study kept for good: its records without audio, models and pictures, and what was made of them.

The tables, figures and reading of a kept study are made from the kept records alone, so that anyone can make them again
from the folder (`lanewise report DIR`), and a test does.
"""

import json
import shutil
from pathlib import Path

from bench.errors import LanewiseError, UsageError
from reports.analysis import Analysis, analyse
from reports.figures.all import figures_of
from reports.figures.style import write
from reports.headline import headline
from reports.loader import load_study
from reports.tables import one_line, write_conditions, write_csv, write_latex, write_markdown

OF_THE_STUDY = ("study.yaml", "references.json")
CUT_SHORT = "interrupted"
"""State of a trial that was stopped from outside: the kept study says "not run" of it."""
BULKY = {"learning_curves", "masks", "masks_over_training", "spectrograms", "weights"}
"""Figures that are drawn from what is not kept, or half a megabyte large."""


def keep_study(study_dir: Path, into: Path) -> Path:
    """Copy a study's records to `into`, in place of what was kept there, and write its tables, figures and reading.

    Parameters
    ----------
    study_dir : a study's directory, `runs/<study>`
    into : a folder for this study alone; a README.md in it is left as it is

    Raises
    ------
    LanewiseError
        There is no such study, none of its trials finished, or the folder cannot be written.
    UsageError
        The folder is that of a study that ran there: its models would be lost.
    """
    load_study(study_dir)  # nothing is replaced by a study that cannot be reported
    if any(path.name != "record.json" for path in into.glob("trials/*/*")):
        raise UsageError(f"--keep {into}: holds trials with more than their records; expected a folder of kept ones")
    try:
        into.mkdir(parents=True, exist_ok=True)
        if into.resolve() != study_dir.resolve():  # else what is made of the records is made again
            _copy_records(study_dir, into)
        shutil.rmtree(into / "figures", ignore_errors=True)
        write_kept(analyse(load_study(into)), into)
    except OSError as error:
        raise LanewiseError(f"{into}: cannot be written ({error}); choose another folder with --keep") from error
    return into


def write_kept(analysis: Analysis, into: Path) -> None:
    """Write what is made of a kept study's records: `texts` and figures as SVG."""
    for name, text in texts(analysis).items():
        (into / name).write_text(text, encoding="utf-8")
    for name, draw in figures_of(analysis).items():
        if name not in BULKY:
            write(draw(analysis), into / "figures", name).with_suffix(".png").unlink()


def texts(analysis: Analysis) -> dict[str, str]:
    """Tables and reading of a study by file name; the same records give the same bytes."""
    found = {
        "table.csv": write_csv(analysis),
        "table.md": write_markdown(analysis),
        "table.tex": write_latex(analysis),
        "reading.md": "".join(f"- {one_line(sentence.text)}\n" for sentence in headline(analysis)),
    }
    if not analysis.study.clips.empty:
        found["conditions.csv"] = write_conditions(analysis)
    return found


def _copy_records(study_dir: Path, into: Path) -> None:
    shutil.rmtree(into / "trials", ignore_errors=True)
    for name in OF_THE_STUDY:
        if (study_dir / name).is_file():
            shutil.copyfile(study_dir / name, into / name)
    for path in sorted(study_dir.glob("trials/*/record.json")):
        _copy_record(path, into / "trials" / path.parent.name / path.name)


def _copy_record(path: Path, to: Path) -> None:
    """Write a record on one line, with nothing in it changed; one of a trial that was cut short is left behind."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:  # damaged: kept as it is, so that the report still counts it
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, to)
        return
    if isinstance(record, dict) and record.get("state") == CUT_SHORT:
        return
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_text(json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
