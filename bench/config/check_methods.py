"""What a method's settings mean together, and which combinations of method, structure and kernel there are.

A combination that cannot exist (a tile without a kernel, N:M at another sparsity) is `incompatible`: alone it is an
error, in a grid of combinations it is skipped with this reason.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from bench.config.findings import Finding, Findings
from bench.config.matrices import Matrix, Shape
from bench.config.schema import TrialConfig, Tune
from bench.config.yaml_lines import did_you_mean
from bench.errors import UsageError
from bench.sparsity import catalogue
from bench.sparsity.catalogue import MethodInfo, Role
from bench.sparsity.count import kept_units, log_grid
from bench.sparsity.scope import Scope
from bench.sparsity.tile import Tile

UNIT = "unit"
CONTROLLED = "controlled"
PLAIN = ("1x1", "row", "column", "gate-column", UNIT)
"""Pruning tiles for which the order of hidden units makes no difference."""


def info(config: TrialConfig, role: Role) -> MethodInfo | None:
    """Return the table's entry of the configured regularizer or pruner, None for `none`."""
    kind = config.reg.kind if role == "regularizer" else config.prune.kind
    return None if kind == "none" else catalogue.info(role, kind)


def complete_options(config: TrialConfig, role: Role, complain: Findings) -> dict[str, Any]:
    """Return the method's own hyper-parameters, defaults filled in; complain of those it does not have."""
    section, given = ("reg", config.reg.options) if role == "regularizer" else ("prune", config.prune.options)
    method = info(config, role)
    if method is None:
        if given:
            complain(f"{section}.options", f"given, but {section}.kind is 'none'; leave them out")
        return {}
    for key, value in given.items():
        option = method.options.get(key)
        if option is None:
            known = ", ".join(method.options) or "none"
            hint = did_you_mean(key, list(method.options))
            complain(f"{section}.options.{key}", f"{method.name!r} has no such option{hint}; it has: {known}")
        elif wrong := option.check(value):
            complain(f"{section}.options.{key}", wrong)
    return method.complete(given)


def check_kinds(config: TrialConfig, complain: Findings) -> None:
    """Check regularizer and pruner against each other and against their own sections."""
    reg, prune = config.reg, config.prune
    if prune.kind == "random" and pulls(config):
        complain.incompatible(
            "reg.kind",
            f"got {reg.kind!r} with prune.kind 'random': a random mask is the control without a regularizer; "
            "set reg.kind to none or prune.kind to magnitude",
        )
    if reg.kind == "lasso" and reg.tile not in (None, "1x1"):
        complain(
            "reg.tile", f"got {reg.tile!r} with reg.kind 'lasso', whose tile is 1x1; use group_lasso or no reg.tile"
        )
    _check_weightless(config, complain)
    if prune.kind != "none" and sparsity_of(config) is None:
        complain("prune.sparsity", f"missing, and prune.kind is {prune.kind!r}; give the share to prune, 0 to 1")
    if prune.kind == "none" and prune.sparsity:
        complain(
            "prune.sparsity",
            f"got {prune.sparsity:g}, but prune.kind is 'none'; set prune.kind to magnitude or random",
        )
    _check_strength(config, complain)
    if controlled(config) and reg.target is None and not sparsity_of(config):
        complain(
            "reg.target", "missing: lambda 'controlled' without pruning has nothing to steer to; set it or a number"
        )
    if reg.target is not None and not controlled(config):
        complain("reg.target", "only used with reg.lambda 'controlled'; leave it out")
    if prune.keep_diagonal and not any(map(is_recurrent, prune.matrices)):
        complain(
            "prune.keep_diagonal",
            "only recurrent matrices (gru.recurrent, rnn1.recurrent) have a diagonal; add one to prune.matrices or "
            "leave this out",
        )
    pruner = info(config, "pruner")
    if pruner is not None and prune.schedule not in pruner.schedules:
        complain.incompatible(
            "prune.schedule",
            f"got {prune.schedule!r}, which prune.kind {prune.kind!r} cannot follow; "
            f"it can: {', '.join(pruner.schedules)}",
        )
    if config.recover.kind != "finetune" and prune.kind == "none":
        complain("recover.kind", f"got {config.recover.kind!r}, but prune.kind is 'none': there is no mask to keep")
    if config.recover.kind != "finetune" and prune.kind != "none" and prune.schedule == "offline":
        complain.incompatible(
            "recover.kind", f"got {config.recover.kind!r}, but after prune.schedule 'offline' nothing is trained"
        )
    regularizer = info(config, "regularizer")
    if config.recover.kind != "finetune" and regularizer is not None and not regularizer.weights:
        complain.incompatible(
            "recover.kind", f"got {config.recover.kind!r}, which goes back to weights without {regularizer.name}'s own"
        )


