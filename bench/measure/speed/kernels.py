"""Times matrix-vector kernels: shape x sparsity x tile x ISA x format, against dense, the read limit and peers.

The shape is a GRU's recurrent matrix, (3 * hidden, hidden), its mask random and aligned to the tile. Everything of one
hidden size and one ISA runs in one gated run, so ratios within a row come from the same minutes of the same core.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import LanewiseError, UsageError
from bench.measure.speed import peers
from bench.measure.speed.clock import Clock, store_path
from bench.measure.speed.gate import Candidate, GatedRun, GateRules, measure
from bench.measure.speed.lock import timing_lock
from bench.measure.speed.pin import pinned
from bench.progress import track

Array = NDArray[np.float32]
Row = dict[str, Any]
GATES = 3
DENSE = "dense"
COLUMNS = (
    "hidden", "sparsity", "tile", "format", "isa", "kernel", "us", "limit_us", "vs_limit", "vs_best_dense", "verdict",
)  # fmt: skip
_TOLERANCE = {"f32": 1e-4, "bf16": 0.03, "int8": 0.06}  # of the largest value; the rounding of numbers decides
_CACHE_LINE = 64


@dataclass(frozen=True)
class Selection:
    """What to time; an empty tuple means everything there is."""

    hidden: tuple[int, ...] = (256, 512, 1024)
    sparsity: tuple[float, ...] = (0.1, 0.25, 0.5, 0.7, 0.8, 0.9, 0.95)
    tiles: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    isas: tuple[str, ...] = ()


def fast(selection: Selection, isas: Sequence[str]) -> Selection:
    """Reduce what was left at its default to a run of some seconds."""
    plain = Selection()
    return replace(
        selection,
        hidden=(256, 512) if selection.hidden == plain.hidden else selection.hidden,
        sparsity=(0.1, 0.25, 0.5, 0.7, 0.9) if selection.sparsity == plain.sparsity else selection.sparsity,
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
        For a tile or format that has no kernel, an ISA that this host does not run, or an impossible number.
    """
    formats = _known("format", selection.formats, [row["format"] for row in table])
    tiles = _known("tile", selection.tiles, [row["tile"] for row in table])
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
        if (tile, fmt, isa) in exists
    ]
    if not cases:
        raise UsageError("no kernel has this combination of tile, format and ISA; see `lanewise kernels --list`")
    return cases


def _known(option: str, asked: Sequence[str], there: Sequence[str]) -> list[str]:
    """What was asked for, or all there is; one error names what is unknown and what is allowed."""
    allowed = list(dict.fromkeys(there))
    unknown = [name for name in asked if name not in allowed]
    if unknown:
        raise UsageError(f"--{option} {','.join(unknown)}: expected one of {', '.join(allowed)}")
    return [name for name in allowed if name in asked] if asked else allowed


def random_matrix(hidden: int, sparsity: float, tile: str, seed: int = 0) -> tuple[Array, NDArray[np.bool_] | None]:
    """Return weights (3 * hidden, hidden), zero where pruned, and the tile-aligned random mask (None when dense)."""
    rng = np.random.default_rng((seed, hidden, round(sparsity * 1e4)))
    weight = rng.standard_normal((GATES * hidden, hidden), dtype=np.float32)
    if tile == DENSE:
        return weight, None
    import torch

    from bench.sparsity.count import kept_count
    from bench.sparsity.tile import Tile

    grid = Tile.parse(tile).grid(weight.shape, GATES)
    kept = np.zeros(grid.n_groups, dtype=np.float32)
    kept[rng.permutation(grid.n_groups)[: kept_count(grid.n_groups, sparsity)]] = 1.0
    mask = grid.expand(torch.from_numpy(kept)).numpy() > 0
    return weight * mask, mask


@dataclass(frozen=True)
class _Entry:
    """A candidate with the row it becomes; `shown` is False for dense kernels timed only as the reference."""

    row: Row
    candidate: Candidate
    limit: Candidate
    shown: bool = True

    @property
    def is_dense(self) -> bool:
        return bool(self.row["tile"] == DENSE)


def time_cases(
    cases: Sequence[Case], with_peers: Sequence[peers.Peer], rules: GateRules | None = None, seed: int = 0
) -> Iterator[tuple[list[Row], GatedRun]]:
    """Time the cases and the peers on the same matrices; yields one gated run's rows at a time.

    Peers' rows appear once per hidden size, with `isa` None (they choose their own). A peer that stores a structure is
    timed where a case has that structure; dense kernels are always timed, as the reference of `vs_best_dense`, and
    shown when asked for.
    """
    groups = list(dict.fromkeys((case.hidden, case.isa) for case in cases))
    peers_beside = dict(groups)  # the widest ISA of each hidden size: the table lists the narrowest first
    with peers.single_thread(), timing_lock(), pinned():
        clock = Clock(path=store_path())
        for hidden, isa in track(groups, "kernels", len(groups)):
            mine = [case for case in cases if (case.hidden, case.isa) == (hidden, isa)]
            entries = _engine_entries(mine) + _peer_entries(mine, with_peers, shown=peers_beside[hidden] == isa)
            yield _measured(entries, rules, seed, clock)


