"""The plan of a study: every trial it will run, in order, before any of them runs.

Seeds vary slowest, so that a study cut short has whole columns of its table; baselines come first, because every
difference is taken against one of them.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bench.config.flat import arm_name, config_hash
from bench.config.matrices import VocoderShape
from bench.config.schema import TrialConfig
from bench.config.yaml_lines import ConfigError, Origin, Problem, collected
from bench.errors import UsageError
from studies.leaves import Leaf, Leaves, build, without
from studies.space import Axis, point_name, point_overrides, product
from studies.study_file import Study


@dataclass(frozen=True)
class Planned:
    """One trial: known from the start, or (`config` None) to be chosen by the sampler when its turn comes, or to be
    skipped: a point of a grid whose settings cannot go together, with the reason (`skip`)."""

    arm: str | None
    config: TrialConfig | None
    skip: str | None = None
    seeds: tuple[int, int] | None = None

    @property
    def config_hash(self) -> str | None:
        """Hash of what the trial computes; equal hashes are the same trial under two names."""
        return config_hash(self.config) if self.config else None

    def attributes(self) -> dict[str, Any]:
        """Return what the study's database keeps about the trial."""
        return {"arm": self.arm, "config_hash": self.config_hash}


def plan(study: Study, trials: int | None = None) -> list[Planned]:
    """Return every trial of the study; trial number n is item n.

    Parameters
    ----------
    study
        A valid study.
    trials
        Total number of trials, in place of the study file's.

    Raises
    ------
    ConfigError
        An arm or a point of the grid is no valid trial; all problems at once. A point of a grid whose values are right
        one by one and only cannot go together (a tile without a kernel in this format, say) is skipped with the reason.
    UsageError
        Fewer trials than the fixed arms and baselines of a sampled study.
    """
    total = trials if trials is not None else study.trials
    arms = {name: study.base | settings for name, settings in study.arms.items()}
    axes = list(study.axes)
    fixed: list[Planned] = []
    problems: list[Problem] = []
    with collected(problems):
        arms |= _points(study, axes)
    with collected(problems):
        fixed = _with_seeds(study, arms)
    if problems:
        raise ConfigError(sorted(dict.fromkeys(problems), key=lambda problem: problem.origin.line or 0))
    if study.baselines:
        fixed = _with_seeds(study, _missing_baselines(study, fixed)) + fixed
        order: dict[tuple[int, int] | None, int] = {
            config: index for index, config in enumerate(itertools.product(study.dense_seeds, study.recover_seeds))
        }
        fixed.sort(key=lambda planned: (order[_seeds(planned)], planned.arm != "dense-continued"))
    if not study.sampled:
        return fixed[:total]
    assert total is not None, "a sampled study has a number of trials"
    if total <= len(fixed):
        raise UsageError(
            f"{study.name}: {total} trials in all, but {len(fixed)} arms and baselines come first; "
            f"ask for more than {len(fixed)} (`trials:` or --trials), or set `baselines: false`"
        )
    return fixed + [Planned(None, None)] * (total - len(fixed))


def setting_problems(study: Study, known: Sequence[Problem]) -> list[Problem]:
    """Return what is wrong with the settings of a study file that has the problems `known`, where these let it show."""
    wrong = {problem.keys[:2] for problem in known}
    problems: list[Problem] = []
    if ("base",) in wrong:
        return problems
    with collected(problems):
        _with_seeds(study, {n: study.base | arm for n, arm in study.arms.items() if ("arms", n) not in wrong})
    if not {"search", "mode"} & {keys[0] for keys in wrong if keys}:
        with collected(problems):
            _points(study, list(study.axes))
    return problems


def sampled_config(study: Study, point: dict[str, Any]) -> TrialConfig:
    """Return the trial that a sampler's point describes.

    Raises
    ------
    ConfigError
        The point is no valid trial.
    """
    axes = list(study.axes)
    leaves = study.base | _point_leaves(study, axes, point)
    return _build(study, point_name(axes, point), leaves, study.dense_seeds[0], study.recover_seeds[0])


