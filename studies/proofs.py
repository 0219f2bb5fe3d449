"""Commands `lanewise sweep campaign` and `sweep replay`: what studies promise, shown on one's own host and records."""

import contextlib
import json
import tempfile
from pathlib import Path

import click

from bench.errors import LanewiseError
from bench.progress import say
from studies.folder import find


@click.command()
@click.option("--seed", type=int, required=True, help="Of what is struck, and when.")
@click.option("--kills", type=click.IntRange(1), default=10, show_default=True, help="Processes to kill (SIGKILL).")
@click.option(
    "--database", type=click.Choice(("postgresql", "sqlite")), default="postgresql", show_default=True,
    help="PostgreSQL must be installed; a server of its own is started.",
)  # fmt: skip
@click.option("--tracking/--no-tracking", "tracked", default=True, help="Mirror in an MLflow server of its own.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder to keep; by default a temporary one.")
@click.option("--json", "as_json", is_flag=True, help="What was done, as JSON on stdout.")
def campaign(seed: int, kills: int, database: str, tracked: bool, out: Path | None, as_json: bool) -> int:
    """Kill workers, restart servers, fill the disk: see that studies come out as if nothing had happened.

    Studies of light trials (a second each, nothing is trained) are run undisturbed and then under faults: in turn a
    list of arms, a TPE search by one worker, a random search by several. Afterwards every arm must be there exactly
    once, under its number and with its seeds, no step computed twice, the tables equal.

    \b
    lanewise sweep campaign --seed 1 --kills 10
    lanewise sweep campaign --seed 7 --kills 100 --json
    """
    from studies.faults.campaign import check, run_campaign

    with contextlib.ExitStack() as stack:
        folder = out or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lanewise-")))
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)  # PostgreSQL runs as another user than root
        outcome = run_campaign(folder.resolve(), seed, kills, database == "postgresql", tracked)
        if as_json:
            click.echo(json.dumps(outcome.to_json(), indent=1))
        if outcome.problems and out is None:
            stack.pop_all()  # keep it for whoever looks into it
            say(f"kept: {folder}")
        check(outcome)
    say(f"{outcome.kills} kills and {outcome.done.total() - outcome.kills} other faults over {outcome.rounds} studies "
        f"of {outcome.trials} trials in {outcome.seconds:.0f} s: every table as undisturbed")  # fmt: skip
    return 0


@click.command()
@click.argument("study", required=False)
@click.option("--confidence", type=click.FloatRange(0.5, 1, max_open=True), default=0.8, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="The study's folder; by default runs/NAME.")
@click.option("--json", "as_json", is_flag=True, help="The figures as JSON on stdout.")
def replay(study: str | None, confidence: float, out: Path | None, as_json: bool) -> int:
    """Say what `stop_dominated` would have saved in a study whose trials ran to their end.

    The rule runs over the recorded learning curves in the order of the trials. Printed are the share of the training
    steps saved, and the front's hypervolume over that of all trials.

    \b
    lanewise sweep replay runs/search --confidence 0.9
    """
    from bench.trial.record import FILE_NAME, Record
    from studies.early import describe
    from studies.early import replay as run_replay
    from studies.stopping import VALID

    folder = find(study, out)
    loaded = folder.load()
    if VALID not in loaded.objectives:
        raise LanewiseError(f"{folder.root}: {VALID} is none of its objectives, and only of it there are curves")
    records = [Record.read(path) for path in sorted((folder.root / "trials").glob(f"*/{FILE_NAME}"))]
    described = [describe(record, loaded) for record in records if record.state in ("complete", "infeasible")]
    trials = [trial for trial in described if trial is not None]
    if not trials:
        raise LanewiseError(f"{folder.root}: no finished trial has a learning curve and every objective")
    found = run_replay(trials, loaded.objectives.index(VALID), confidence)
    if as_json:
        click.echo(json.dumps(vars(found), indent=1))
    else:
        click.echo(
            f"{found.stopped} of {found.trials} trials stopped, {found.saved:.1%} of the training steps saved; "
            f"hypervolume {found.hypervolume:.2%} of all trials'; {found.wrong} of their front were stopped"
        )
    return 0
