"""What is known of a method before it is loaded: where it comes from, what it needs, what is its own to tune."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

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
    strength
        What `reg.lambda` is to a regularizer of weights: a number, or `controlled` too (the method steers it to
        `reg.target`), or nothing at all.
    units
        Whether it also works on hidden units (groups that span matrices and overlap).
    calibrated
        Whether it needs second moments of the matrices' inputs.
    schedules
        The `prune.schedule`s that it can follow.
    scored
        Whether `prune.score` plays a part, as it does unless a pruner ranks by something of its own.
    gated
        Whether it hangs gates on the network, which so computes something else than its neighbours' networks.
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
    strength: Literal["controlled", "number", "none"] = "number"
    units: bool = True
    calibrated: bool = False
    schedules: tuple[str, ...] = SCHEDULES
    scored: bool = True
    gated: bool = False

    def complete(self, options: Mapping[str, Any]) -> dict[str, float | int | str | bool]:
        """Return the given options with the defaults of the others."""
        return {key: option.default for key, option in self.options.items()} | dict(options)