def is_recurrent(matrix: str) -> bool:
    """Say whether the gates of a matrix, by its public name, are square: from hidden units to the same ones."""
    return matrix.endswith(".recurrent")


def check_matrices(config: TrialConfig, shape: Shape, complain: Findings) -> bool:
    """Check that the network has the matrices that are to be pruned; say whether it has."""
    named, known = config.prune.matrices, shape.matrices()
    if len(set(named)) != len(named):
        complain("prune.matrices", "expected each matrix to be named once")
        return False
    strange = [(position, name) for position, name in enumerate(named) if name not in known]
    for position, name in strange:
        message = f"got {name!r}, expected one of {', '.join(known)}{did_you_mean(name, list(known))}"
        complain.found.append(Finding(("prune", "matrices", position), message))
    return not strange


def pulls(config: TrialConfig) -> bool:
    """Say whether there is a regularizer that pulls groups of weights: with a tile, a lambda and a form."""
    method = info(config, "regularizer")
    return method is not None and method.weights


def controlled(config: TrialConfig) -> bool:
    """Say whether lambda is steered to a share of zero groups."""
    method = info(config, "regularizer")
    return pulls(config) and method is not None and method.strength == "controlled" and config.reg.lambda_ == CONTROLLED


def _check_strength(config: TrialConfig, complain: Findings) -> None:
    """Check lambda against what the regularizer makes of it."""
    method, given = info(config, "regularizer"), config.reg.lambda_
    if method is None or not method.weights:
        return
    if method.strength == "none" and given != CONTROLLED:
        complain("reg.lambda", f"got {given}, but reg.kind {method.name!r} has no lambda; leave it out")
    tuned = (config.tune.size or config.tune.grid) and (config.tune.key or method.main.key) == "reg.lambda"
    if method.strength == "number" and given == CONTROLLED and not tuned:
        complain(
            "reg.lambda",
            f"missing: reg.kind {method.name!r} cannot be 'controlled'; give a number (or, if it needs none, "
            "strength='none' in its MethodInfo)",
        )


def _check_weightless(config: TrialConfig, complain: Findings) -> None:
    """Refuse what a regularizer that acts on no weights would ignore, or cannot be combined with."""
    reg = config.reg
    if reg.kind == "none" or pulls(config):
        return
    main = catalogue.info("regularizer", reg.kind).main.key
    ignored = {"tile": reg.tile is not None, "form": reg.form != "proximal", "lambda": reg.lambda_ != CONTROLLED}
    for key, given in ignored.items():
        if given:
            complain(f"reg.{key}", f"given, but reg.kind {reg.kind!r} pulls no weights; leave it out (it has {main})")
    if config.prune.tile == UNIT:
        complain.incompatible(
            "prune.tile", f"got {UNIT!r}, but reg.kind {reg.kind!r} learns a weight per hidden unit, which stays"
        )
    if config.recover.kind != "finetune":
        complain.incompatible(
            "recover.kind",
            f"got {config.recover.kind!r}, but what reg.kind {reg.kind!r} learned is not in the dense model; "
            "choose finetune",
        )


def sparsity_of(config: TrialConfig) -> float | None:
    """Return the sparsity that a configuration asks for, directly or by its gates or by N:M."""
    prune = config.prune
    if prune.sparsity is not None or prune.kind == "none":
        return prune.sparsity
    if prune.gate_sparsity:
        return sum(prune.gate_sparsity) / len(prune.gate_sparsity)
    try:
        return Scope.parse(prune.scope).sparsity
    except UsageError:  # of M tiles more than M: said elsewhere
        return None


