"""Early stopping in a study: the finished trials that the rule learns from, and what it would have saved on record."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from bench.config.flat import flatten
from bench.config.schema import TrialConfig
from bench.errors import LanewiseError
from bench.trial.record import Record
from studies.folder import StudyFolder
from studies.stopping import LOOKS, VALID, DominatedRule, Finished, Floats, dominated, finished
from studies.study_file import Study

if TYPE_CHECKING:
    from studies.store import Store


@dataclass
class Knowledge:
    """The finished trials of a study, read from their records once each."""

    study: Study
    folder: StudyFolder
    store: "Store"
    _known: dict[int, tuple[str, Finished] | None] = field(default_factory=dict)

    def __call__(self) -> list[tuple[str, Finished]]:
        """Return them, with a name of each."""
        for row in self.store.rows():
            if row.state in ("complete", "infeasible") and row.duplicate_of is None and row.number not in self._known:
                self._known[row.number] = self._read(row.number)
        return [trial for trial in self._known.values() if trial is not None]

    def _read(self, number: int) -> tuple[str, Finished] | None:
        try:
            record = Record.read(self.folder.trial(number))
        except LanewiseError:  # damaged: `sweep resume` mends it
            return None
        described = describe(record, self.study)
        return None if described is None else (f"trial {number} ({record.params.get('arm')})", described)


def rule(study: Study, config: TrialConfig, known: Knowledge) -> DominatedRule | None:
    """Return what may stop a trial under way; None where the study has no such rule, or the trial tries several values.

    That the first value of `tune.grid` is dominated says nothing of the next.
    """
    if study.stop_dominated is None or VALID not in study.objectives or config.tune.grid is not None:
        return None
    nll = study.objectives.index(VALID)
    return DominatedRule(known, flatten(config), config.train.steps, nll, study.stop_dominated)


def describe(record: Record, study: Study) -> Finished | None:
    """Return a record as the rule sees it; None where it lacks an objective or a curve."""
    values = [record.metrics.get(objective) for objective in study.objectives]
    curve = [float(bits) for bits in record.curves.get("train_loss", []) if bits is not None]
    steps = int(record.params.get("train.steps") or 0)
    if not curve or len(curve) < steps or any(value is None for value in values):
        return None
    return finished(record.params, curve, steps, [float(value or 0.0) for value in values], signs(study))


def signs(study: Study) -> list[int]:
    """Return +1 for each objective to be minimised, -1 for each to be maximised."""
    return [1 if direction == "minimize" else -1 for direction in study.directions]


@dataclass(frozen=True)
class Replay:
    """What the rule would have done in a study whose trials all ran to their end.

    Attributes
    ----------
    saved
        Share of the training steps.
    hypervolume
        The front's, over that of all trials.
    wrong
        Trials that were stopped and belong to the front of all trials.
    """

    trials: int
    stopped: int
    saved: float
    hypervolume: float
    wrong: int


def replay(trials: Sequence[Finished], nll: int, confidence: float) -> Replay:
    """Let the rule run over recorded trials in their order; a stopped one teaches it nothing and joins no front."""
    known: list[Finished] = []
    steps, stopped = 0.0, []
    for trial in trials:
        for look in LOOKS:
            if dominated(known, look, trial.features[look], trial.shape, nll, confidence) is not None:
                stopped.append(trial)
                steps += look
                break
        else:
            known.append(trial)
            steps += 1
    everything, kept = np.array([t.values for t in trials]), np.array([t.values for t in known])
    corner = everything.max(axis=0)
    ratio = hypervolume(kept, corner) / max(hypervolume(everything, corner), 1e-300)
    front = [tuple(point.tolist()) for point in _front(everything)]
    wrong = sum(trial.values in front for trial in stopped)
    return Replay(len(trials), len(stopped), 1 - steps / len(trials), ratio, wrong)


def hypervolume(points: Floats, corner: Sequence[float]) -> float:
    """Return the volume that `points` (n, objectives; less is better) dominate, up to `corner`."""
    from optuna._hypervolume import compute_hypervolume

    return float(compute_hypervolume(points, np.asarray(corner, dtype=np.float64)))


def _front(points: Floats) -> list[Floats]:
    return [p for p in points if not any(np.all(q <= p) and np.any(q < p) for q in points)]
