"""Settings as leaves: a flat mapping of dotted keys that remembers where each value was written.

The configuration of one arm is `base` with the arm's leaves on top, validated as a document whose lines are the study
file's own, so that an error in an arm names the line that the user wrote.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.config.load import validate
from bench.config.schema import TrialConfig
from bench.config.yaml_lines import Document, Keys, Origin, Problem


@dataclass(frozen=True)
class Leaf:
    """One value and where it was written."""

    value: Any
    origin: Origin


Leaves = dict[str, Leaf]


def read_leaves(document: Document, keys: Keys, section: Any, problems: list[Problem]) -> Leaves:
    """Read the section of trial settings at `keys`, whose keys are dotted already (see `studies.overlay`)."""
    if section is None:
        return {}
    if not isinstance(section, Mapping):
        problems.append(document.problem(keys, f"got {section!r}, expected trial settings such as prune.tile: 16x1"))
        return {}
    return {key: Leaf(value, document.origin((*keys, key))) for key, value in section.items()}


def build(source: str, leaves: Leaves) -> TrialConfig:
    """Return the valid, resolved trial configuration that `leaves` describe.

    Raises
    ------
    ConfigError
        All problems found, each at the line of its leaf.
    """
    data: dict[str, Any] = {}
    origins: dict[Keys, Origin] = {}
    for key, leaf in leaves.items():
        *sections, last = key.split(".")
        inner = data
        for section in sections:
            deeper = inner.setdefault(section, {})
            if not isinstance(deeper, dict):  # `prune: 3` beside `prune.tile`: let the schema complain about the first
                break
            inner = deeper
        else:
            inner[last] = leaf.value
        origins[tuple(key.split("."))] = leaf.origin
    return validate(Document(source, data, origins))


def without(leaves: Leaves, *sections: str) -> Leaves:
    """Return the leaves outside the given sections (or full keys)."""
    dropped = tuple(f"{section}." for section in sections)
    return {key: leaf for key, leaf in leaves.items() if key not in sections and not key.startswith(dropped)}
