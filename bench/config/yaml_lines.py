"""YAML that remembers where each value came from, so that an error can name file, line and key.

Used by every file that a user writes (trial configurations, study files): `read` gives plain data plus the origin
of each dotted path; `Problem` is one error in the user's terms; `ConfigError` reports all of them at once.
"""

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from bench.errors import UsageError
from bench.errors import did_you_mean as did_you_mean

Keys = tuple[str | int, ...]
"""Path to a value: mapping keys and list positions from the root."""


@dataclass(frozen=True)
class Origin:
    """Where a value was written: a file and its line (1-based), or the text of an override."""

    source: str
    line: int | None = None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a configuration."""

    origin: Origin
    keys: Keys
    message: str
    incompatible: bool = False
    """Whether each value is right by itself and only their combination cannot exist."""

    def __str__(self) -> str:
        key = dotted(self.keys)
        return f"{self.origin}: {key}: {self.message}" if key else f"{self.origin}: {self.message}"


class ConfigError(UsageError):
    """All the problems of one configuration (exit code 2)."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        lines = [str(problem) for problem in self.problems]
        head = [] if len(lines) == 1 else [f"{len(lines)} problems in the configuration:"]
        super().__init__("\n  ".join(head + lines))


@contextlib.contextmanager
def collected(problems: list[Problem]) -> Iterator[None]:
    """Add the problems of a ConfigError to a list instead of raising it, so that others can be looked for."""
    try:
        yield
    except ConfigError as error:
        problems += error.problems


@dataclass(frozen=True)
class Document:
    """Plain data of one YAML file and the origin of each of its values.

    Attributes
    ----------
    source
        File name as the user gave it.
    data
        Nested dict / list / scalar values, free to be changed by nobody: use `override`.
    origins
        Origin of each path that was written; look paths up with `origin`, which falls back to the nearest ancestor.
    """

    source: str
    data: dict[str, Any]
    origins: Mapping[Keys, Origin] = field(default_factory=dict)

    def origin(self, keys: Keys) -> Origin:
        """Return where `keys`, or else something below it, or else the nearest thing around it, was written."""
        if keys and keys not in self.origins:
            for path, origin in self.origins.items():
                if path[: len(keys)] == keys:
                    return origin
        for length in range(len(keys), 0, -1):
            if keys[:length] in self.origins:
                return self.origins[keys[:length]]
        return Origin(self.source)

    def problem(self, keys: Keys, message: str) -> Problem:
        """Return a problem located at `keys`."""
        return Problem(self.origin(keys), keys, message)

    def override(self, assignments: Iterable[str]) -> "Document":
        """Return a copy with each `dotted.key=YAML value` set (the command line's `--set`).

        Raises
        ------
        ConfigError
            An assignment without `=`, with an empty key, with a value that is not YAML, or into something that is
            not a mapping.
        """
        data, origins = _copy(self.data), dict(self.origins)
        problems: list[Problem] = []
        for assignment in assignments:
            origin = Origin(f"--set {assignment}")
            key, equals, text = assignment.partition("=")
            keys: Keys = tuple(key.strip().split("."))
            if not equals or not all(keys):
                problems.append(Problem(origin, (), "expected dotted.key=value, for example prune.sparsity=0.7"))
                continue
            try:
                value = yaml.load(text, Loader=_Loader)
            except yaml.YAMLError:
                problems.append(Problem(origin, keys, f"the value {text!r} is not valid YAML"))
                continue
            if not _put(data, keys, value):
                problems.append(Problem(origin, keys, "there is no section to set this key in"))
                continue
            origins = {path: where for path, where in origins.items() if path[: len(keys)] != keys}
            origins[keys] = origin
        if problems:
            raise ConfigError(problems)
        return replace(self, data=data, origins=origins)


def dotted(keys: Keys) -> str:
    """Return `prune.matrices[1]` for ("prune", "matrices", 1)."""
    text = ""
    for key in keys:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else str(key)
    return text


def unknown_key(document: Document, keys: Keys, allowed: Sequence[str]) -> Problem:
    """Return the problem of a key that nothing reads, with what is allowed in its place."""
    hint = did_you_mean(keys[-1], allowed)
    return document.problem(keys, f"unknown key{hint or ';'} allowed here: {', '.join(sorted(allowed))}")


