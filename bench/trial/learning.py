"""The stage that trains an arm, cached by everything that it depends on."""

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bench.config.flat import arm_name, flatten
from bench.config.matrices import EnhancerShape, Matrix, Shape, VocoderShape
from bench.config.schema import TrialConfig, Tune
from bench.progress import Progress, say
from bench.sparsity import catalogue
from bench.trial import dense
from bench.trial.cache import stage_key
from bench.trial.context import Trial
from bench.trial.dense import MODEL_FILE
from bench.trial.files import read_json, write_json

if TYPE_CHECKING:
    from torch import Tensor

    from bench.learn.arm import ArmPlan, ArmResult, Curves
    from bench.models.wavernn import SubbandWaveRNN
    from bench.trial.start import Start

VERSION = 5
"""Of the code that trains an arm: raise it when results change, so that arms of the older code are not reused."""

STAGE = "arm"
"""Its name in the cache."""

HOLD = 0.6
"""Share of an arm's steps at the peak learning rate, then it falls: the same for every arm, whatever its phases."""

MASKS_FILE, FACTS_FILE, SNAPSHOTS_FILE = "masks.safetensors", "facts.json", "snapshots.npz"


@dataclass(frozen=True)
class Arm:
    """A trained arm as it lies in the cache.

    Attributes
    ----------
    key
        Hash of everything that it was made from.
    folder
        Where its weights and masks are.
    arch
        Sizes of its model.
    tiles
        Pruning tile of each pruned matrix, by state key.
    curves
        `step`, and for each step (None where there is none) `train_loss`, `valid_loss`, `sparsity`, `lambda`.
    lambda_
        The lambda used (the last one, if it was controlled); None without a regularizer.
    milestones
        Validation NLL by phase: `start`, `penalised` (before any pruning), `pruned`, `restarted`, `recovered`.
    facts
        What the methods have to say for themselves: thresholds, bits, the order of units.
    snapshots
        `bench.learn.snapshots.Snapshots.facts`: what the matrices looked like on the way; their bits, by state key, are
        in `SNAPSHOTS_FILE`.
    task
        What its model does.
    tuned, grid
        The key of which several values were tried, and for each the final validation NLL and its curve.
    """

    key: str
    folder: Path
    arch: dict[str, Any]
    tiles: dict[str, str]
    curves: dict[str, list[float | None]]
    lambda_: float | None
    milestones: dict[str, float]
    facts: dict[str, Any] = field(default_factory=dict)
    snapshots: dict[str, Any] = field(default_factory=dict)
    task: str = "vocoder"
    tuned: str | None = None
    grid: dict[float, tuple[float, list[float | None]]] = field(default_factory=dict)

    def model(self) -> "SubbandWaveRNN":
        """Load the vocoder, its pruned weights zero."""
        from bench.models import checkpoint

        return checkpoint.load(self.folder / MODEL_FILE)[0]

    def masks(self) -> "dict[str, Tensor]":
        """Load the masks (out, in), True where a weight is kept, by state key; empty for a dense arm."""
        from safetensors.torch import load_file

        return dict(sorted(load_file(self.folder / MASKS_FILE).items())) if self.tiles else {}

    @property
    def snapshot_bits(self) -> Path:
        """Where the bits of the snapshots are."""
        return self.folder / SNAPSHOTS_FILE

    def as_packed(self) -> "AsPacked":
        """Return what the packer of vocoders gets.

        Of tile `unit` it is the smaller dense model, of a tile of one's own that of its kernel.
        """
        from bench.sparsity.shrink import masked_units, shrink
        from bench.sparsity.tile import UNIT, Tile

        model, masks = self.model(), self.masks()
        if UNIT.name in self.tiles.values():
            return AsPacked(shrink(model, masked_units(masks)), {}, {})
        return AsPacked(model, {key: Tile.parse(tile).runs_as or tile for key, tile in self.tiles.items()}, masks)

    def matrices(self) -> dict[str, Matrix]:
        """Describe the model's prunable matrices, by state key."""
        return {matrix.state_key: matrix for matrix in self.shape().matrices().values()}

    def shape(self) -> Shape:
        """Return the shape of the model before anything was pruned."""
        if self.task == "enhancer":
            return EnhancerShape(*(self.arch[key] for key in ("cell", "hidden", "layers", "fc", "mels")))
        return VocoderShape(**{item.name: self.arch[item.name] for item in fields(VocoderShape)})


