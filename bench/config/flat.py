"""A resolved configuration as flat dotted parameters, as a hash, and as a name."""

import hashlib
import json
from typing import Any

from bench.config.schema import TrialConfig
from bench.sparsity import catalogue

NOT_IN_HASH = ("arm", "data.cache", "measure.audio_clips", "measure.patience_s", "train.checkpoint_every")
"""Keys that cannot change a result: two trials that differ only here are the same trial."""

_NOT_IN_PARAMS = (
    "data.cache", "measure.audio_clips", "measure.patience_s", "train.checkpoint_every", "train.validate_every",
)  # fmt: skip


def dump(config: TrialConfig) -> dict[str, Any]:
    """Return the configuration as nested plain data that YAML and JSON can hold and that validates again."""
    return config.model_dump(mode="json", by_alias=True)


def flatten(config: TrialConfig) -> dict[str, str | int | float | bool | None]:
    """Return the record's flat parameters: the same dotted keys for every trial, None where a key does not apply."""
    flat = {key: value for key, value in _applicable(config).items() if key not in _NOT_IN_PARAMS}
    flat["arm"] = arm_name(config)
    return flat


def config_hash(config: TrialConfig) -> str:
    """Return 16 hexadecimal digits that name what a resolved configuration computes.

    Neither `NOT_IN_HASH` nor keys that do not apply to the trial count.
    """
    content = {key: value for key, value in _applicable(config).items() if key not in NOT_IN_HASH}
    if config.model.init not in ("dense", "scratch"):
        del content["seed.dense"]  # the checkpoint is what it is
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _applicable(config: TrialConfig) -> dict[str, str | int | float | bool | None]:
    lambda_ = config.reg.kind != "none" and catalogue.info("regularizer", config.reg.kind).strength != "none"
    regularized, pruned = config.reg.kind != "none", config.prune.kind != "none"
    applies = {
        "plugins": bool(config.plugins),
        "reg": regularized,
        "reg.lambda": lambda_,
        "prune": pruned,
        "prune.score": pruned and catalogue.info("pruner", config.prune.kind).scored,
        "recover.kind": pruned,
        "train.shares": regularized or pruned,
        "train.dense_steps": config.model.init == "dense",
        "train.dense_lr": config.model.init == "dense",
    }

    def value_of(key: str, value: Any) -> str | int | float | bool | None:
        prefixes = (".".join(key.split(".")[:length]) for length in range(1, key.count(".") + 2))
        kept = key.endswith(".kind") or all(applies.get(prefix, True) for prefix in prefixes)
        return _text(value) if kept else None

    return {key: value_of(key, value) for key, value in _leaves(config)}


def arm_name(config: TrialConfig) -> str:
    """Return the arm's name: `arm` if it was given, else made of what sets it apart, seeds excepted."""
    if config.arm is not None:
        return config.arm
    name = _structure(config)
    return name if config.pack.format == "f32" else f"{name}-{config.pack.format}"


def _structure(config: TrialConfig) -> str:
    reg, prune = config.reg, config.prune
    if reg.kind == "none" and prune.kind == "none":
        dense = {"shipped-small": "small-dense", "scratch": "dense-scratch"}.get(config.model.init, "dense-continued")
        return dense + _manner(config)
    if reg.kind == "none":
        stem = f"{_word(prune.kind)}-{prune.tile}"
    elif reg.tile is None:  # acts on no weights
        stem = _word(reg.kind) + (f"-{prune.tile}" if prune.kind != "none" else "")
    elif reg.kind == "lasso":
        stem = f"lasso-{prune.tile or reg.tile}"
    else:
        named = reg.tile in ("column", "gate-column", "row", "unit")
        own = str(reg.tile) if named else f"{_family(str(reg.tile))}-{reg.tile}"
        other = prune.tile if prune.tile not in (None, reg.tile) else ""
        stem = f"{own}-on-{other}" if other else own
        if reg.kind != "group_lasso":
            stem = f"{_word(reg.kind)}-{stem}"
    if reg.kind != "none" and reg.form == "subgradient":
        stem += "-subgradient"
    if reg.kind != "none" and prune.kind not in ("none", "magnitude"):
        stem += f"-{_word(prune.kind)}"
    stem += _manner(config)
    if prune.kind == "none" or prune.sparsity is None:
        return f"{stem}-unpruned"
    return f"{stem}-s{round(prune.sparsity * 100, 4):g}"


def _manner(config: TrialConfig) -> str:
    """Return what else sets an arm apart from one of the same method and tile."""
    prune, recover = config.prune, config.recover
    pruned = prune.kind != "none"
    words = [
        (pruned and prune.permute, "permuted"),
        (pruned and ":" in prune.scope, prune.scope.replace(":", "of")),
        (pruned and prune.keep_diagonal, "diagonal"),
        (pruned and prune.gate_sparsity is not None, "gates"),
        (recover.kind != "finetune", recover.kind),
        (recover.distil > 0, f"distil{recover.distil:g}"),
        (config.pack.delta > 0, f"delta{config.pack.delta:g}"),
    ]
    return "".join(f"-{word}" for given, word in words if given)


def _word(kind: str) -> str:
    return kind.replace("_", "-")


def run_name(number: int, arm: str, seed: int) -> str:
    """Return the name of a trial's run, which sorts by trial: `t0003-simd-16x1-s70-seed1`."""
    return f"t{number:04d}-{arm}-seed{seed}"


def _family(tile: str) -> str:
    rows, _, cols = tile.partition("x")
    return "simd" if "1" in (rows, cols) else "block"


def _leaves(config: TrialConfig) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, dict) and not prefix.endswith(".options"):
            for key, item in value.items():
                walk(f"{prefix}.{key}" if prefix else key, item)
        else:
            found.append((prefix, value))

    walk("", dump(config))
    return found


def _text(value: Any) -> str | int | float | bool | None:
    if isinstance(value, dict):
        return ",".join(f"{key}={_text(item)}" for key, item in sorted(value.items())) or None
    if isinstance(value, list | tuple):
        return ",".join(str(item) for item in value)
    assert value is None or isinstance(value, str | int | float | bool)
    return value
