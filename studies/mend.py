"""Finished trials whose record could be better than it is, mended when a study is resumed.

A record may be damaged or lost, may rest on a timing that no steady clock confirmed, or may lack scores whose package
is installed by now. Such a trial runs again in its folder: its kept stages make that quick, and only what is missing
is measured.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from bench import host
from bench.config.schema import TrialConfig
from bench.errors import LanewiseError
from bench.measure.sound.metric import ABSENT
from bench.progress import say
from bench.trial.provenance import provenance
from bench.trial.record import FILE_NAME, Record
from bench.trial.timing import UNSTABLE
from studies.folder import StudyFolder
from studies.plan import Planned, sampled_config
from studies.study_file import Study
from studies.worker import Runner, outcome

if TYPE_CHECKING:
    from bench.trial.behind import TrialMirror
    from studies.rows import Row
    from studies.store import Store


def mend(
    study: Study,
    folder: StudyFolder,
    store: "Store",
    mirror: "TrialMirror | None",
    trials: Sequence[Planned],
    runner: Callable[[], Runner],
) -> None:
    """Run again, once, each complete trial whose record needs it; its number, and what was found before, stay.

    Parameters
    ----------
    study, folder, store, mirror, trials
        The study, before any worker takes a trial.
    runner
        Gives what runs one trial; only called when there is something to mend.
    """
    rests_on: dict[object, dict[str, str]] = {}  # read once: thousands of trials name the same recordings
    for row in store.rows():
        if row.state != "complete" or row.duplicate_of is not None:
            continue
        config = trials[row.number].config or sampled_config(study, dict(row.point))
        named = config.task, config.data, config.model.init, config.measure.metrics
        if named not in rests_on:
            rests_on[named] = provenance(config)
        why = _why(folder, row, rests_on[named])
        if why:
            say(f"trial {row.number} ({row.arm}): {why}")
            _run_again(study, folder, store, mirror, config, row, runner())


def _why(folder: StudyFolder, row: "Row", now: dict[str, str]) -> str | None:
    """Return what is to be mended, None when nothing is."""
    try:
        record = Record.read(folder.trial(row.number))
    except LanewiseError as error:
        return f"{error}; the record is rebuilt from the stages that it kept"
    if record.state != "complete":
        return f"its record says {record.state}; it is rebuilt from the stages that it kept"
    changed = {key: found for key, found in now.items() if record.tags.get(key) != found}
    if changed and not any(ABSENT in found for found in changed.values()):  # never give a score up for a lost package
        what = ", ".join(f"{key.removeprefix('lanewise.')} {found}" for key, found in sorted(changed.items()))
        return f"its record was made without {what}; what depends on it is made again"
    if record.timing.get("verdict") == UNSTABLE and record.timing.get("cpu") == host.cpu_name():
        return "its timing was unstable; it is measured again"
    return None


def _run_again(
    study: Study,
    folder: StudyFolder,
    store: "Store",
    mirror: "TrialMirror | None",
    config: TrialConfig,
    row: "Row",
    runner: Runner,
) -> None:
    """Run the trial in its folder; a record that was complete stays unless another complete one takes its place."""
    place = folder.trial(row.number)
    path = place / FILE_NAME
    kept = path.read_bytes() if path.is_file() else None
    complete = False
    try:
        record = runner(config, place, study=study.name, number=row.number, cache=folder.cache, tracking=mirror)
        state, values, reason = outcome(record, study.objectives)
        complete = state == "complete"
        if values is not None:
            store.revise(row.number, values)
        else:
            say(f"trial {row.number} ({row.arm}): {state}: {reason}; what was there before stays")
    finally:
        if kept is not None and not complete:
            path.write_bytes(kept)
