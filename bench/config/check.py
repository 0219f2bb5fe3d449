"""What the settings mean together: defaults that follow from other keys, and combinations that cannot work."""

from bench.config.check_methods import (
    UNIT,
    check_budget,
    check_delta,
    check_kinds,
    check_matrices,
    complete_options,
    controlled,
    is_recurrent,
    pulls,
    resolve_tune,
    sparsity_of,
)
from bench.config.check_task import check_task, model_update, shape_of, with_defaults
from bench.config.findings import Finding, Findings
from bench.config.matrices import Matrix, Shape
from bench.config.schema import TrialConfig
from bench.errors import UsageError, did_you_mean

TABLES = {"f32": "f32", "bf16": "bf16", "int8": "bf16"}
"""Number format of the embedding tables that goes with each `pack.format`: measured in `bench.engine.recipe`."""

_STRUCTURE = (
    *("model", "reg.kind", "reg.tile", "reg.lambda", "reg.target", "simd.width"),
    *("prune.kind", "prune.tile", "prune.matrices", "prune.sparsity", "prune.scope", "prune.keep_diagonal"),
    *("prune.gate_sparsity", "prune.permute", "reg.options", "prune.options"),
)
CLASHES_REST_ON: dict[str, tuple[str, ...]] = {
    "model.init": ("model.init",),
    "train.shares": ("train.shares",),
    "measure.metrics": ("measure.metrics",),
    "simd.isa": ("simd.isa",),
    "prune.schedule": ("prune.schedule", "prune.kind"),
    "reg": _STRUCTURE,
    "prune": _STRUCTURE,
    "simd": _STRUCTURE,
    "recover": ("recover", "prune.kind"),
    "tune": ("tune", "reg.kind", "prune.kind"),
    "pack": ("pack", *_STRUCTURE),
}
"""What the checks below read, by the key or the section that they complain of; else that section alone. While one of
these values is itself wrong, the complaint would be about a default that nobody chose."""


def resolve(config: TrialConfig) -> tuple[TrialConfig, list[Finding]]:
    """Fill in every default that depends on another key, and check what only makes sense together.

    Returns
    -------
    config, problems
        The configuration in which nothing is implicit, and what is wrong with it.
    """
    complain = Findings()
    shape = shape_of(config, complain)
    config = with_defaults(config, shape)
    reg_tile, prune_tile, width = _tiles(config, complain)
    reg, prune = config.reg, config.prune
    check_task(config, complain)
    check_kinds(config, complain)
    if shape is not None and check_matrices(config, shape, complain):
        _check_tiles(config, reg_tile, prune_tile, shape, complain)
    check_delta(config, prune_tile, complain)
    _check_numbers(config, complain)
    _check_isa(config.simd.isa, complain)

    on, pruned = reg.kind != "none", prune.kind != "none"
    sparsity = sparsity_of(config)
    target = reg.target if reg.target is not None else (sparsity / 2 if sparsity else None)
    reg_options = complete_options(config, "regularizer", complain)
    prune_options = complete_options(config, "pruner", complain)
    resolved = config.model_copy(
        update={
            "model": config.model.model_copy(update=model_update(shape)),
            "reg": reg.model_copy(
                update={
                    "tile": reg_tile if on else None,
                    "target": target if controlled(config) else None,
                    "options": reg_options,
                }
            ),
            "prune": prune.model_copy(
                update={"tile": prune_tile if pruned else None, "sparsity": sparsity, "options": prune_options}
            ),
            "tune": resolve_tune(config, complain),
            "pack": config.pack.model_copy(update={"tables": _tables(config)}),
            "simd": config.simd.model_copy(update={"width": width}),
        }
    )
    return resolved, complain.found


def _tiles(config: TrialConfig, complain: Findings) -> tuple[str | None, str | None, int | None]:
    """Return the names of the regularizer's and the pruner's tile, and the SIMD width."""
    reg, prune, width = config.reg, config.prune, config.simd.width

    def named(key: str, tile: str | None) -> str | None:
        if tile not in ("simd", "simd-row"):
            return tile
        if width is None:
            complain(key, f"{tile!r} takes its length from simd.width, which is not set; set it or write 16x1")
            return None
        return f"{width}x1" if tile == "simd" else f"1x{width}"

    reg_given, prune_given = named("reg.tile", reg.tile), named("prune.tile", prune.tile)
    prune_tile = prune_given or (reg_given if reg.kind not in ("none", "lasso") else None) or "1x1"
    reg_tile = reg_given or ("1x1" if reg.kind == "lasso" else prune_tile if pulls(config) else None)
    lane_tile = prune_tile if prune.kind != "none" else reg_tile if pulls(config) else None
    own = simd_width(lane_tile) if lane_tile else None
    if width is not None and own is not None and own != width:
        complain("simd.width", f"got {width}, but the tile {lane_tile!r} is {own} long; leave simd.width out")
    return reg_tile, prune_tile, own