def dense_config(study: Study) -> TrialConfig:
    """Return dense-continued: the study's base without regularizer and pruning, its first seeds."""
    leaves = without(study.base, "reg", "prune", "simd.width", "recover.kind")
    return _build(study, "dense-continued", leaves, study.dense_seeds[0], study.recover_seeds[0])


def _build(study: Study, arm: str, leaves: Leaves, dense: int, recover: int) -> TrialConfig:
    here = Origin(study.document.source)
    seeds = {"seed.dense": Leaf(dense, here), "seed.recover": Leaf(recover, here)}
    return build(study.document.source, leaves | seeds | {"arm": Leaf(arm, study.document.origin(("arms", arm)))})


def incompatible(error: ConfigError) -> str | None:
    """Return why a combination cannot exist; None if something in it is plainly wrong."""
    if not all(problem.incompatible for problem in error.problems):
        return None
    return "; ".join(f"{'.'.join(map(str, problem.keys))}: {problem.message}" for problem in error.problems)


def _with_seeds(study: Study, arms: dict[str, Leaves]) -> list[Planned]:
    planned: list[Planned] = []
    problems: list[Problem] = []
    for dense, recover in itertools.product(study.dense_seeds, study.recover_seeds):
        for arm, leaves in arms.items():
            try:
                planned.append(Planned(arm, _build(study, arm, leaves, dense, recover)))
            except ConfigError as error:
                reason = incompatible(error) if arm not in study.arms else None
                if reason is not None:
                    planned.append(Planned(arm, None, reason, (dense, recover)))
                else:
                    problems += error.problems
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    return planned


def _seeds(planned: Planned) -> tuple[int, int] | None:
    return (planned.config.seed.dense, planned.config.seed.recover) if planned.config is not None else planned.seeds


def _point_leaves(study: Study, axes: list[Axis], point: dict[str, Any]) -> Leaves:
    return {
        key: Leaf(value, study.document.origin(("search", axis.key)))
        for axis in axes
        for key, value in point_overrides([axis], {axis.key: point[axis.key]}).items()
    }


def _points(study: Study, axes: list[Axis]) -> dict[str, Leaves]:
    """Return the arms of a grid, by name; of a sampled space, whose arms are not known yet, check the corners."""
    if study.sampled:
        _check_corners(study, axes)
    return _named_points(study, axes) if axes and not study.sampled else {}


def _named_points(study: Study, axes: list[Axis]) -> dict[str, Leaves]:
    """Return the grid's arms under the name that says what they are, or, where two share it, that says the point."""
    dense, recover = study.dense_seeds[0], study.recover_seeds[0]
    points: list[tuple[str, str, Leaves]] = []
    problems: list[Problem] = []
    for point in product(axes):
        leaves = study.base | _point_leaves(study, axes, point)
        try:
            config = _build(study, point_name(axes, point), leaves, dense, recover)
            points.append((arm_name(config.model_copy(update={"arm": None})), point_name(axes, point), leaves))
        except ConfigError as error:
            if incompatible(error) is not None:
                points.append((point_name(axes, point), point_name(axes, point), leaves))
            else:
                problems += error.problems
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    names = [own for own, _, _ in points]
    unique = len(set(names)) == len(names) and not set(names) & set(study.arms)
    return {own if unique else long: leaves for own, long, leaves in points}


def _check_corners(study: Study, axes: list[Axis]) -> None:
    """Refuse a space in which a sampler could draw an invalid trial, as far as its corners show it."""
    ends = [axis.choices or (_bound(axis, axis.low), _bound(axis, axis.high)) for axis in axes]
    problems: list[Problem] = []
    for values in itertools.islice(itertools.product(*ends), 512):
        try:
            sampled_config(study, dict(zip((axis.key for axis in axes), values, strict=True)))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))


