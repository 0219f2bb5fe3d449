"""`lanewise demo`: the main job on the embedded corpus, a small study and its report."""

from functools import partial
from pathlib import Path

import click

from bench.progress import say
from studies.folder import StudyFolder

STUDY_FILE = Path(__file__).with_name("demo.yaml")


@click.command()
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("runs/demo"), show_default=True, help="The study's folder."
)
def command(out: Path) -> int:
    """Compare sparsity structures on real speech, on this CPU, in a quarter of an hour.

    Runs the study studies/demo.yaml (every arm is trained, pruned, timed and scored here), then makes its report.
    Interrupted, it continues where it was when started again.

    \b
    lanewise demo
    lanewise demo --out /tmp/demo
    """
    from reports.build import build_report
    from studies.cli import run_and_report
    from studies.described import describe_study
    from studies.run import Options, open_tracking
    from studies.study_file import load

    folder = StudyFolder(out)
    study = load(STUDY_FILE)
    code = run_and_report(study, folder, Options())
    if code == 130:
        return code
    page = build_report(folder.root, folder.root / "report")
    tracking = open_tracking(study, folder)
    if tracking is not None:
        tracking.log_study(files={page: None}, finished=True, about=partial(describe_study, folder))
    say("")
    say(f"report:     {page}")
    say(f"dashboard:  lanewise dashboard {folder.root}")
    say("next:       lanewise sweep run studies/paper.yaml --fast   (a study long enough to decide)")
    return code
