"""What is refused before anything runs: a place to write that nobody allowed, a host that lacks what trials need."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.config.host import host_findings
from bench.config.yaml_lines import ConfigError, Keys, Problem
from bench.errors import UsageError
from bench.trial.cache import shared_folder
from studies.folder import StudyFolder
from studies.plan import Planned
from studies.rehearsal import rehearsing
from studies.states import ENDED
from studies.study_file import Study

if TYPE_CHECKING:
    from studies.rows import Row


def check_caches(study: Study, trials: Sequence[Planned], folder: StudyFolder) -> None:
    """Refuse a study that would write where the one who runs it has not said it may.

    Raises
    ------
    ConfigError
        Naming the line that says `data.cache`.
    """
    for planned in trials:
        if planned.config is None:
            continue
        try:
            shared_folder(planned.config.data.cache, folder.cache)
        except UsageError as error:
            message = str(error).removeprefix("data.cache: ")
            raise ConfigError([_problem(study, planned, ("data", "cache"), message)]) from error


def check_host(study: Study, trials: Sequence[Planned], known: "Sequence[Row]", timing: str = "here") -> None:
    """Refuse to run on this host trials that it cannot run.

    Those that `known` rows call ended need nothing more, those that it `only` times no device to train on, rehearsals
    nothing at all.

    Raises
    ------
    ConfigError
        Naming each line that asks for what this host lacks.
    """
    if rehearsing():
        return
    done = {row.number for row in known if row.state in ENDED}
    problems = [
        _problem(study, planned, found.keys, found.message)
        for number, planned in enumerate(trials)
        if planned.config is not None and number not in done
        for found in host_findings(planned.config, trains=timing != "only")
    ]
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))


def _problem(study: Study, planned: Planned, keys: Keys, message: str) -> Problem:
    """Return what is wrong with a setting of a planned trial, at the line that gives it."""
    key = ".".join(map(str, keys))
    leaf = study.arms.get(planned.arm or "", {}).get(key) or study.base.get(key)
    return Problem(leaf.origin if leaf is not None else study.document.origin(("search",)), keys, message)