class AsPacked(NamedTuple):
    """A model, and the tile and the mask of each of its sparse matrices by state key, as the packer takes them."""

    model: "SubbandWaveRNN"
    tiles: dict[str, str]
    masks: "dict[str, Tensor]"


def trained_arm(trial: Trial) -> Arm:
    """Return the trained arm, from the cache if the same was trained before.

    With a `tune.grid` each of its values is trained in full, and the one of the best validation outcome is returned; a
    value with which training diverges is out.

    Raises
    ------
    LanewiseError
        Training diverged, with every value.
    """
    from bench.learn.fit import DivergedError

    key, grid = trial.config.tune.key, trial.config.tune.grid
    if key is None or grid is None:
        return _arm(trial)
    tried: dict[float, Arm] = {}
    diverged: list[DivergedError] = []
    for value in grid:
        say(f"{key} {value:g} of {', '.join(f'{item:g}' for item in grid)}")
        try:
            tried[value] = _arm(replace(trial, config=with_value(trial.config, key, value)))
        except DivergedError as error:
            say(f"{key} {value:g}: {error}")
            diverged.append(error)
    if not tried:
        raise diverged[0]
    best = min(tried.values(), key=lambda arm: arm.milestones["recovered"])
    return replace(
        best,
        tuned=key,
        grid={value: (arm.milestones["recovered"], arm.curves["valid_loss"]) for value, arm in tried.items()},
    )


def tries(config: TrialConfig) -> list[TrialConfig]:
    """Return the arms that a trial trains: one, or one for each value of its `tune.grid`."""
    key, grid = config.tune.key, config.tune.grid
    return [config] if key is None or grid is None else [with_value(config, key, value) for value in grid]


def with_value(config: TrialConfig, key: str, value: float) -> TrialConfig:
    """Return a configuration with one number changed, by dotted key, and nothing left to tune."""
    section, *rest = key.split(".")
    inner = getattr(config, section)
    if rest[0] == "options":
        info = catalogue.info("regularizer" if section == "reg" else "pruner", inner.kind)
        number = type(info.options[rest[1]].default)  # whole, where the option is
        update: dict[str, Any] = {"options": {**inner.options, rest[1]: number(value)}}
    else:
        update = {"lambda_" if rest[0] == "lambda" else rest[0]: value}
    if key == "reg.lambda":  # a number has nothing to steer to
        update["target"] = None
    return config.model_copy(update={section: inner.model_copy(update=update), "tune": Tune()})


def _arm(trial: Trial) -> Arm:
    folder = trial.cache.fetch(STAGE, inputs(trial), lambda partial, work: _train_arm(trial, partial, work))
    facts = read_json(folder / FACTS_FILE)
    return Arm(key=folder.name, folder=folder, task=trial.config.task, **facts)


def inputs(trial: Trial) -> dict[str, Any]:
    """Return everything that a trained arm depends on: its key in the cache."""
    settings = {
        key: value
        for key, value in flatten(trial.config).items()
        if key.startswith(("plugins", "reg.", "prune.", "quant.", "train.", "recover."))
        and not key.startswith("train.dense")
    }
    return {
        "dense": dense.key(trial),
        "data": trial.mixtures.content_hash if trial.config.task == "enhancer" else trial.recordings.hash,
        "settings": settings,
        "validate_every": trial.config.train.validate_every,
        "valid": trial.valid_names,
        "seed": trial.config.seed.recover,
        "version": VERSION,
    }


def key(trial: Trial) -> str:
    """Return the name of the arm's entry in the cache."""
    return stage_key(STAGE, inputs(trial))


