"""The configuration described by itself: one row per key, for `lanewise trial --keys` and for the documentation."""

from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from bench.config.schema import TrialConfig


@dataclass(frozen=True)
class KeyHelp:
    """One key: dotted name, what it may be, its default as YAML writes it, and its meaning."""

    key: str
    values: str
    default: str
    meaning: str


def key_rows(model: type[BaseModel] = TrialConfig, prefix: str = "") -> list[KeyHelp]:
    """Return every key of the configuration in the order of the schema."""
    rows: list[KeyHelp] = []
    for name, field in model.model_fields.items():
        key = f"{prefix}{field.alias or name}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            rows += key_rows(field.annotation, f"{key}.")
        else:
            meaning = " ".join((field.description or "").split())
            rows.append(KeyHelp(key, _values(field), _yaml(field.default), meaning))
    return rows


def _values(field: FieldInfo) -> str:
    bounds = [
        f"{sign} {getattr(item, attribute):g}"
        for item in field.metadata
        for attribute, sign in (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<"))
        if hasattr(item, attribute)
    ]
    return ", ".join([_name(field.annotation), *bounds])


def _name(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(str(value) for value in arguments)
    if origin in (Union, UnionType):
        return " or ".join(_name(argument) for argument in arguments if argument is not NoneType)
    if origin is tuple:
        return f"list of: {_name(arguments[0])}"
    if origin is dict:
        return "section"
    return {str: "text", int: "whole number", float: "number", bool: "true, false"}.get(annotation, str(annotation))


def _yaml(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
