"""The one table of kernels: which tile runs in which number format on which ISA. What is not in it is refused."""

from bench.engine.isa import built_isas, isas
from bench.engine.layout import TILES

_KERNELS = {
    "dense": "dense panels, broadcast FMA",
    "row_group": "groups of outputs, broadcast FMA",
    "dot_group": "groups of inputs, dot product",
    "compact": "kept columns compacted, dense panels",
}


def supports(tile: str, fmt: str = "f32", isa: str | None = None) -> bool:
    """Whether a kernel exists for this tile, number format and ISA (None: any ISA of this build)."""
    return any(row["tile"] == tile and row["format"] == fmt and isa in (None, row["isa"]) for row in rows())


def rows() -> list[dict[str, str | bool]]:
    """The table, one row per kernel: `tile, format, isa, kernel, runs_here`."""
    here = isas()
    return [
        {"tile": tile, "format": "f32", "isa": isa, "kernel": _KERNELS[layout], "runs_here": isa in here}
        for tile, (layout, _) in TILES.items()
        for isa in built_isas()
    ]
