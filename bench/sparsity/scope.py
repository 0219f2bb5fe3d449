"""Within what tiles compete: plain Python, so that a configuration is checked without loading torch."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.errors import UsageError
from bench.sparsity.count import kept_count

NAMES = ("gate", "matrix", "global")
_RUN = re.compile(r"([1-9][0-9]?):([1-9][0-9]?)")


@dataclass(frozen=True)
class Scope:
    """The budget within which tiles compete.

    Attributes
    ----------
    name
        `gate`, `matrix`, `global`, or `N:M` (2:4, 4:8): of every M tiles in a row along the inputs N are kept. With
        tile 1x1 that is the N:M sparsity of arXiv 2102.04010, with Gx1 its form on SIMD groups.
    keep, of
        N and M; None for the named scopes.
    """

    name: str
    keep: int | None = None
    of: int | None = None

    @staticmethod
    def parse(name: str) -> "Scope":
        """Scope of a name.

        Raises
        ------
        UsageError
            If it is unknown, or of N:M with N > M.
        """
        if name in NAMES:
            return Scope(name)
        match = _RUN.fullmatch(name)
        if match is None:
            raise UsageError(f"prune.scope: got {name!r}, allowed: {', '.join(NAMES)}, or N:M such as 2:4")
        keep, of = int(match[1]), int(match[2])
        if keep > of:
            raise UsageError(f"prune.scope: got {name!r}: of {of} tiles, {keep} cannot be kept")
        return Scope(name, keep, of)

    @property
    def sparsity(self) -> float | None:
        """The sparsity that `N:M` ends on, 1 - N/M; None where the scope leaves it open."""
        return None if self.keep is None or self.of is None else 1 - self.keep / self.of

    def check(self, key: str, tile: str, columns: int) -> None:
        """Check that a matrix with that many tiles in a row has at least the M of `N:M`.

        Raises
        ------
        UsageError
            If it has fewer.
        """
        if self.of is not None and columns < self.of:
            raise UsageError(
                f"prune.scope: {self.name} needs {self.of} tiles in a row, but {key} has {columns} of tile {tile}; "
                "choose a smaller M or another tile"
            )

    def check_gates(self, gate_sparsity: Sequence[float] | None, bands: Mapping[str, int]) -> tuple[float, ...] | None:
        """Check a sparsity for each gate against the gates of each matrix (1 where a tile spans all gates).

        Raises
        ------
        UsageError
            If the scope is not `gate`, there are not as many as gates, or one is outside 0..1.
        """
        if gate_sparsity is None:
            return None
        if self.name != "gate":
            raise UsageError(f"prune.gate_sparsity: needs prune.scope 'gate', got {self.name!r}")
        for key, count in bands.items():
            if count != len(gate_sparsity):
                raise UsageError(
                    f"prune.gate_sparsity: got {len(gate_sparsity)} numbers, but {key} has {count} "
                    f"{'gates' if count > 1 else 'gate under this tile'}"
                )
        for share in gate_sparsity:
            if not 0 <= share <= 1:
                raise UsageError(f"prune.gate_sparsity: got {share}, expected numbers within 0..1")
        return tuple(gate_sparsity)

    def kept_of(self, tiles: int, sparsity: float) -> int:
        """Tiles kept of a run of M or, at the end of a row, fewer: ceil(k * tiles / M), k = `kept_count(M, sparsity)`.

        k falls from M to N as the sparsity rises to 1 - N/M, so schedules ramp.

        Raises
        ------
        UsageError
            If the sparsity leaves fewer than N of M.
        """
        assert self.keep is not None, "the scope is N:M"
        assert self.of is not None, "the scope is N:M"
        kept = kept_count(self.of, sparsity)
        if kept < self.keep:
            raise UsageError(
                f"prune.sparsity: got {sparsity:g}, but prune.scope {self.name} keeps {self.keep} of every {self.of} "
                f"tiles: a sparsity of {self.sparsity:g}"
            )
        return -(-kept * tiles // self.of)


def gate_shares(gate_sparsity: Sequence[float], sparsity: float) -> list[float]:
    """Sparsity of each gate while all of them together have `sparsity`, in proportion to their final ones.

    Raises
    ------
    UsageError
        If a gate's would be above 1: `sparsity` is beyond the mean of `gate_sparsity`.
    """
    mean = sum(gate_sparsity) / len(gate_sparsity)
    if math.isclose(sparsity, mean, rel_tol=0, abs_tol=1e-6):
        return list(gate_sparsity)  # to the letter, whatever rounding makes of the mean
    shares = [share * sparsity / mean if mean else math.inf for share in gate_sparsity]
    if not all(0 <= share <= 1 for share in shares):
        raise UsageError(
            f"prune.gate_sparsity: at a sparsity of {sparsity:g} the gates would have "
            f"{', '.join(f'{share:g}' for share in shares)}, expected 0..1; its mean ({mean:g}) must be prune.sparsity"
        )
    return shares


def check_units(scope: str, gate_sparsity: Sequence[float] | None, keep_diagonal: bool) -> None:
    """Check that nothing is asked of hidden units that only tiles have.

    Raises
    ------
    UsageError
        If something is.
    """
    for key, asked in (
        ("prune.scope", scope if scope != "matrix" else None),
        ("prune.gate_sparsity", gate_sparsity),
        ("prune.keep_diagonal", keep_diagonal or None),
    ):
        if asked is not None:
            raise UsageError(f"{key}: got {asked}, which prune.tile 'unit' does not have; leave it out")