def _train_arm(trial: Trial, partial: Path, work: Path) -> None:
    from bench.learn.arm import train_arm
    from bench.measure.speed.lock import pause_while_timing
    from bench.trial.start import begin

    config = trial.config
    made = begin(trial)
    start, unit = made.model.to(config.train.device), "dB" if config.task == "enhancer" else "bit"
    with StepProgress(arm_name(config), config.train.steps) as progress:

        def on_step(step: int, bits: float) -> None:
            pause_while_timing()
            progress.at(step, f"{bits:.3f} {unit}")
            if trial.on_step is not None:
                trial.on_step(step, bits)

        result = train_arm(
            start,
            made.task,
            arm_plan(config),
            seed=config.seed.recover,
            checkpoint_dir=work,
            on_step=on_step,
        )
    keep(config, made, result, partial)


def keep(config: TrialConfig, made: "Start", result: "ArmResult", folder: Path) -> None:
    """Write a trained arm into its entry of the cache."""
    from safetensors.torch import save_file

    made.save(folder / MODEL_FILE, {"params": flatten(config), "milestones": result.milestones})
    if result.masks:
        save_file({key: mask.cpu().contiguous() for key, mask in result.masks.items()}, folder / MASKS_FILE)
    bits = {key: kept.numpy() for key, kept in result.snapshots.kept.items()}
    np.savez_compressed(folder / SNAPSHOTS_FILE, allow_pickle=False, **bits)
    facts = {
        "arch": made.arch,
        "tiles": result.tiles,
        "curves": _curves(result.curves),
        "lambda_": result.lambda_,
        "milestones": result.milestones,
        "facts": result.facts,
        "snapshots": result.snapshots.facts(),
    }
    write_json(folder / FACTS_FILE, facts)


def arm_plan(config: TrialConfig) -> "ArmPlan":
    """Translate a configuration into the plan of an arm's training."""
    from bench.learn.arm import ArmPlan, Pruning, Regularization
    from bench.learn.fit import Optimisation
    from bench.sparsity.tile import Tile

    train, reg, prune = config.train, config.reg, config.prune
    regularization = pruning = None
    if reg.kind != "none":
        options = {"form": reg.form, "lambda": reg.lambda_, "target": reg.target or 0.0, **reg.options}
        regularization = Regularization(Tile.parse(reg.tile or "1x1"), reg.kind, options)  # without: acts on no weights
    if prune.kind != "none":
        assert prune.sparsity is not None, "the configuration is resolved"
        pruning = Pruning(
            tile=Tile.parse(str(prune.tile)),
            sparsity=prune.sparsity,
            kind=prune.kind,
            schedule=prune.schedule,
            scope=prune.scope,
            score=prune.score,
            keep_diagonal=prune.keep_diagonal,
            gate_sparsity=prune.gate_sparsity,
            permute=prune.permute,
            options=prune.options,
        )
    return ArmPlan(
        optimisation=Optimisation(train.steps, train.lr, warmup=min(50, train.steps // 10), hold=HOLD, final=0.05),
        matrices=prune.matrices,
        reg=regularization,
        prune=pruning,
        reg_steps=round(train.steps * train.shares.reg) if regularization else 0,
        prune_steps=round(train.steps * train.shares.prune) if pruning else 0,
        recover=config.recover.kind,
        distil=config.recover.distil,
        validate_every=train.validate_every,
        checkpoint_every=train.checkpoint_every,
    )


def _curves(curves: "Curves") -> dict[str, list[float | None]]:
    """Lay the curves over one axis of steps; step 0 is the dense model."""
    valid = dict(zip(curves.valid_step, curves.valid_loss, strict=True))
    steps = [0, *curves.step]
    return {
        "step": list(steps),
        "train_loss": [None, *curves.train_loss],
        "valid_loss": [valid.get(step) for step in steps],
        "sparsity": [None, *curves.sparsity],
        "lambda": [None, *curves.lam],
    }


class StepProgress:
    """Progress of a training that may begin anywhere: its first step says where."""

    def __init__(self, label: str, total: int) -> None:
        self._label, self._total = label, total
        self._progress: Progress | None = None

    def __enter__(self) -> "StepProgress":
        return self

    def __exit__(self, *error: object) -> None:
        if self._progress is not None:
            self._progress.__exit__(*error)

    def at(self, step: int, note: str) -> None:
        """Step `step` (counted from 1) is done."""
        if self._progress is None:
            self._progress = Progress(self._label, self._total, step - 1).__enter__()
        self._progress.advance(1, note)
