"""What is laid over a study file before it is read: its own `fast:` section, then `--set`.

A file may write a trial's setting as `prune.tile: 16x1` or nest it as `prune: {tile: 16x1}`; both are made into dotted
keys first, so that what is laid over meets what it replaces.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bench.config.load import section_at
from bench.config.yaml_lines import ConfigError, Document, Keys, Origin, Problem, did_you_mean, unknown_key
from studies.space import KINDS

Origins = dict[Keys, Origin]


def dotted_sections(document: Document, problems: list[Problem]) -> Document:
    """Return the document with dotted keys in `base`, in each arm and in each bundle of the search (in `fast` too).

    A setting that is written twice in one section, nested and dotted, is added to `problems`.
    """
    origins = dict(document.origins)
    data = _dotted(document, document.data, (), origins, problems)
    if isinstance(data.get("fast"), dict):
        data["fast"] = _dotted(document, data["fast"], ("fast",), origins, problems)
    return replace(document, data=data, origins=origins)


def _dotted(
    document: Document, data: Mapping[str, Any], at: Keys, origins: Origins, problems: list[Problem]
) -> dict[str, Any]:
    def flat(section: Any, keys: Keys) -> Any:
        if not isinstance(section, dict):
            return section  # the check of the study file complains
        found: dict[str, Any] = {}

        def walk(values: Mapping[str, Any], path: Keys, prefix: tuple[str, ...]) -> None:
            for key, value in values.items():
                name = (*prefix, *key.split("."))
                if isinstance(value, dict) and section_at(name) is not None:
                    walk(value, (*path, key), name)
                elif ".".join(name) in found:
                    problems.append(document.problem((*path, key), f"{'.'.join(name)} is set twice in this section"))
                else:
                    found[".".join(name)] = value
                    origins[(*keys, ".".join(name))] = document.origin((*path, key))

        walk(section, keys, ())
        return found

    def each(sections: Any, keys: Keys) -> Any:
        if not isinstance(sections, dict):
            return sections
        return {name: flat(section, (*keys, name)) for name, section in sections.items()}

    made = dict(data)
    if "base" in made:
        made["base"] = flat(made["base"], (*at, "base"))
    if "arms" in made:
        made["arms"] = each(made["arms"], (*at, "arms"))
    if isinstance(made.get("search"), dict):
        made["search"] = {
            axis: {"choice": each(spec["choice"], (*at, "search", axis, "choice"))}
            if isinstance(spec, dict) and isinstance(spec.get("choice"), dict) and len(spec) == 1
            else spec
            for axis, spec in made["search"].items()
        }
    return made


def lay_fast(document: Document, known: Sequence[str]) -> Document:
    """Lay the `fast:` section over the rest; the study gets a name of its own.

    Raises
    ------
    ConfigError
        There is no such section, or it has a key that a study has not, or names an arm that there is not.
    """
    section = document.data.get("fast")
    if not isinstance(section, dict) or not section:
        raise ConfigError([document.problem(("fast",), "this study has no fast form; add a `fast:` section")])
    allowed = [key for key in known if key not in ("name", "fast")]
    unknown = [unknown_key(document, ("fast", key), allowed) for key in section if key not in allowed]
    if unknown:
        raise ConfigError(unknown)
    data = {key: value for key, value in document.data.items() if key != "fast"}
    over = dict(section)
    if isinstance(over.get("arms"), list):
        at = ("fast", "arms")
        data["arms"] = _kept(_mapping(data.get("arms")), over.pop("arms"), document.origin(at), at)
    origins = dict(document.origins)
    data = _merge(data, over, (), origins)
    if isinstance(data.get("name"), str):
        data["name"] += "-fast"
    return replace(document, data=data, origins=origins)


def _kept(arms: Mapping[str, Any], names: Sequence[Any], origin: Origin, keys: Keys) -> dict[str, Any]:
    """Return the arms that `names`, written at `keys`, keep."""
    for name in names:
        if name not in arms:
            what = f"no arm {name!r}{did_you_mean(str(name), arms)}; arms: {', '.join(arms)}"
            raise ConfigError([Problem(origin, keys, what)])
    return {name: settings for name, settings in arms.items() if name in names}


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _merge(under: dict[str, Any], over: dict[str, Any], keys: Keys, origins: Origins) -> dict[str, Any]:
    """Lay `over` (written at `fast` + keys) over `under`, section by section; an axis of the search gives way whole."""
    merged = dict(under)
    for key, value in over.items():
        path = (*keys, key)
        if isinstance(value, dict) and isinstance(merged.get(key), dict) and keys != ("search",):
            merged[key] = _merge(merged[key], value, path, origins)
            continue
        merged[key] = value
        for written in [written for written in origins if written[: len(path) + 1] == ("fast", *path)]:
            origins[written[1:]] = origins[written]
    return merged


def lay_assignments(
    document: Document, assignments: Iterable[str], known: Sequence[str], every: Mapping[str, Any]
) -> Document:
    """Lay `--set key=value` over the study: a key of a trial means `base`, any other the study file itself.

    `--set arms=[NAME, ...]` keeps these arms alone, of the study's or of `every` (those that the file has, before
    `fast` chose among them).

    Raises
    ------
    ConfigError
        An assignment that cannot be read, or that meets something that is no section, or names no arm.
    """
    data, origins = dict(document.data), dict(document.origins)
    for assignment in assignments:
        read = Document("--set", {}).override([assignment])
        keys = next(keys for keys in read.origins)
        value: Any = read.data
        for key in keys:
            value = value[key]
        goes_to, value = _target(data, tuple(str(key) for key in keys), value, known)
        if goes_to == ("arms",) and isinstance(value, list):
            arms = {**every, **_mapping(data.get("arms"))}
            data["arms"] = _kept(arms, value, Origin(f"--set {assignment}"), goes_to)
            continue
        for target, setting in _settings(goes_to, value):
            inner = data
            for key in target[:-1]:
                inner[key] = dict(inner[key]) if isinstance(inner.get(key), dict) else {}
                inner = inner[key]
            inner[target[-1]] = setting
            for stale in [written for written in origins if written[: len(target)] == target]:
                del origins[stale]
            origins[target] = Origin(f"--set {assignment}")
    return replace(document, data=data, origins=origins)


def _settings(target: tuple[str, ...], value: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Take a section of a trial apart, for the file has its settings one by one: `measure={test_clips: 6}`."""
    in_trial = (target[0] == "base" and len(target) == 2) or (target[0] == "arms" and len(target) == 3)
    if in_trial and isinstance(value, dict) and value and section_at(tuple(target[-1].split("."))) is not None:
        for key, inner in value.items():
            yield from _settings((*target[:-1], f"{target[-1]}.{key}"), inner)
    else:
        yield target, value


def _target(
    data: Mapping[str, Any], keys: tuple[str, ...], value: Any, known: Sequence[str]
) -> tuple[tuple[str, ...], Any]:
    """Return where an assignment goes in the study file, and the value it sets there."""
    head, rest = keys[0], keys[1:]
    if head not in known:
        return ("base", ".".join(keys)), value
    if head == "base" and rest:
        return ("base", ".".join(rest)), value
    if head == "arms" and rest:
        arms = _mapping(data.get("arms"))
        for length in range(len(rest), 0, -1):  # an arm's name may have dots itself
            name, settings = ".".join(rest[:length]), rest[length:]
            if name in arms:
                return (("arms", name, ".".join(settings)) if settings else ("arms", name)), value
    if head == "search" and len(rest) > 1 and rest[-1] in KINDS:
        return ("search", ".".join(rest[:-1])), {rest[-1]: value}
    if head == "search" and rest:
        return ("search", ".".join(rest)), value
    return keys, value
