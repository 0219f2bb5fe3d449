"""The one table of methods: what each is, where it comes from, what it needs, what is its own to tune.

Plain Python, so that a configuration is checked, and `lanewise methods` prints, without loading torch. A method is one
small file below `bench/sparsity/methods`, or one of your own (`docs/add-a-method.md`).
"""

import contextlib
import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

from bench.errors import UsageError
from bench.sparsity import tile

if TYPE_CHECKING:
    from bench.sparsity.method import Method

Role = Literal["regularizer", "pruner"]
SCHEDULES = ("cubic", "one-shot", "offline", "progress5", "staged", "linear")
GRADUAL = ("cubic", "progress5", "staged", "linear")


@dataclass(frozen=True)
class Option:
    """One hyper-parameter of a method's own, a key of `reg.options` or `prune.options`.

    Attributes
    ----------
    default
        Its type is the option's type.
    meaning
        In words.
    low, high
        Bounds of a number, inclusive.
    choices
        Allowed words.
    """

    default: float | int | str | bool
    meaning: str
    low: float = float("-inf")
    high: float = float("inf")
    choices: tuple[str, ...] = ()

    def check(self, value: Any) -> str | None:
        """Say what is wrong with a value, None if nothing is."""
        if isinstance(self.default, bool):
            return None if isinstance(value, bool) else f"got {value!r}, expected true or false"
        if isinstance(self.default, str):
            return None if value in self.choices else f"got {value!r}, expected one of {', '.join(self.choices)}"
        kinds = (int,) if isinstance(self.default, int) else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not self.low <= value <= self.high:
            what = "a whole number" if isinstance(self.default, int) else "a number"
            return f"got {value!r}, expected {what} from {self.low:g} to {self.high:g}"
        return None


@dataclass(frozen=True)
class Main:
    """A method's main hyper-parameter: what `tune` varies when nothing else is named.

    Attributes
    ----------
    key
        Its dotted key in a configuration.
    low, high
        Ends of the grid, equally spaced in the logarithm.
    """

    key: str
    low: float
    high: float


RATE = Main("train.lr", 5e-4, 2e-3)
"""Main hyper-parameter of a method that has none of its own: the learning rate of its recovery."""


@dataclass(frozen=True)
class MethodInfo:
    """What is known of a method before it is loaded.

    Attributes
    ----------
    name
        Its `reg.kind` or `prune.kind`.
    role
        `regularizer` (pulls groups to zero, chooses none) or `pruner` (chooses which groups are kept).
    where
        `module:Class` of the `bench.sparsity.method.Method`.
    summary
        One line: what it does, to what.
    source
        Paper or "this project's own".
    options
        Its own hyper-parameters.
    main
        The one that is tuned.
    cost
        Work beside a plain training step.
    weights
        Whether it acts on groups of weights, hence has a tile, a lambda and a form.
    units
        Whether it also works on hidden units (groups that span matrices and overlap).
    calibrated
        Whether it needs second moments of the matrices' inputs.
    schedules
        The `prune.schedule`s that it can follow.
    scored
        Whether `prune.score` plays a part, as it does unless a pruner ranks by something of its own.
    """

    name: str
    role: Role
    where: str
    summary: str
    source: str
    cost: str
    options: Mapping[str, Option] = field(default_factory=dict)
    main: Main = RATE
    weights: bool = True
    units: bool = True
    calibrated: bool = False
    schedules: tuple[str, ...] = SCHEDULES
    scored: bool = True

    def complete(self, options: Mapping[str, Any]) -> dict[str, float | int | str | bool]:
        """Return the given options with the defaults of the others."""
        return {key: option.default for key, option in self.options.items()} | dict(options)


_LASSO = Main("reg.target", 0.02, 0.5)

METHODS: dict[tuple[Role, str], MethodInfo] = {}


def add(info: MethodInfo) -> MethodInfo:
    """Put a method into the table.

    Raises
    ------
    UsageError
        If its name is taken.
    """
    key = (info.role, info.name)
    known = METHODS.get(key)
    if info.name == "none" or (known is not None and known != info):
        raise UsageError(f"{info.role} {info.name!r}: the name is taken; choose another")
    METHODS[key] = info
    return info


M = TypeVar("M", bound=type)


def register(info: MethodInfo) -> Callable[[M], M]:
    """Class decorator that puts a method of your own into the table; `info.where` may be empty.

    Raises
    ------
    UsageError
        If its name is taken, or the class is none of its role.
    """

    def decorate(method: M) -> M:
        from bench.sparsity.method import Method, Pruner  # torch, which the file that defines a method has loaded

        if info.role not in get_args(Role):
            raise UsageError(f"{info.name!r}: got role {info.role!r}, expected one of {', '.join(get_args(Role))}")
        wanted = "Pruner" if info.role == "pruner" else "Method that is no Pruner"
        if not issubclass(method, Method) or issubclass(method, Pruner) != (info.role == "pruner"):
            raise UsageError(f"{info.role} {info.name!r}: {method.__name__} must be a bench.sparsity.method.{wanted}")
        if (info.role, info.name) in METHODS:
            raise UsageError(f"{info.role} {info.name!r}: the name is taken; choose another")
        add(info)
        _LOADED[(info.role, info.name)] = method
        return method

    return decorate


