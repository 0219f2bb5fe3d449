"""From a YAML file, or from values that a study chose, to a valid trial configuration."""

import copy
import difflib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from bench.config import plugins
from bench.config.check import CLASHES_REST_ON, resolve
from bench.config.host import check_host
from bench.config.schema import TrialConfig
from bench.config.yaml_lines import ConfigError, Document, Keys, Problem, did_you_mean, dotted, read, unknown_key


def load(path: str | Path | None, overrides: Iterable[str] = (), here: bool = False) -> TrialConfig:
    """Read, override, validate and resolve the configuration of one trial.

    Parameters
    ----------
    path
        YAML file; None for the defaults.
    overrides
        Assignments `dotted.key=value` that win over the file.
    here
        Whether this host is to run it, and so must have what it asks for.

    Raises
    ------
    ConfigError
        All problems found, each with file, line, key, what was got and what is allowed (exit code 2).
    """
    document = (read(path) if path is not None else Document("defaults", {})).override(overrides)
    config = validate(document)
    if here:
        check_host(document, config)
    return config


def validate(document: Document) -> TrialConfig:
    """Return the resolved configuration that a document describes.

    Raises
    ------
    ConfigError
        A plug-in that cannot be loaded; else all problems found: values that are wrong by themselves, and what the
        right ones cannot mean together.
    """
    document = plugins.load(document)
    wrong: list[ErrorDetails] = []
    try:
        config = TrialConfig.model_validate(document.data)
    except ValidationError as error:
        wrong = error.errors()
        config = _rest(document.data, wrong)
    resolved, clashes = resolve(config)
    problems = [_problem(document, item) for item in wrong]
    doubtful = [_meant(item) for item in wrong]
    problems += [
        replace(document.problem(clash.keys, clash.message), incompatible=clash.incompatible)
        for clash in clashes
        if not _rests_on(clash.keys, doubtful)
    ]
    if problems:
        raise ConfigError(_in_file_order(problems))
    return resolved


def _rest(data: dict[str, Any], wrong: Sequence[ErrorDetails]) -> TrialConfig:
    """Return the configuration without the values that are wrong by themselves: the defaults stand for them."""
    kept = copy.deepcopy(data)
    for item in wrong:
        inner, path = kept, [str(key) for key in item["loc"]]
        while len(path) > 1 and isinstance(inner.get(path[0]), dict):
            inner = inner[path.pop(0)]
        inner.pop(path[0], None)
    return TrialConfig.model_validate(kept)


def _meant(item: ErrorDetails) -> str:
    """Return the dotted key whose value is in doubt: where it was written, or what an unknown key was meant to be."""
    keys = [str(key) for key in item["loc"]]
    section = section_at(keys[:-1])
    if item["type"] == "extra_forbidden" and section is not None:
        near = difflib.get_close_matches(keys[-1], allowed_keys(section), n=1)
        return ".".join([*keys[:-1], *near]) if near else ""
    return ".".join(keys).removesuffix("_")  # `lambda_` is `lambda`


def _rests_on(keys: Keys, doubtful: Iterable[str]) -> bool:
    """Say whether a clash at `keys` may come from a default that stands for a doubtful value."""
    key = dotted(keys)
    section = key.partition(".")[0]
    grounds = CLASHES_REST_ON.get(key) or CLASHES_REST_ON.get(section) or (section,)
    return any(
        f"{doubt}.".startswith(f"{ground}.") or f"{ground}.".startswith(f"{doubt}.")
        for doubt in doubtful
        if doubt
        for ground in grounds
    )


def from_dict(data: dict[str, Any], source: str = "configuration") -> TrialConfig:
    """Like `validate`, for nested plain data that was not read from a file; `source` names it in errors."""
    return validate(Document(source, data))


def section_at(keys: Sequence[str | int]) -> type[BaseModel] | None:
    """Return the model of the section at a path (() is the whole trial), None where there is no section."""
    model: type[BaseModel] = TrialConfig
    for key in keys:
        names = {field.alias or name: field for name, field in model.model_fields.items()}
        annotation = names[str(key)].annotation if key in names else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return None
        model = annotation
    return model


def allowed_keys(section: type[BaseModel]) -> list[str]:
    """Return the keys of a section as they are written in a file."""
    return [field.alias or name for name, field in section.model_fields.items()]


def _problem(document: Document, item: ErrorDetails) -> Problem:
    keys: Keys = tuple(item["loc"])
    kind, got = item["type"], item["input"]
    if kind == "extra_forbidden":
        section = section_at(keys[:-1])
        return unknown_key(document, keys, allowed_keys(section) if section else [])
    if kind == "missing":
        return document.problem(keys, "missing; it has no default")
    if kind in ("model_type", "model_attributes_type"):
        section = section_at(keys)
        names = f": {', '.join(allowed_keys(section))}" if section else ""
        return document.problem(keys, f"got {got!r}, expected a section of keys{names}")
    if kind == "method":
        allowed = item["ctx"]["expected"].split(", ")
        return document.problem(keys, f"got {got!r}, expected one of {', '.join(allowed)}{did_you_mean(got, allowed)}")
    if kind == "literal_error":
        allowed = _choices(keys) or [str(item["ctx"]["expected"])]
        return document.problem(keys, f"got {got!r}, expected one of {', '.join(allowed)}{did_you_mean(got, allowed)}")
    wanted = item["msg"].removeprefix("Input should be ").removeprefix("expected ")
    return document.problem(keys, f"got {got!r}, expected {wanted}")


def _choices(keys: Keys) -> list[str]:
    """Return the literal values that a field allows, wherever they stand in its type."""
    names = [key for key in keys if isinstance(key, str)]
    section, name = section_at(names[:-1]), names[-1]
    if section is None:
        return []
    fields = {field.alias or field_name: field for field_name, field in section.model_fields.items()}
    return [value for value in _literals(fields[name].annotation) if isinstance(value, str)] if name in fields else []


def _literals(annotation: Any) -> list[Any]:
    found: list[Any] = []
    for argument in get_args(annotation):
        found += _literals(argument) if get_args(argument) else [argument]
    return found


def _in_file_order(problems: list[Problem]) -> list[Problem]:
    return sorted(problems, key=lambda problem: problem.origin.line or 0)
