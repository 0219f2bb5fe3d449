"""Small accelerators as assumptions in a file that users copy and edit; `frame_cost` says what a network costs on one.

Neither "Weight, Block or Unit?" (arXiv 2111.02351) nor what could be read around it names its accelerator, so this
model is ours, and every figure in it stands in `accelerators.yaml` with its source.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from bench.config.yaml_lines import ConfigError, Document, Problem, did_you_mean, read, unknown_key

SHIPPED = Path(__file__).with_name("accelerators.yaml")
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_SIDES = re.compile(r"([1-9][0-9]{0,5})x([1-9][0-9]{0,5})")


def _sides(text: object) -> tuple[int, int]:
    match = _SIDES.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise PydanticCustomError("sides", "outputs x inputs such as 16x4")
    return int(match[1]), int(match[2])


Sides = Annotated[tuple[int, int], BeforeValidator(_sides)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Accelerator(BaseModel):
    """One device; what each figure means is said in `accelerators.yaml`, key by key.

    Attributes
    ----------
    array, block
        Outputs and inputs.
    flash_bytes_per_cycle, sram_bytes_per_cycle
        Of the stream of weights.
    product_cycles
        Overhead of one matrix-vector product.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str
    skips: Literal["none", "blocks", "units"]
    block: Sides | None = None
    weights: Literal["dense", "bitmap", "relative", "blocks", "entropy"]
    clock_mhz: Rate
    array: Sides
    macs_per_cycle: Annotated[int, Field(ge=1)]
    flash_bytes_per_cycle: Rate
    sram_bytes_per_cycle: Rate
    sram_weight_bytes: Annotated[int, Field(ge=0)]
    overlap: bool
    product_cycles: Annotated[int, Field(ge=1)]

    @model_validator(mode="after")
    def _fits_together(self) -> "Accelerator":
        outputs, inputs = self.array
        if outputs * inputs % self.macs_per_cycle:
            raise _clash("macs_per_cycle", f"a divisor of the {outputs * inputs} products of array {outputs}x{inputs}")
        if self.skips == "blocks" and self.block is None:
            raise _clash("block", "the block that is skipped, such as 16x4, since skips is blocks")
        if self.skips != "blocks" and self.block is not None:
            raise _clash("block", f"no such key, since skips is {self.skips}: only skips: blocks reads it")
        if self.block is not None and self.block[0] % outputs:
            raise _clash("block", f"a multiple of the array's {outputs} outputs, such as {outputs}x{self.block[1]}")
        if self.weights == "blocks" and self.skips != "blocks":
            raise _clash("weights", f"dense, bitmap, relative or entropy, since skips is {self.skips}")
        return self

    @property
    def pass_cycles(self) -> int:
        """Cycles of one pass of the array."""
        return self.array[0] * self.array[1] // self.macs_per_cycle


KEYS = tuple(name for name in Accelerator.model_fields if name != "name")
"""Of one device in the file."""


def load(path: Path | str | None = None) -> tuple[Accelerator, ...]:
    """Devices of a file in its order; None: those shipped.

    Raises
    ------
    ConfigError
        All problems found, each with file, line, key, what was got and what is expected (exit code 2).
    UsageError
        The file cannot be read.
    """
    document = read(SHIPPED if path is None else path)
    if not document.data:
        raise ConfigError([document.problem((), f"no accelerator; expected a name with the keys {', '.join(KEYS)}")])
    found: list[Accelerator] = []
    problems: list[Problem] = []
    for name, fields in document.data.items():
        if not _NAME.fullmatch(name):
            problems.append(document.problem((name,), "expected a name of small letters, digits and single hyphens"))
        elif not isinstance(fields, dict):
            problems.append(document.problem((name,), f"got {fields!r}, expected the keys {', '.join(KEYS)}"))
        elif "name" in fields:
            problems.append(unknown_key(document, (name, "name"), KEYS))
        else:
            try:
                found.append(Accelerator(name=name, **fields))
            except ValidationError as error:
                problems += (_problem(document, name, dict(item)) for item in error.errors())
    if problems:
        raise ConfigError(sorted(problems, key=lambda problem: problem.origin.line or 0))
    return tuple(found)


def _clash(key: str, expected: str) -> PydanticCustomError:
    return PydanticCustomError("clash", "{expected}", {"key": key, "expected": expected})


def _problem(document: Document, name: str, item: dict[str, Any]) -> Problem:
    kind = item["type"]
    key = str(item["ctx"]["key"] if kind == "clash" else item["loc"][0])
    if kind == "extra_forbidden":
        return unknown_key(document, (name, key), KEYS)
    if kind == "missing":
        return document.problem((name, key), "missing; every device says it, or takes it over with `<<:`")
    got, expected = document.data[name].get(key), item["msg"].removeprefix("Input should be ")
    if kind == "clash" and got is None:
        return document.problem((name, key), f"missing; expected {expected}")
    if kind == "literal_error":
        allowed = item["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        expected = f"one of {', '.join(allowed)}{did_you_mean(got, allowed)}"
    return document.problem((name, key), f"got {got!r}, expected {expected}")
