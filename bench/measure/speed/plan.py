"""What `lanewise kernels` times: a selection of shapes, sparsities, tiles, formats and ISAs becomes a list of cases."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.engine.table import runs_as
from bench.errors import UsageError
from bench.measure.speed.peers import DENSE

Row = dict[str, Any]


@dataclass(frozen=True)
class Selection:
    """What to time; an empty tuple means everything there is."""

    hidden: tuple[int, ...] = (256, 512, 1024)
    sparsity: tuple[float, ...] = (0.1, 0.25, 0.5, 0.7, 0.8, 0.9, 0.95)
    tiles: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    isas: tuple[str, ...] = ()


def fast_selection(selection: Selection, isas: Sequence[str]) -> Selection:
    """Reduce what was left at its default to a run of some seconds."""
    plain = Selection()
    return replace(
        selection,
        hidden=(256, 512) if selection.hidden == plain.hidden else selection.hidden,
        sparsity=(0.25, 0.5, 0.7, 0.9) if selection.sparsity == plain.sparsity else selection.sparsity,
        isas=selection.isas or (isas[-1],),
    )


@dataclass(frozen=True)
class Case:
    """One kernel of the engine on one matrix."""

    hidden: int
    sparsity: float
    tile: str
    format: str
    isa: str


def plan(selection: Selection, table: Sequence[Row], isas: Sequence[str]) -> list[Case]:
    """Resolve a selection against the published table of kernels and the host's ISAs.

    Raises
    ------
    UsageError
        For a tile, format or ISA that has no kernel here, alone or beside the other choices, or an impossible number.
    """
    formats = _known("format", selection.formats, [row["format"] for row in table])
    tiles = _runnable(selection.tiles, list(dict.fromkeys(row["tile"] for row in table)))
    chosen_isas = _known("isa", selection.isas, list(isas))
    for hidden in selection.hidden:
        if not 16 <= hidden <= 8192:
            raise UsageError(f"--hidden {hidden}: expected 16 to 8192")
    for sparsity in selection.sparsity:
        if not 0.0 <= sparsity < 1.0:
            raise UsageError(f"--sparsity {sparsity}: expected a share of at least 0 and below 1, such as 0.7")
    exists = {(row["tile"], row["format"], row["isa"]) for row in table}
    cases = [
        Case(hidden, sparsity, tile, fmt, isa)
        for hidden in selection.hidden
        for isa in chosen_isas
        for fmt in formats
        for tile in tiles
        for sparsity in ((0.0,) if tile == DENSE else selection.sparsity)
        if _kernel(tile, [t for t, f, i in exists if (f, i) == (fmt, isa)])
    ]
    _all_used("tile", selection.tiles, {case.tile for case in cases})
    _all_used("format", selection.formats, {case.format for case in cases})
    _all_used("isa", selection.isas, {case.isa for case in cases})
    return cases


def _all_used(option: str, asked: Sequence[str], used: set[str]) -> None:
    """Refuse what was asked for and would be left out without a word: no kernel has it beside the other choices."""
    idle = [name for name in asked if name not in used]
    if idle:
        raise UsageError(
            f"--{option} {','.join(idle)}: no kernel has this combination of tile, format and ISA; "
            "see `lanewise kernels --list`"
        )


def _runnable(asked: Sequence[str], there: Sequence[str]) -> list[str]:
    """The tiles asked for, each of which a kernel runs; all kernels' own without any."""
    unknown = [tile for tile in asked if not _kernel(tile, there)]
    if unknown:
        raise UsageError(
            f"--tile {','.join(unknown)}: expected one of {', '.join(there)}, or a block that one of these divides"
        )
    return list(dict.fromkeys(asked)) if asked else list(there)


def _kernel(tile: str, there: Sequence[str]) -> str | None:
    """The tile among these that runs a tile."""
    try:
        return runs_as(tile, among=there)
    except UsageError:
        return None


def _known(option: str, asked: Sequence[str], there: Sequence[str]) -> list[str]:
    """What was asked for, or all there is; one error names what is unknown and what is allowed."""
    allowed = list(dict.fromkeys(there))
    unknown = [name for name in asked if name not in allowed]
    if unknown:
        raise UsageError(f"--{option} {','.join(unknown)}: expected one of {', '.join(allowed)}")
    return [name for name in allowed if name in asked] if asked else allowed
