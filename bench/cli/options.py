"""Option parsing that several commands share."""

from collections.abc import Callable
from typing import TypeVar

import click

T = TypeVar("T")


def comma_list(of: Callable[[str], T]) -> Callable[[click.Context, click.Parameter, str | None], tuple[T, ...]]:
    """Callback of an option that holds comma-separated values: "512,1024" becomes (512, 1024) with `of=int`."""

    def parse(_: click.Context, __: click.Parameter, text: str | None) -> tuple[T, ...]:
        try:
            return tuple(dict.fromkeys(of(part.strip()) for part in (text or "").split(",") if part.strip()))
        except ValueError:
            raise click.BadParameter(f"{text!r} is not a comma-separated list of {of.__name__}") from None

    return parse
