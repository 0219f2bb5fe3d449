"""A study's report: tables, figures and the page, written into one folder."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.errors import LanewiseError
from reports.analysis import Analysis, analyse
from reports.figures.all import draw_all
from reports.headline import Sentence, headline
from reports.loader import load_study
from reports.page import render
from reports.tables import write_conditions, write_csv, write_latex, write_markdown


@dataclass(frozen=True)
class Report:
    """What was written, and what it says first."""

    page: Path
    sentences: tuple[Sentence, ...]
    analysis: Analysis


def build_report(study_dir: Path, out_dir: Path | None = None) -> Path:
    """Write a study's `report.html`, `table.csv/.md/.tex` and `figures/`; returns the page's path.

    A study of noisy speech has a `conditions.csv` too.

    Parameters
    ----------
    study_dir : a study's directory, `runs/<study>`
    out_dir : where to write; `<study_dir>/report` when None

    Raises
    ------
    LanewiseError
        There is no such study, none of its trials finished, or the folder cannot be written.
    """
    return make_report(study_dir, out_dir).page


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Records hold a million small objects that live to the end: looking through them for garbage takes seconds."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@_collector_paused()
def make_report(study_dir: Path, out_dir: Path | None = None, pdf: bool = False, command: str | None = None) -> Report:
    """As `build_report`, with the headline and the analysis behind it.

    Parameters
    ----------
    pdf : figures are PDFs, too
    command : what makes the page again, where that is not `lanewise report` of the directory
    """
    study_dir = Path(study_dir)
    analysis = analyse(load_study(study_dir))
    out = study_dir / "report" if out_dir is None else Path(out_dir)
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "table.csv").write_text(write_csv(analysis), encoding="utf-8")
        (out / "table.md").write_text(write_markdown(analysis), encoding="utf-8")
        (out / "table.tex").write_text(write_latex(analysis), encoding="utf-8")
        if not analysis.study.clips.empty:
            (out / "conditions.csv").write_text(write_conditions(analysis), encoding="utf-8")
        figures = draw_all(analysis, out / "figures", pdf)
        page = out / "report.html"
        page.write_text(render(analysis, figures, command), encoding="utf-8")
    except OSError as error:
        raise LanewiseError(f"{out}: cannot write the report ({error}); choose another folder with --out") from error
    return Report(page, headline(analysis), analysis)
