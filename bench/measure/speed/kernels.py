"""Times matrix-vector kernels: shape x sparsity x tile x ISA x format, against dense, the read limit and peers.

The shape is a GRU's recurrent matrix, (3 * hidden, hidden), its mask random and aligned to the tile. Everything of one
hidden size and one ISA runs in one gated run, with the roofs of the host, so ratios within a row come from the same
minutes of the same core.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bench.errors import LanewiseError
from bench.measure.speed import roofs
from bench.measure.speed.clock import Clock, store_path
from bench.measure.speed.gate import Candidate, GatedRun, GateRules, measure
from bench.measure.speed.lock import timing_lock
from bench.measure.speed.peers import DENSE, Array, Peer, single_thread, timed
from bench.measure.speed.pin import pinned
from bench.measure.speed.plan import Case, Row
from bench.progress import say, track

GATES = 3
COLUMNS = (
    "hidden", "sparsity", "tile", "format", "isa", "kernel", "us", "limit_us", "vs_limit", "vs_best_dense", "verdict",
    "best_dense", "call_us", "gops", "ops_per_byte",
)  # fmt: skip
"""Keys of a row. Beyond the contract: `best_dense`, the kernel that vs_best_dense compares with (its format and run);
`call_us`, part of `us`, what a peer's call costs on a matrix of one tile (None for the engine, whose loop is compiled);
`gops`, 2 operations per stored weight; `ops_per_byte`, those over the bytes of weights and indices."""

ABOVE_ROOF = "above the roof"
_ROOF_TOLERANCE = 1.05
"""A figure this far above its roof is a measuring error; below that the medians' own noise explains it."""

_CHECK_TOLERANCE = {"f32": 1e-5, "bf16": 2e-2, "int8": 6e-2}
"""Largest error of a product, of its largest value, against double precision and the weights before rounding. The worst
that right kernels showed, widths 32 to 1024 and sparsity 0 to 0.99: 1.2e-6, 3.6e-3 and 2.1e-2."""


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
    limits: tuple[Candidate, ...]
    operations: int
    read_bytes: int
    call: str | None = None
    """Name of the candidate that times a call of this peer."""
    shown: bool = True

    @property
    def name(self) -> str:
        """For people: which kernel it is."""
        return f"{self.row['kernel']} {self.row['isa'] or ''}".rstrip()


@dataclass(frozen=True)
class Timed:
    """Rows of one gated run, the roofs measured in it, and the run itself."""

    rows: list[Row]
    roofs: list[roofs.Roof]
    run: GatedRun


def time_cases(
    cases: Sequence[Case],
    table: Sequence[Row],
    peers: Sequence[Peer],
    rules: GateRules | None = None,
    seed: int = 0,
) -> Iterator[Timed]:
    """Time the cases and the peers on the same matrices; yields one gated run at a time.

    Peers' rows appear once per hidden size, with `isa` None (they choose their own). A peer that stores a structure is
    timed where a case has that structure and number format; dense kernels (of `table` and of peers) are always timed,
    as the reference of `vs_best_dense`, and shown when asked for.
    """
    groups = list(dict.fromkeys((case.hidden, case.isa) for case in cases))
    peers_beside = dict(groups)  # the widest ISA of each hidden size: the table lists the narrowest first
    with single_thread(), timing_lock(), pinned():
        clock = Clock(path=store_path())
        for hidden, isa in track(groups, "kernels", len(groups)):
            mine = [case for case in cases if (case.hidden, case.isa) == (hidden, isa)]
            engine = [_engine_entry(case) for case in mine] + _dense_references(mine, table)
            calls: dict[str, Candidate] = {}
            others = _peer_entries(mine, peers, calls, shown=peers_beside[hidden] == isa)
            yield _measured(engine + others, list(calls.values()), rules, seed, clock)


def _dense_references(cases: Sequence[Case], table: Sequence[Row]) -> list[_Entry]:
    """The engine's dense kernels of each format, on this ISA and on the widest that has one, unless already cases."""
    from bench.engine import isas

    wanted = []
    for fmt in dict.fromkeys(case.format for case in cases):
        dense = {row["isa"] for row in table if (row["tile"], row["format"]) == (DENSE, fmt)}
        there = [isa for isa in isas() if isa in dense]
        wanted += [Case(cases[0].hidden, 0.0, DENSE, fmt, isa) for isa in there if isa in (cases[0].isa, there[-1])]
    return [replace(_engine_entry(case), shown=False) for case in wanted if case not in cases]


def _engine_entry(case: Case) -> _Entry:
    from bench.engine import MatVec

    weight, mask = random_matrix(case.hidden, case.sparsity, case.tile)
    x = _input(case.hidden)
    kernel = MatVec(weight, case.tile, mask=mask, gates=GATES, isa=case.isa, fmt=case.format)
    name = f"lanewise {case}"
    if wrong := _error(kernel.run(x), weight, x, case.format):
        raise LanewiseError(f"{name}: {wrong}; not timed")
    row = _row(case.hidden, case.sparsity, case.tile, case.format, case.isa, "lanewise")
    limits = roofs.limits(name, kernel.read_ns)
    stored = weight.size if mask is None else int(mask.sum())
    return _Entry(row, Candidate(name, lambda times: kernel.run_ns(x, times)), limits, 2 * stored, kernel.bytes)


