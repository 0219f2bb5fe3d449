"""Points drawn by Optuna's samplers, the same ones however often the study was interrupted.

The sampler is made anew, seeded by (search seed, trial number, axis), for every value it draws: what a trial gets
depends on the results before it and on nothing that lived in a process that may have died.
"""

import hashlib
import warnings
from typing import TYPE_CHECKING, Any

from studies.space import Axis

if TYPE_CHECKING:
    import optuna
    from optuna.samplers import BaseSampler

STARTUP_TRIALS = 10
"""Sampled trials before TPE models anything; NSGA-II's population."""


def draw(
    study: "optuna.Study", trial_id: int, number: int, mode: str, seed: int, axes: tuple[Axis, ...]
) -> dict[str, Any]:
    """Return the point of a claimed trial, drawing the values that it does not have yet.

    Parameters
    ----------
    study, trial_id, number
        A trial in state RUNNING.
    mode
        `random`, `tpe` or `nsga2`.
    seed
        The study's search seed.
    axes
        The search space.
    """
    import optuna

    study.get_trials(deepcopy=False)  # Optuna's cache must have seen a trial that it did not hand out itself
    study._thread_local.cached_all_trials = None  # which it empties only when it ends a trial itself
    study.sampler = _sampler(mode, _seed(seed, number, -1), axes)
    trial = optuna.trial.Trial(study, trial_id)
    point = {}
    for position, axis in enumerate(axes):
        study.sampler = _sampler(mode, _seed(seed, number, position), axes)
        point[axis.key] = axis.suggest(trial)
    return point


def _seed(*parts: int) -> int:
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:4], "big")


def _sampler(mode: str, seed: int, axes: tuple[Axis, ...]) -> "BaseSampler":
    import optuna
    from optuna.samplers import NSGAIISampler, RandomSampler, TPESampler

    class _WholeSpace(NSGAIISampler):
        """NSGA-II over the study file's axes: Optuna's takes what all trials share, which with baselines is nothing."""

        def infer_relative_search_space(self, study: Any, trial: Any) -> Any:
            return {axis.key: axis.distribution() for axis in axes}

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if mode == "tpe":
            return TPESampler(seed=seed, n_startup_trials=STARTUP_TRIALS, constant_liar=True)
        if mode == "nsga2":
            return _WholeSpace(seed=seed, population_size=STARTUP_TRIALS)
        return RandomSampler(seed=seed)
