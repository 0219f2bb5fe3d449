"""What checks of a configuration find, key by key."""

from dataclasses import dataclass, field

from bench.config.yaml_lines import Keys


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes
    ----------
    keys, message
        Where, and what.
    incompatible
        Whether each value is right by itself and only the combination cannot exist: a grid skips such a point.
    """

    keys: Keys
    message: str
    incompatible: bool = False


@dataclass
class Findings:
    """Problems by dotted key, in the order found."""

    found: list[Finding] = field(default_factory=list)

    def __call__(self, key: str, message: str) -> None:
        """Add a mistake."""
        self.found.append(Finding(tuple(key.split(".")), message))

    def incompatible(self, key: str, message: str) -> None:
        """Add a combination that cannot exist."""
        self.found.append(Finding(tuple(key.split(".")), message, incompatible=True))