def check_budget(config: TrialConfig, tile: str, shape: Shape, complain: Findings) -> None:
    """Check how the budget is divided: N:M, gates, units, reordering."""
    prune, known = config.prune, shape.matrices()
    if ":" in prune.scope and tile != UNIT:
        _check_runs(config, tile, known, complain)
    if prune.gate_sparsity is not None:
        _check_gates(config, tile, known, complain)
    if prune.permute:
        if tile in PLAIN or Tile.parse(tile).runs_as is not None:
            complain.incompatible("prune.permute", f"the order of hidden units makes no difference for {tile!r} tiles")
        elif not any(map(is_recurrent, prune.matrices)):
            complain(
                "prune.permute", "reorders the units of a recurrent matrix; add it to prune.matrices or leave this out"
            )
    if tile == UNIT:
        _check_units(config, shape, complain)


def _check_runs(config: TrialConfig, tile: str, known: Mapping[str, Matrix], complain: Findings) -> None:
    """Check a scope `N:M`."""
    prune, sparsity = config.prune, sparsity_of(config)
    try:
        scope = Scope.parse(prune.scope)
        for name in prune.matrices:
            _, _, cols = Tile.parse(tile).extent(known[name].shape, known[name].gates)
            scope.check(name, tile, -(-known[name].shape[1] // cols))
    except UsageError as error:
        complain.incompatible("prune.scope", str(error).removeprefix("prune.scope: "))
        return
    if sparsity is not None and scope.sparsity is not None and abs(sparsity - scope.sparsity) > 1e-9:
        complain.incompatible(
            "prune.sparsity", f"got {sparsity:g}, but prune.scope {prune.scope!r} prunes exactly {scope.sparsity:g}"
        )


def _check_gates(config: TrialConfig, tile: str, known: Mapping[str, Matrix], complain: Findings) -> None:
    prune, shares = config.prune, config.prune.gate_sparsity
    assert shares is not None
    counts = {known[name].gates for name in prune.matrices}
    if prune.scope != "gate":
        complain("prune.gate_sparsity", f"needs prune.scope 'gate', got {prune.scope!r}")
    elif counts != {len(shares)}:
        complain(
            "prune.gate_sparsity",
            f"got {len(shares)} numbers, but prune.matrices have {', '.join(map(str, sorted(counts)))} gates",
        )
    elif tile in ("column", UNIT):
        complain.incompatible("prune.gate_sparsity", f"{tile!r} runs over all gates; use gate-column or a smaller tile")
    elif not all(0 <= share <= 1 for share in shares):
        complain("prune.gate_sparsity", f"got {list(shares)}, expected numbers from 0 to 1")
    elif prune.sparsity is not None and abs(prune.sparsity - sum(shares) / len(shares)) > 1e-6:
        complain(
            "prune.sparsity",
            f"got {prune.sparsity:g}, but the mean of prune.gate_sparsity is {sum(shares) / len(shares):g}; "
            "leave one of the two out",
        )


def _check_units(config: TrialConfig, shape: Shape, complain: Findings) -> None:
    prune, sparsity, known = config.prune, sparsity_of(config), shape.matrices()
    for role in ("regularizer", "pruner"):
        method = info(config, role)
        if (
            method is not None
            and method.weights
            and not method.units
            and (role == "pruner" or config.reg.tile in (None, UNIT))
        ):
            key = "reg.kind" if role == "regularizer" else "prune.kind"
            complain.incompatible(key, f"{method.name!r} works on tiles, not on hidden units ('{UNIT}')")
    if prune.scope != "matrix":
        complain("prune.scope", f"got {prune.scope!r}: hidden units are one budget; leave it out")
    if prune.keep_diagonal:
        complain("prune.keep_diagonal", "a kept unit keeps its diagonal; leave it out")
    counted = {known[name].state_key: known[name].shape for name in prune.matrices}
    try:
        none_left = sparsity is not None and not all(kept_units(shape.layers(), counted, sparsity))
    except UsageError as error:
        complain("prune.matrices", str(error).removeprefix("prune.matrices: "))
        return
    if none_left:
        complain("prune.sparsity", f"got {sparsity:g}, which leaves none of {shape.hidden} hidden units; lower it")


def check_delta(config: TrialConfig, prune_tile: str | None, complain: Findings) -> None:
    """Check that the recurrent matrix lies so in memory that single columns can be skipped as the engine runs."""
    if not config.pack.delta:
        return
    if config.pack.format != "f32":
        complain.incompatible("pack.delta", f"needs pack.format f32, got {config.pack.format!r}")
    pruned = config.prune.kind != "none" and "gru.recurrent" in config.prune.matrices
    if pruned and prune_tile not in ("column", "gate-column", UNIT):
        complain.incompatible(
            "pack.delta",
            "skips columns of gru.recurrent as it runs, which needs a dense one or tile column, gate-column or "
            f"{UNIT}, got {prune_tile!r}",
        )


def resolve_tune(config: TrialConfig, complain: Findings) -> Tune:
    """Return `tune` with key and grid in place, both None when nothing is tuned."""
    tune = config.tune
    if tune.grid is None and tune.size == 0:
        if tune.key is not None:
            complain("tune.key", "named, but there is nothing to try; give tune.size or tune.grid")
        return Tune()
    if tune.grid is not None and tune.size not in (0, len(tune.grid)):
        complain("tune.size", f"got {tune.size} beside a tune.grid of {len(tune.grid)}; leave one of the two out")
        return Tune()
    method = info(config, "regularizer") or info(config, "pruner")
    main = method.main if method is not None else catalogue.RATE
    key = tune.key or main.key
    if not _is_number(config, key):
        complain("tune.key", f"got {key!r}, expected the dotted key of a number, such as train.lr or {main.key}")
        return Tune()
    if why := _without_effect(config, key):
        complain("tune.key", f"{key} {'is the main one of the method, but ' if tune.key is None else ''}{why}")
        return Tune()
    grid = tune.grid
    if grid is None:
        if tune.key not in (None, main.key):
            complain("tune.grid", f"missing: bounds are only known of {main.key}; list the values of {key} to try")
            return Tune()
        try:
            grid = tuple(float(f"{value:.6g}") for value in log_grid(main.low, main.high, tune.size))
        except UsageError:
            complain("tune.size", "got 1, expected 0 (nothing is tried) or at least 2")
            return Tune()
    if len(set(grid)) != len(grid) or not grid:
        complain("tune.grid", f"got {list(grid)}, expected different numbers")
    for value in grid:
        if wrong := _wrong(config, key, value):
            complain("tune.grid", f"{key}: {wrong}")
    return Tune(size=len(grid), key=key, grid=grid)


def _without_effect(config: TrialConfig, key: str) -> str | None:
    """Say why values of a key would all give the same arm, None if they would not."""
    if key in ("reg.lambda", "reg.target") and config.reg.kind == "none":
        return "changes nothing while reg.kind is 'none'; name another key"
    if key == "reg.target" and config.reg.lambda_ != CONTROLLED:
        return "changes nothing unless reg.lambda is 'controlled'; name another key, such as reg.lambda"
    return None


def _wrong(config: TrialConfig, key: str, value: float) -> str | None:
    """Say what is wrong with a value for a key that `_is_number`, None if nothing is."""
    head, _, name = key.rpartition(".")
    if head in ("reg.options", "prune.options"):
        method = info(config, "regularizer" if head.startswith("reg") else "pruner")
        assert method is not None, "the key is one of its options"
        option = method.options[name]
        return option.check(int(value) if isinstance(option.default, int) and value.is_integer() else value)
    try:
        type(getattr(config, head)).model_validate({name: value})
    except ValidationError as error:
        wanted = error.errors()[0]["msg"].removeprefix("Input should be ").removeprefix("expected ")
        return f"got {value:g}, expected {wanted}"
    return None


def _is_number(config: TrialConfig, key: str) -> bool:
    """Say whether a dotted key holds a number (or may: lambda, target and sparsity do)."""
    head, _, name = key.rpartition(".")
    if head in ("reg.options", "prune.options"):
        method = info(config, "regularizer" if head.startswith("reg") else "pruner")
        option = method.options.get(name) if method is not None else None
        return option is not None and isinstance(option.default, int | float) and not isinstance(option.default, bool)
    return key in ("reg.lambda", "reg.target", "train.lr", "recover.distil")
