"""The one table of methods: the suite's own, and those that plug-ins add.

Plain Python, so that a configuration is checked, and `lanewise methods` prints, without loading torch. A method is one
small file below `bench/sparsity/methods` and an entry of `bench.sparsity.entries`, or one of your own
(`docs/add-a-method.md`).
"""

import contextlib
import importlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from bench.errors import UsageError
from bench.sparsity import tile
from bench.sparsity.entries import ENTRIES
from bench.sparsity.method_info import GRADUAL, RATE, SCHEDULES, Main, MethodInfo, Option, Role

if TYPE_CHECKING:
    from bench.sparsity.method import Method

__all__ = [
    "GRADUAL", "METHODS", "RATE", "SCHEDULES", "Main", "MethodInfo", "Option", "Role", "every", "info", "load", "names",
    "register", "undone_on_error",
]  # fmt: skip

METHODS: dict[tuple[Role, str], MethodInfo] = {(entry.role, entry.name): entry for entry in ENTRIES}
_LOADED: dict[tuple[Role, str], Any] = {}

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
        if info.name == "none" or (info.role, info.name) in METHODS:
            raise UsageError(f"{info.role} {info.name!r}: the name is taken; choose another")
        METHODS[(info.role, info.name)] = info
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