def simd_width(tile: str) -> int | None:
    """Return the length of a SIMD group's tile (16 for 16x1 and 1x16), None for any other or unknown tile."""
    from bench.sparsity.tile import Tile

    try:
        return Tile.parse(tile).simd_width
    except UsageError:
        return None


def _check_tiles(
    config: TrialConfig, reg_tile: str | None, prune_tile: str | None, shape: Shape, complain: Findings
) -> None:
    from bench.engine import table
    from bench.sparsity.tile import Tile

    known = shape.matrices()

    def fits(key: str, name: str) -> bool:
        if name == UNIT:
            return True
        try:
            tile = Tile.parse(name)
            for matrix in config.prune.matrices:
                tile.extent(known[matrix].shape, known[matrix].gates)
        except UsageError as error:
            larger = "larger" in str(error)
            (complain.incompatible if larger else complain)(key, str(error).removeprefix("tile: "))
            return False
        return True

    if config.reg.kind not in ("none", "lasso") and reg_tile:
        if config.reg.kind == "group_lasso" and reg_tile == "1x1":
            complain.incompatible(
                "reg.tile", "got '1x1' with reg.kind 'group_lasso': a group of one weight is reg.kind lasso"
            )
        else:
            fits("reg.tile" if config.reg.tile else "prune.tile", reg_tile)
    if config.prune.kind == "none" or prune_tile is None:
        return
    key = "prune.tile" if config.prune.tile else "reg.tile"
    if not fits(key, prune_tile):
        return
    check_budget(config, prune_tile, shape, complain)
    if prune_tile == UNIT:  # packed as a smaller dense model
        return
    _check_diagonal(config, prune_tile, known, complain)
    if (
        config.task == "enhancer"
    ):  # pruned for its size, too: a tile without a kernel runs as a dense matrix, and says so
        return
    fmt = config.pack.format
    if not table.can_run(Tile.parse(prune_tile).runs_as or prune_tile, fmt):
        with_kernel = sorted(set(table.tiles(fmt)) - {"dense"})
        complain.incompatible(
            key,
            f"got {prune_tile!r}, for which the engine has no kernel in {fmt}, so its zeros could not be "
            f"skipped; allowed with pack.format {fmt}: {', '.join(with_kernel)}, and blocks RxC made of these",
        )


def _check_diagonal(config: TrialConfig, prune_tile: str, known: dict[str, Matrix], complain: Findings) -> None:
    """Refuse a sparsity at which the tiles on the diagonal would not fit among those that are kept."""
    from bench.sparsity.count import kept_count
    from bench.sparsity.tile import Tile

    prune = config.prune
    if Tile.parse(prune_tile).runs_as is not None:  # a tile of one's own: the arm counts it
        return
    recurrent = [name for name in prune.matrices if is_recurrent(name)]
    if not prune.keep_diagonal or not recurrent or prune.sparsity is None:
        return

    def tiles(matrix: Matrix) -> tuple[int, int]:
        """Return how many tiles the matrix has, and how many of them hold its diagonal."""
        bands, rows, cols = Tile.parse(prune_tile).extent(matrix.shape, matrix.gates)
        out, inputs = matrix.shape[0] // bands, matrix.shape[1]
        diagonal = {(i % out // rows, i % inputs // cols) for i in range(out)}
        return bands * -(-out // rows) * -(-inputs // cols), bands * len(diagonal)

    found = [tiles(known[name]) for name in recurrent]
    if prune.scope == "global":
        found = [(sum(tiles(known[name])[0] for name in prune.matrices), sum(diagonal for _, diagonal in found))]
    for total, diagonal in found:
        kept = kept_count(total, prune.sparsity)
        if diagonal > kept:
            complain.incompatible(
                "prune.keep_diagonal",
                f"{diagonal} tiles {prune_tile!r} hold the diagonal, but prune.sparsity {prune.sparsity:g} keeps "
                f"{kept} of {total}; lower the sparsity, choose a smaller tile or leave this out",
            )
            return


def _tables(config: TrialConfig) -> str | None:
    return config.pack.tables or (TABLES[config.pack.format] if config.task == "vocoder" else None)


def _check_numbers(config: TrialConfig, complain: Findings) -> None:
    train = config.train
    shares = train.shares
    total = shares.reg + shares.prune + shares.recover
    if abs(total - 1) > 1e-6:
        complain("train.shares", f"reg + prune + recover is {total:g}, expected 1")
    if len(set(config.measure.metrics)) != len(config.measure.metrics):
        complain("measure.metrics", "a metric is named twice")


def _check_isa(isa: str, complain: Findings) -> None:
    """Refuse a name that no host knows; whether the host that runs the trial has it, `bench.config.host` asks there."""
    from bench.engine.isa import ISAS

    allowed = ("auto", *ISAS)
    if isa not in allowed:
        complain("simd.isa", f"got {isa!r}, expected one of {', '.join(allowed)}{did_you_mean(isa, allowed)}")