def read(path: str | Path) -> Document:
    """Read a YAML file whose root is a mapping.

    Raises
    ------
    ConfigError
        The file is not valid YAML, or a key occurs twice in one mapping.
    UsageError
        The file cannot be read, or is not UTF-8.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); give the path of a YAML file") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is not UTF-8 text; give the path of a YAML file") from error
    return parse(text, str(path))


def parse(text: str, source: str) -> Document:
    """Like `read`, from text; `source` names it in errors."""
    try:
        loader = _Loader(text)
    except yaml.reader.ReaderError as error:
        at_line = text.count("\n", 0, error.position) + 1
        what = f"not text: character {error.position + 1} has code {error.character}, which YAML does not allow"
        raise ConfigError([Problem(Origin(source, at_line), (), what)]) from error
    try:
        root = loader.get_single_node()
        if root is None:
            return Document(source, {})
        if not isinstance(root, yaml.MappingNode):
            line = root.start_mark.line + 1
            raise ConfigError([Problem(Origin(source, line), (), "expected a mapping of keys to values at the top")])
        walk = _Walk(loader, source)
        data = walk.value(root, ())
        assert isinstance(data, dict)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line_number = mark.line + 1 if mark else None
        what = error.problem or error.context or "syntax error"
        raise ConfigError([Problem(Origin(source, line_number), (), f"not valid YAML: {what}")]) from error
    except yaml.YAMLError as error:
        raise ConfigError([Problem(Origin(source), (), f"not valid YAML: {error}")]) from error
    finally:
        loader.dispose()
    if walk.problems:
        raise ConfigError(walk.problems)
    return Document(source, data, walk.origins)


class _Loader(yaml.SafeLoader):
    """Safe YAML in which `1e-4` is a number (YAML 1.2) and dates, `0x4` (a tile, not 4), `010` and `1:30` stay text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":timestamp", ":float", ":int"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_FLOAT = re.compile(r"[-+]?(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][-+]?\d+)?$|[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$")
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))
_INT = re.compile(r"[-+]?(0|[1-9][0-9_]*)$")
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", _INT, list("-+0123456789"))


class _Walk:
    """Turns a node tree into plain data, noting each path's line and each repeated key."""

    def __init__(self, loader: _Loader, source: str) -> None:
        self.loader, self.source = loader, source
        self.origins: dict[Keys, Origin] = {}
        self.problems: list[Problem] = []
        self._open: set[int] = set()

    def value(self, node: yaml.Node, keys: Keys) -> Any:
        origin = Origin(self.source, node.start_mark.line + 1)
        self.origins.setdefault(keys, origin)
        if isinstance(node, yaml.ScalarNode):
            return self.loader.construct_object(node)
        if id(node) in self._open:
            self.problems.append(Problem(origin, keys, "an alias that contains itself"))
            return None
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                return [self.value(item, (*keys, position)) for position, item in enumerate(node.value)]
            return self._mapping(node, keys)
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: yaml.Node, keys: Keys) -> dict[str, Any]:
        assert isinstance(node, yaml.MappingNode)
        written = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        self.loader.flatten_mapping(node)  # resolves `<<: *defaults`
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            origin = Origin(self.source, key_node.start_mark.line + 1)
            if not isinstance(key_node, yaml.ScalarNode):
                self.problems.append(Problem(origin, keys, "a key must be a word"))
                continue
            key = str(key_node.value)
            path = (*keys, key)
            if key in data and written.count(key) > 1:
                self.problems.append(Problem(origin, path, f"written twice, first on line {self.origins[path].line}"))
                continue
            self.origins[path] = origin
            data[key] = self.value(value_node, path)
        return data


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def _put(data: dict[str, Any], keys: Keys, value: Any) -> bool:
    """Set a nested key, making missing sections; False where something on the way is not a section."""
    for key in keys[:-1]:
        if data.get(str(key)) is None:
            data[str(key)] = {}
        data = data[str(key)]
        if not isinstance(data, dict):
            return False
    data[str(keys[-1])] = value
    return True