def _bound(axis: Axis, value: float) -> float | int:
    return int(value) if axis.kind == "int" else value


def _missing_baselines(study: Study, fixed: list[Planned]) -> dict[str, Leaves]:
    """Return the baselines that no arm of the study is already, by name."""
    here = study.document.origin(("baselines",))
    pruned = without(study.base, "reg", "prune", "simd.width")
    dense = without(pruned, "recover.kind")
    arms: dict[str, Leaves] = {"dense-continued": dense}
    small = _small_dense(study, dense, here)
    if small is not None:
        arms["small-dense"] = small
    for sparsity, settings in _pruned_tiles(study, fixed):
        leaves = pruned | {key: Leaf(value, here) for key, value in settings.items()}
        leaves |= {"prune.kind": Leaf("random", here), "prune.sparsity": Leaf(sparsity, here)}
        config = _build(study, "random", leaves, study.dense_seeds[0], study.recover_seeds[0])
        arms[arm_name(config.model_copy(update={"arm": None}))] = leaves
    present = {planned.config_hash for planned in fixed} | {planned.arm for planned in fixed}
    built = {name: planned for planned in _with_seeds(study, arms) for name in [planned.arm]}
    return {name: arms[name] for name, planned in built.items() if name and not {name, planned.config_hash} & present}


def _pruned_tiles(study: Study, fixed: list[Planned]) -> Iterator[tuple[float, dict[str, Any]]]:
    """Yield each sparsity of the study with the widest SIMD tile (else the first tile) that is pruned to it."""
    configs = [planned.config for planned in fixed if planned.config is not None]
    if study.sampled:
        ends = [axis.choices or (_bound(axis, axis.low), _bound(axis, axis.high)) for axis in study.axes]
        keys = [axis.key for axis in study.axes]
        configs += [
            sampled_config(study, dict(zip(keys, values, strict=True)))
            for values in itertools.islice(itertools.product(*ends), 512)
        ]
    widest: dict[float, TrialConfig] = {}
    for config in configs:
        sparsity = config.prune.sparsity
        if config.prune.kind == "none" or sparsity is None:
            continue
        best = widest.get(sparsity)
        if best is None or (config.simd.width or 0) > (best.simd.width or 0):
            widest[sparsity] = config
    for sparsity in sorted(widest):
        prune = widest[sparsity].prune
        yield sparsity, {"prune.tile": prune.tile, "prune.matrices": list(prune.matrices)}


def _small_dense(study: Study, dense: Leaves, here: Origin) -> Leaves | None:
    """Return the dense model of the 70 % arm's parameter count; None for a checkpoint that has no small sister."""
    init = dense["model.init"].value if "model.init" in dense else "shipped"
    if init == "shipped":
        return dense | {"model.init": Leaf("shipped-small", here)}
    if init not in ("dense", "scratch"):
        return None
    config = _build(study, "small-dense", dense, study.dense_seeds[0], study.recover_seeds[0])
    model = config.model
    arch = VocoderShape(model.hidden or 256, model.head or 128, model.mixtures or 4, bool(model.causal))
    return dense | {"model.hidden": Leaf(small_hidden(arch, 0.7), here)}


def small_hidden(arch: VocoderShape, sparsity: float) -> int:
    """Return the GRU size (a multiple of 8) of the dense model with as many weights as `arch` pruned to `sparsity`.

    Counted are the prunable matrices; pruned is the recurrent one, as in an arm of the source paper.
    """

    def weights(hidden: int) -> float:
        sizes = {
            m.name: m.shape[0] * m.shape[1] for m in VocoderShape(hidden, arch.head, arch.mixtures).matrices().values()
        }
        return float(sum(sizes.values()))

    recurrent = 3 * arch.hidden**2
    wanted = weights(arch.hidden) - sparsity * recurrent
    return min(range(8, max(arch.hidden, 9), 8), key=lambda hidden: abs(weights(hidden) - wanted))