@contextlib.contextmanager
def undone_on_error() -> Iterator[None]:
    """Take back the methods and tiles that were registered inside, if it ends in an error."""
    tables: tuple[dict[Any, Any], ...] = (METHODS, _LOADED, tile._NAMED)
    before = [dict(table) for table in tables]
    try:
        yield
    except BaseException:
        for table, content in zip(tables, before, strict=True):
            table.clear()
            table.update(content)
        raise


_LOADED: dict[tuple[Role, str], Any] = {}


def names(role: Role) -> list[str]:
    """Names of the methods of a role, `none` first."""
    return ["none", *(name for kind, name in METHODS if kind == role)]


def info(role: Role, name: str) -> MethodInfo:
    """Return what is known of a method (KeyError if there is none)."""
    return METHODS[(role, name)]


def every() -> Iterator[MethodInfo]:
    """Yield every method, in the table's order."""
    yield from METHODS.values()


def load(role: Role, name: str) -> "type[Method]":
    """Return a method's class, importing its file."""
    if (role, name) not in _LOADED:
        module, _, attribute = METHODS[(role, name)].where.partition(":")
        _LOADED[(role, name)] = getattr(importlib.import_module(module), attribute)
    loaded: type[Method] = _LOADED[(role, name)]
    return loaded


_HERE = "bench.sparsity.methods"

add(
    MethodInfo(
        name="lasso",
        role="regularizer",
        where=f"{_HERE}.lasso:Lasso",
        summary="l1 norm of every weight, proximal or subgradient, after each update",
        source="Tibshirani 1996; in a vocoder: arXiv 2211.00898 (its equations are not public)",
        cost="one pass over the matrices",
        main=_LASSO,
    )
)
add(
    MethodInfo(
        name="group_lasso",
        role="regularizer",
        where=f"{_HERE}.lasso:Lasso",
        summary="sqrt(size) * l2 norm of every tile of `reg.tile`, proximal or subgradient, after each update",
        source="Yuan & Lin 2006; columns: Wen et al. 2016 (arXiv 1608.03665); SIMD groups: arXiv 2211.00898",
        cost="one pass over the matrices",
        main=_LASSO,
    )
)
add(
    MethodInfo(
        name="sparse_group_lasso",
        role="regularizer",
        where=f"{_HERE}.sparse_group_lasso:SparseGroup",
        summary="(1 - alpha) of group_lasso + alpha of lasso: sparse also within the tiles that stay",
        source="Friedman, Hastie & Tibshirani 2010 (arXiv 1001.0736); Simon et al. 2013",
        options={"alpha": Option(0.5, "share of the l1 term; 0 is group_lasso", low=0.0, high=0.95)},
        main=Main("reg.options.alpha", 0.05, 0.8),
        cost="two passes over the matrices, seven where lambda is controlled",
    )
)
add(
    MethodInfo(
        name="skip_update",
        role="regularizer",
        where=f"{_HERE}.skip_update:SkipUpdate",
        summary="learns a gate that lets the GRU update its state at some steps only; acts on time, not on weights",
        source="Skip-RNN: Campos et al. 2018 (arXiv 1708.06834)",
        options={"cost": Option(0.3, "bits of loss per share of steps that update the state", low=0.0, high=100.0)},
        main=Main("reg.options.cost", 0.05, 2.0),
        cost="the recurrence in plain torch, about ten times as slow as a plain step on a CPU",
        weights=False,
        units=False,
    )
)
add(
    MethodInfo(
        name="magnitude",
        role="pruner",
        where=f"{_HERE}.magnitude:Magnitude",
        summary="keeps the tiles of largest norm (`prune.score`)",
        source="Han et al. 2015 (arXiv 1506.02626); gradual: Zhu & Gupta 2017 (arXiv 1710.01878)",
        cost="a sort of the tiles at each pruning step",
    )
)
add(
    MethodInfo(
        name="random",
        role="pruner",
        where=f"{_HERE}.random:Random",
        summary="keeps tiles drawn by `seed.recover`: the control that every other method has to beat",
        source="control",
        cost="none",
        scored=False,
    )
)
add(
    MethodInfo(
        name="activation",
        role="pruner",
        where=f"{_HERE}.activation:Activation",
        summary="keeps the tiles of largest |weight| * rms of its input",
        source="Wanda: Sun et al. 2023 (arXiv 2306.11695), on tiles",
        cost="at each `every`-th pruning 8 batches forward",
        options={
            "every": Option(10, "prunings between measurements of the inputs", 1, 10_000),
        },
        calibrated=True,
        scored=False,
    )
)
add(
    MethodInfo(
        name="second_order",
        role="pruner",
        where=f"{_HERE}.second_order:SecondOrder",
        summary="prunes the tiles that change the outputs least, and refits the kept weights by least squares",
        source="optimal brain surgeon: Hassibi & Stork 1993; in one shot: SparseGPT, Frantar & Alistarh 2023 "
        "(arXiv 2301.00774)",
        cost="at each pruning, `rounds` times 8 batches forward and a factorisation per row",
        options={
            "damping": Option(0.1, "added to H's diagonal, as a share of its mean", 1e-6, 10.0),
            "rounds": Option(
                8, "rounds in which tiles go; in between, weights are refitted and inputs measured", 1, 100
            ),
            "update": Option(True, "refit the kept weights (false: only choose by saliency)"),
        },
        main=Main("prune.options.damping", 1e-2, 1.0),
        calibrated=True,
        schedules=("one-shot", "offline", "staged"),
        scored=False,
    )
)
add(
    MethodInfo(
        name="rigl",
        role="pruner",
        where=f"{_HERE}.rigl:Rigl",
        summary="constant sparsity from the start; drops tiles by magnitude and grows others by gradient",
        source="Evci et al. 2020 (arXiv 1911.11134)",
        options={
            "alpha": Option(0.3, "share of the kept tiles replaced at first; falls to zero along a cosine", 0.0, 1.0),
            "every": Option(10, "steps between replacements", 1),
            "start": Option(
                "magnitude",
                "masks at the start: `magnitude` or `random` at the final sparsity, or following prune.`schedule`",
                choices=("magnitude", "random", "schedule"),
            ),
        },
        main=Main("prune.options.alpha", 0.05, 0.5),
        cost="two norms of all tiles and two sorts at each replacement",
        schedules=GRADUAL,
    )
)

