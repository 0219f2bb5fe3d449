"""Packed models with random weights of a shape that was never trained: what would it cost on this CPU?

The engine's speed depends on sizes, tiles and formats, not on the values of weights.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

from bench.config.matrices import VocoderShape
from bench.errors import UsageError
from bench.measure.speed.kernels import random_matrix
from bench.measure.speed.rtf import RECURRENT, random_tensors

_EXAMPLE = "512:0.7:16x4:int8"
_TAPS = {"mels": 80, "conv1_taps": 5, "conv2_taps": 3, "pqmf_taps": 64}
_ARCH = {"hop": 160, "causal": False, "sample_rate_hz": 16000}


@dataclass(frozen=True)
class Like:
    """A vocoder of the default sizes with `hidden` GRU units whose recurrent matrix is pruned."""

    hidden: int
    sparsity: float
    tile: str
    format: str

    @property
    def name(self) -> str:
        """As it was asked for, without what does not matter."""
        structure = "dense" if self.tile == "dense" else f"{self.tile} {self.sparsity:.0%}"
        return f"GRU {self.hidden} {structure} {self.format}"

    @classmethod
    def parse(cls, text: str) -> "Like":
        """Read `HIDDEN:SPARSITY:TILE:FORMAT`.

        Raises
        ------
        UsageError
            For anything else, a tile or format without a kernel, or an impossible number.
        """
        from bench.engine import table

        parts = text.split(":")
        try:
            hidden, sparsity, tile, fmt = int(parts[0]), float(parts[1]), parts[2], parts[3]
        except (IndexError, ValueError):
            hidden, sparsity, tile, fmt = 0, 0.0, "", ""
        if len(parts) != 4 or not 16 <= hidden <= 4096 or not 0 <= sparsity < 1:
            raise UsageError(
                f"--like {text}: expected HIDDEN:SPARSITY:TILE:FORMAT with 16 to 4096 units and a pruned share of at "
                f"least 0 and below 1, such as {_EXAMPLE}"
            )
        if not table.can_run(tile, fmt):
            raise UsageError(f"--like {text}: no kernel for tile {tile} in {fmt}; `lanewise kernels --list` shows them")
        return cls(hidden, sparsity, tile, fmt)

    def pack(self, path: Path, seed: int = 0) -> None:
        """Write the packed model."""
        from bench.engine.pack import pack_vocoder
        from bench.engine.recipe import recipe

        tensors = random_tensors(asdict(VocoderShape(hidden=self.hidden)) | _TAPS, seed)
        tiles = {} if self.tile == "dense" else {RECURRENT: self.tile}
        tensors[RECURRENT] = random_matrix(self.hidden, self.sparsity, self.tile, seed)[0] * self.hidden**-0.5
        chosen = recipe(self.format, tiles)
        pack_vocoder(path, _ARCH, tensors, tiles, fmt=chosen.matrices, tables=chosen.tables)
