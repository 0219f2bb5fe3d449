"""`lanewise report`: tables, figures and the report page of a study."""

import json
import shlex
import tempfile
from pathlib import Path

import click

from bench.errors import UsageError
from bench.progress import say

RUNS = Path("runs")


@click.command()
@click.argument("study")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder (default: STUDY/report).")
@click.option(
    "--tracking-uri",
    metavar="URI",
    help="Read the records from MLflow's artifacts instead of a directory; STUDY is then the experiment's name.",
)
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Also keep the records, without audio and models, and tables made from these alone, in DIR.",
)
@click.option("--pdf", is_flag=True, help="Write every figure as PDF, too.")
@click.option("--json", "as_json", is_flag=True, help="Print the headline and the table as JSON on stdout.")
def report(study: str, out: Path | None, tracking_uri: str | None, keep: Path | None, pdf: bool, as_json: bool) -> None:
    """Make report.html, table.csv/.md/.tex and figures of STUDY.

    STUDY is a study's directory (runs/demo) or the name of one under runs/. Trials that did not finish are left
    out and named.

    \b
    Examples:
      lanewise report demo
      lanewise report runs/paper --out paper-report --pdf
      lanewise report runs/paper --keep reports/reference/paper
      lanewise report demo --json | jq '.rows[] | {arm, "speed.rtf"}'
      lanewise report demo --tracking-uri sqlite:///runs/demo/mlflow.db --out from-mlflow
    """
    if tracking_uri is None:
        _make(find_study(study), out, keep, pdf, as_json)
        return
    if out is None:
        raise UsageError("--tracking-uri needs --out DIR: there is no study directory to write the report into")
    from reports.mirror import mirror

    with tempfile.TemporaryDirectory(prefix="lanewise-report-") as folder:
        again = shlex.join(["lanewise", "report", study, "--tracking-uri", tracking_uri, "--out", str(out)])
        _make(mirror(tracking_uri, study, Path(folder) / "study"), out, keep, pdf, as_json, again)


def find_study(study: str) -> Path:
    """The directory of a study given by path or by its name under `runs/`.

    Raises
    ------
    UsageError
        There is none; the message names those that exist.
    """
    for candidate in (Path(study), RUNS / study):
        if candidate.is_dir():
            return candidate
    known = sorted(path.parent.name for path in RUNS.glob("*/trials"))
    hint = f"; studies under {RUNS}/: {', '.join(known)}" if known else f"; there is no study under {RUNS}/ yet"
    raise UsageError(f"no study {study!r} here or under {RUNS}/{hint}")


def _make(
    study_dir: Path, out: Path | None, keep: Path | None, pdf: bool, as_json: bool, command: str | None = None
) -> None:
    from reports.build import make_report
    from reports.keeping import keep_study
    from reports.tables import one_line, table_rows

    made = make_report(study_dir, out, pdf, command)
    for sentence in made.sentences:
        say(one_line(sentence.text))
    say(f"report: {made.page}")
    if keep is not None:
        say(f"kept: {keep_study(study_dir, keep)}")
    if as_json:
        headline = [{"kind": sentence.kind, "text": sentence.text} for sentence in made.sentences]
        document = {"report": str(made.page), "headline": headline, "rows": table_rows(made.analysis)}
        click.echo(json.dumps(document, ensure_ascii=False, allow_nan=False))