_LAMBDA = Option(0.0, "strength of the penalty; 0: controlled, so that the share kept follows the schedule", 0.0, 1e6)

add(
    MethodInfo(
        name="threshold",
        role="pruner",
        where=f"{_HERE}.threshold:Threshold",
        summary="learns one threshold per layer by straight-through gradients and a penalty on the tiles above it",
        source="TinyLSTMs, Fedorov et al. 2020 (arXiv 2005.11138)",
        options={
            "lambda": _LAMBDA,
            "width": Option(0.3, "width of the sigmoid, in median tiles of the layer", 1e-3, 1e3),
            "travel": Option(4.0, "how far a threshold can rise while pruning lasts, in median tiles", 1e-3, 1e3),
        },
        main=Main("prune.options.width", 0.1, 3.0),
        cost="three passes over the matrices and a sort of the tiles at each step",
        schedules=GRADUAL,
        scored=False,
    )
)
add(
    MethodInfo(
        name="hard_concrete",
        role="pruner",
        where=f"{_HERE}.hard_concrete:HardConcrete",
        summary="learns a stochastic gate per tile under a penalty on the expected share of open gates (L0)",
        source="Louizos, Welling & Kingma 2018 (arXiv 1712.01312)",
        options={
            "lambda": _LAMBDA,
            "start": Option(4.0, "log alpha of an average tile", -10.0, 10.0),
            "prior": Option(1.0, "how much the logarithm of a tile's magnitude adds to it; 0: the paper's", 0.0, 10.0),
            "travel": Option(12.0, "how far a log alpha can move while pruning lasts", 1e-3, 1e3),
        },
        main=Main("prune.options.start", 1.0, 6.0),
        cost="a pass over the matrices, a draw and a sort of the tiles at each step",
        schedules=GRADUAL,
        scored=False,
    )
)
add(
    MethodInfo(
        name="unify",
        role="pruner",
        where=f"{_HERE}.unify:Unify",
        summary="prunes tiles by magnitude; in a kept one all weights share one magnitude and keep their signs",
        source="arXiv 2106.08301 (its alternating schedule could not be read: straight-through here)",
        cost="three passes over the matrices",
        units=False,
    )
)
add(
    MethodInfo(
        name="bit_sharing",
        role="pruner",
        where=f"{_HERE}.bit_sharing:BitSharing",
        summary="learns 0 (pruned), 2, 4 or 8 bits for every tile, by gates and a penalty on bits",
        source="arXiv 2101.04935 (how its gates move could not be read: divided by their running size here)",
        cost="about twenty passes over the matrices",
        options={"penalty": Option(0.1, "bits of loss per bit of a weight", 0.0, 1e6)},
        main=Main("prune.options.penalty", 0.01, 1.0),
        units=False,
        schedules=GRADUAL,
        scored=False,
    )
)
