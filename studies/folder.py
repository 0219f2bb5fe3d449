"""A study's folder: where its databases, trials, cache and references are, and the study file it was started with."""

import difflib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import LanewiseError, UsageError
from bench.trial.files import read_json, write_json, write_text

if TYPE_CHECKING:
    from studies.study_file import Study

RUNS = Path("runs")
UNTRACKED = "none"
"""In place of MLflow's address: no mirror."""


@dataclass(frozen=True)
class StudyFolder:
    """Paths of one study."""

    root: Path

    @property
    def study_file(self) -> Path:
        """The study as it runs: `--fast` and `--set` applied."""
        return self.root / "study.yaml"

    @property
    def cache(self) -> Path:
        """Stages that trials share."""
        return self.root / "cache"

    @property
    def references(self) -> Path:
        """Scores of the reference systems."""
        return self.root / "references.json"

    def trial(self, number: int) -> Path:
        """Folder of one trial."""
        return self.root / "trials" / f"{number:04d}"

    def storage_url(self, given: str | None = None) -> str:
        """Return Optuna's database: `given`, LANEWISE_STORAGE, what the study was started with, or SQLite here."""
        own = f"sqlite:///{self.root.resolve() / 'optuna.db'}"
        return given or os.environ.get("LANEWISE_STORAGE") or self._started_with().get("storage") or own

    def tracking_uri(self, given: str | None = None) -> str | None:
        """Return MLflow's store: `given`, MLFLOW_TRACKING_URI, the one it was started with, or None (SQLite here)."""
        return given or os.environ.get("MLFLOW_TRACKING_URI") or self._started_with().get("tracking_uri")

    def load(self) -> "Study":
        """Return the study that this folder holds.

        Raises
        ------
        LanewiseError
            The folder holds no study.
        """
        if not self.study_file.is_file():
            raise LanewiseError(f"{self.root}: holds no study; start one with `lanewise sweep run STUDY.yaml`")
        from studies.study_file import load

        return load(self.study_file)

    def differs(self, study: "Study") -> bool:
        """Say whether this folder holds a study that is not `study`."""
        return self.study_file.is_file() and self.load().fingerprint() != study.fingerprint()

    def holds(self, study: "Study") -> bool:
        """Say whether this folder holds `study` already.

        Raises
        ------
        UsageError
            It holds a study that differs; the message shows how.
        """
        if not self.study_file.is_file():
            return False
        from studies.study_file import fingerprint

        kept = fingerprint(self.study_file)
        if kept != study.fingerprint():
            raise UsageError(self._difference(kept, study))
        return True

    def adopt(self, study: "Study", storage: str | None, tracking_uri: str | None) -> bool:
        """Keep `study` as this folder's, or check that it is the one kept already; return whether it was there.

        Its plug-ins are copied beside it, so that workers and later runs load what it was started with.

        Raises
        ------
        UsageError
            The folder holds a study that differs; the message shows how.
        """
        known = self.holds(study)
        if not known:
            from bench.config import plugins

            for name, text in plugins.sources(study.plugins).items():
                write_text(self.root / name, text)
            write_text(self.study_file, study.text())
        stores = self._started_with()
        for key, value in (("storage", storage), ("tracking_uri", tracking_uri)):
            if value and not _has_password(value):
                stores[key] = value
        if stores:
            write_json(self.root / "stores.json", stores)
        return known

    def _difference(self, kept: str, study: "Study") -> str:
        lines = difflib.unified_diff(
            kept.splitlines(),
            study.fingerprint().splitlines(),
            "as it was started",
            "now",
            lineterm="",
            n=2,
        )
        return (
            f"{self.root}: holds results of a study that differs from {study.document.source}, and mixing them would "
            "compare what is not comparable:\n  " + "\n  ".join(lines) + "\n"
            "give the changed study another `name:` or --out DIR, or undo the change and run again; or, if trials that "
            "stay the same shall keep their results and the others run anew, say so with --accept-changes"
        )

    def _started_with(self) -> dict[str, str]:
        path = self.root / "stores.json"
        return dict(read_json(path)) if path.is_file() else {}


def find(reference: str | None, out: Path | None = None) -> StudyFolder:
    """Return the folder that a person means by a study: a folder, a name below `runs/`, or a study file.

    Parameters
    ----------
    reference
        What was given on the command line; None for the study of `runs/` that was touched last.
    out
        The folder itself, when given.

    Raises
    ------
    UsageError
        There is no such study; the message names those there are.
    """
    if out is not None:
        return StudyFolder(out)
    if reference is None:
        started = [path.parent for path in RUNS.glob("*/study.yaml")]
        if not started:
            raise UsageError("no study in runs/; name one, or start one with `lanewise sweep run STUDY.yaml`")
        return StudyFolder(max(started, key=_touched))
    path = Path(reference)
    if path.suffix in (".yaml", ".yml") and not path.is_dir():
        from studies.study_file import load

        return StudyFolder(RUNS / load(path).name)
    for candidate in (path, RUNS / reference):
        if (candidate / "study.yaml").is_file():
            return StudyFolder(candidate)
    names = sorted(found.parent.name for found in RUNS.glob("*/study.yaml"))
    raise UsageError(
        f"{reference}: is no study's folder, nor a name below runs/ ({', '.join(names) or 'which is empty'})"
    )


def _touched(root: Path) -> float:
    return max(path.stat().st_mtime for path in (root / "study.yaml", root / "optuna.db") if path.exists())


def _has_password(url: str) -> bool:
    address = url.partition("://")[2].partition("/")[0]
    return ":" in address.rpartition("@")[0]