def _peer_entries(
    cases: Sequence[Case], peers: Sequence[Peer], calls: dict[str, Candidate], shown: bool
) -> list[_Entry]:
    """Each peer on the matrices of the structures it stores; dense ones always, as references. Fills `calls`."""
    hidden = cases[0].hidden
    formats = {case.format for case in cases}
    entries = []
    for peer in peers:
        asked = {(c.tile, c.sparsity): None for c in cases if c.format == peer.format} if shown else {}
        cells = [(tile, sparsity) for tile, sparsity in asked if peer.fits(tile, (GATES * hidden, hidden))]
        if not cells and peer.stores(DENSE) and peer.format in formats:
            cells = [(DENSE, 0.0)]
        for tile, sparsity in cells:
            weight, _ = random_matrix(hidden, sparsity, tile)
            x = _input(hidden)
            product = peer.product(weight, x, tile)
            name = f"{peer.name} {peer.format} {tile} {hidden} {sparsity}"
            if wrong := _error(product.result(), weight, x, peer.format):
                say(f"{name}: {wrong}; not timed")  # another library's fault must not end the run
                continue
            call = f"call of {peer.name} {peer.format} {tile}"
            calls.setdefault(call, Candidate(call, timed(peer.smallest(tile))))
            entries.append(
                _Entry(
                    _row(hidden, sparsity, tile, peer.format, None, peer.name),
                    Candidate(name, timed(product)),
                    roofs.read_candidates(name, product.read_bytes),
                    2 * int(np.count_nonzero(weight)),
                    product.read_bytes,
                    call,
                    shown=(tile, sparsity) in asked,
                )
            )
    return entries


def _input(hidden: int) -> Array:
    return np.random.default_rng(hidden).standard_normal(hidden, dtype=np.float32)


def _row(hidden: int, sparsity: float, tile: str, fmt: str, isa: str | None, kernel: str) -> Row:
    return {"hidden": hidden, "sparsity": sparsity, "tile": tile, "format": fmt, "isa": isa, "kernel": kernel}


def _error(got: Array, weight: Array, x: Array, fmt: str) -> str:
    """What is wrong with a product (reference: numpy in double precision); empty if nothing."""
    expected = weight.astype(np.float64) @ x.astype(np.float64)
    error = float(np.abs(got - expected).max() / max(float(np.abs(expected).max()), 1e-30))
    return "" if error < _CHECK_TOLERANCE[fmt] else f"the product is wrong by {error:.1e} of its largest value"


def _measured(
    entries: Sequence[_Entry], calls: Sequence[Candidate], rules: GateRules | None, seed: int, clock: Clock
) -> Timed:
    """Time the entries, their read limits, the peers' calls and the roofs together; fill in the rows."""
    limits = [limit for entry in entries if entry.shown for limit in entry.limits]
    host_roofs = roofs.host_roofs()
    candidates = [*(entry.candidate for entry in entries), *limits, *calls, *(r.candidate for r in host_roofs)]
    run = measure(candidates, rules=rules, seed=seed, clock=clock)
    found = roofs.fastest(host_roofs, run)
    peaks = {roof.format: roof.per_ns for roof in found if roof.format}
    rows = [_filled(entry, entries, run, peaks) for entry in entries if entry.shown]
    return Timed(rows, found, run)


def _filled(entry: _Entry, entries: Sequence[_Entry], run: GatedRun, peaks: dict[str, float]) -> Row:
    """Complete an entry's row."""
    timing = run.timings[entry.candidate.name]
    limit = roofs.limit(entry.limits, run)
    dense = [e for e in entries if (e.row["tile"], e.row["format"]) == (DENSE, entry.row["format"])]
    best = min(dense, key=lambda e: run.us(e.candidate.name), default=None)
    gops = entry.operations / timing.us / 1e3
    above = limit.us / timing.us > _ROOF_TOLERANCE or gops > _ROOF_TOLERANCE * peaks.get(entry.row["format"], np.inf)
    steady = timing.verdict == limit.verdict == "stable"
    return entry.row | {
        "us": timing.us,
        "limit_us": limit.us,
        "vs_limit": limit.us / timing.us,
        "vs_best_dense": run.us(best.candidate.name) / timing.us if best else None,
        "verdict": ABOVE_ROOF if above else "stable" if steady else "unstable",
        "best_dense": best.name if best else None,
        "call_us": run.us(entry.call) if entry.call else None,
        "gops": gops,
        "ops_per_byte": entry.operations / entry.read_bytes,
    }