def _engine_entries(cases: Sequence[Case]) -> list[_Entry]:
    from bench.engine import isas

    hidden, isa = cases[0].hidden, cases[0].isa
    entries = [_engine_entry(case) for case in cases]
    formats = dict.fromkeys(case.format for case in cases)
    for case in (Case(hidden, 0.0, DENSE, fmt, reference) for fmt in formats for reference in {isa, isas()[-1]}):
        if case not in cases:
            entries.append(replace(_engine_entry(case), shown=False))
    return entries


def _engine_entry(case: Case) -> _Entry:
    from bench.engine import MatVec

    weight, mask = random_matrix(case.hidden, case.sparsity, case.tile)
    x = _input(case.hidden)
    kernel = MatVec(weight, case.tile, mask=mask, gates=GATES, isa=case.isa, fmt=case.format)
    name = f"lanewise {case}"
    _check(name, kernel.run(x), weight, x, _TOLERANCE[case.format])
    row = _row(case.hidden, case.sparsity, case.tile, case.format, case.isa, "lanewise")
    product = Candidate(name, lambda times: kernel.run_ns(x, times))
    return _Entry(row, product, Candidate(f"read of {name}", kernel.read_ns))


def _peer_entries(cases: Sequence[Case], with_peers: Sequence[peers.Peer], shown: bool) -> list[_Entry]:
    """Each peer on the matrices of the structures it stores; dense ones always, as references."""
    entries = []
    for peer in with_peers:
        asked = [case.sparsity for case in cases if case.tile == peer.tile]
        for sparsity in dict.fromkeys(asked if shown else []) or ([0.0] if peer.tile == DENSE else []):
            hidden = cases[0].hidden
            weight, _ = random_matrix(hidden, sparsity, peer.tile)
            x = _input(hidden)
            product = peer.prepare(weight, x)
            name = f"{peer.name} {hidden} {sparsity}"
            _check(name, product.result(), weight, x)
            row = _row(hidden, sparsity, peer.tile, "f32", None, peer.name)
            limit = read_candidate(f"read of {name}", product.read_bytes)
            candidate = Candidate(name, peers.timed(product))
            entries.append(_Entry(row, candidate, limit, shown=shown and bool(asked)))
    return entries


def _input(hidden: int) -> Array:
    return np.random.default_rng(hidden).standard_normal(hidden, dtype=np.float32)


def _row(hidden: int, sparsity: float, tile: str, fmt: str, isa: str | None, kernel: str) -> Row:
    return {"hidden": hidden, "sparsity": sparsity, "tile": tile, "format": fmt, "isa": isa, "kernel": kernel}


def _check(name: str, got: Array, weight: Array, x: Array, tolerance: float = _TOLERANCE["f32"]) -> None:
    """Refuse to time a kernel that computes something else (reference: numpy in double precision)."""
    expected = weight.astype(np.float64) @ x.astype(np.float64)
    error = float(np.abs(got - expected).max() / max(float(np.abs(expected).max()), 1e-30))
    if not error < tolerance:
        raise LanewiseError(f"{name}: the product is wrong by {error:.1e} of its largest value; not timed")


def read_candidate(name: str, read_bytes: int) -> Candidate:
    """Candidate that reads that many bytes with the widest loads: the limit of any product that must read them."""
    from bench.engine import read_ns

    # Loads that straddle cache lines would halve the speed, so the buffer starts on one.
    room = np.ones(read_bytes + 2 * _CACHE_LINE, dtype=np.uint8)
    start = -room.ctypes.data % _CACHE_LINE
    buffer = room[start : start + read_bytes]
    return Candidate(name, lambda times: read_ns(buffer, times))


def _measured(
    entries: Sequence[_Entry], rules: GateRules | None, seed: int, clock: Clock
) -> tuple[list[Row], GatedRun]:
    """Time the entries and their read limits together and fill in their rows."""
    limits = [entry.limit for entry in entries if entry.shown]
    run = measure([entry.candidate for entry in entries] + limits, rules=rules, seed=seed, clock=clock)
    rows = []
    for entry in entries:
        if not entry.shown:
            continue
        us = run.us(entry.candidate.name)
        limit = run.timings[entry.limit.name]
        dense_us = min(
            run.us(e.candidate.name) for e in entries if e.is_dense and e.row["format"] == entry.row["format"]
        )
        verdicts = {run.timings[entry.candidate.name].verdict, limit.verdict}
        rows.append(
            entry.row
            | {
                "us": us,
                "limit_us": limit.us,
                "vs_limit": limit.us / us,
                "vs_best_dense": dense_us / us,
                "verdict": "stable" if verdicts == {"stable"} else "unstable",
            }
        )
    return rows, run
