"""What a packed model's number format means for each of its matrices and for its embedding tables.

Measured on the shipped dense model, NLL of the 31 test clips in bits (f32: 4.0210): tables in bf16 cost 0.00004, in
int8 0.0047; everything in bf16 0.0009; int8 of the recurrent matrix 0.0017, of head.fc 0.0012, of conditioning 0.0008,
but of head.out, from which distributions are read, 0.030 for a fiftieth of the time. So that one stays f32, and the
embeddings, which are only read when tables are made, are bf16.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from bench.config.check import TABLES
from bench.engine import table
from bench.engine.numbers import NUMBERS
from bench.errors import UsageError

_CONVOLUTIONS = ("cond.conv1.weight", "cond.conv2.weight")
_EMBED, _OUT = "gru.w_embed", "head.out.weight"
_STEPS = ("gru.w_hh", "gru.w_cond", "head.fc.weight")


@dataclass(frozen=True)
class Recipe:
    """Number formats of matrices (by state-dict key) and of embedding tables."""

    matrices: Mapping[str, str]
    tables: str


def recipe(fmt: str, tiles: Mapping[str, str] | None = None, tables: str | None = None) -> Recipe:
    """Choose the formats of a model that is to be `fmt`; feeds `bench.engine.pack.pack_vocoder`.

    Parameters
    ----------
    fmt
        f32, bf16 or int8.
    tiles
        Tile of each sparse matrix, by state-dict key: embeddings of a tile that no bf16 kernel runs stay f32.
    tables
        Format of the tables; None takes bf16, f32 for f32.

    Raises
    ------
    UsageError
        For an unknown format.
    """
    for name, given in (("format", fmt), ("tables", tables or "f32")):
        if given not in NUMBERS:
            raise UsageError(f"{name}: got {given!r}, expected one of {', '.join(NUMBERS)}")
    halves = "bf16" if table.can_run((tiles or {}).get(_EMBED, "dense"), "bf16") else "f32"
    matrices = dict.fromkeys((*_CONVOLUTIONS, *_STEPS), fmt)
    matrices[_EMBED] = "f32" if fmt == "f32" else halves
    matrices[_OUT] = "f32" if fmt == "int8" else fmt
    return Recipe(matrices, tables or TABLES[fmt])
