"""A study file that changed after its study began, when its author says that this is meant."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import LanewiseError
from bench.progress import say
from bench.trial.files import read_json, write_text
from bench.trial.identity import IDENTITY_FILE
from studies.folder import StudyFolder
from studies.plan import Planned
from studies.study_file import Study

if TYPE_CHECKING:
    from studies.store import Store


def change(study: Study, folder: StudyFolder, store: "Store", trials: Sequence[Planned]) -> None:
    """Make the folder's study the given one: trials that are what they were keep their results, the others run anew.

    What is replaced is moved to `replaced/N/` and not deleted; the stages that trials share stay in the cache, so that
    little is computed twice. Killed in between, it can be done again.

    Raises
    ------
    LanewiseError
        Trials are running.
    """
    store.check_idle()
    attic = folder.root / "replaced"
    place = attic / str(1 + sum(1 for _ in attic.glob("*")))
    moved = 0
    for path in sorted((folder.root / "trials").glob("*")):
        number = int(path.name) if path.name.isdigit() else -1
        planned = trials[number] if 0 <= number < len(trials) else None
        if planned is None or planned.config_hash is None or planned.config_hash != _hash(path):
            place.mkdir(parents=True, exist_ok=True)
            path.rename(place / path.name)
            moved += 1
    place.mkdir(parents=True, exist_ok=True)
    write_text(place / "study.yaml", folder.study_file.read_text(encoding="utf-8"))
    store.start_over()
    write_text(folder.study_file, study.text())
    say(f"the study was changed: {moved} trials make way (kept in {place}), the others keep their results")


def _hash(path: Path) -> str | None:
    try:
        return str(read_json(path / IDENTITY_FILE)["config_hash"])
    except (LanewiseError, KeyError, TypeError):
        return None
