"""From the words of a plan to groups of a model's weights, and the order of its hidden units."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from bench.errors import UsageError
from bench.learn.task import Task
from bench.sparsity.groups import Groups, TileGroups
from bench.sparsity.permute import best_order, block_length
from bench.sparsity.scope import check_units
from bench.sparsity.shrink import take_units
from bench.sparsity.tile import UNIT, Tile
from bench.sparsity.units import UnitGroups


def groups_of(
    model: nn.Module,
    task: Task,
    matrices: Sequence[str],
    tile: Tile,
    scope: str = "matrix",
    gate_sparsity: Sequence[float] | None = None,
    keep_diagonal: bool = False,
) -> Groups:
    """Return the groups of a tile on the named matrices (`Task.matrices`), or of the task's hidden units.

    Raises
    ------
    UsageError
        If they do not fit each other.
    """
    shapes = {key: (int(w.shape[0]), int(w.shape[1])) for key, w in model.named_parameters() if w.dim() == 2}
    gates = {task.matrices[name][0]: task.matrices[name][1] for name in matrices}
    if tile == UNIT:
        check_units(scope, gate_sparsity, keep_diagonal)
        return UnitGroups(shapes, task.layers, list(gates))
    diagonal = sorted(set(gates) & task.recurrent) if keep_diagonal else []
    return TileGroups({key: shapes[key] for key in gates}, tile, gates, scope, gate_sparsity, diagonal)


def reorder_units_(model: nn.Module, task: Task, groups: Groups, tile: Tile, sparsity: float) -> dict[str, Any]:
    """Put each layer's hidden units in place into the order in which kept tiles retain the most; return it.

    The network computes the same. What is returned is JSON: by layer, `order` (unit i is the old unit `order[i]`) and
    `retained` (norm in kept tiles as a share of all, before and after).

    Raises
    ------
    UsageError
        If the order makes no difference to the tile, or no pruned matrix has slices of hidden units.
    """
    block_length(tile)
    assert isinstance(groups, TileGroups), "only tiles have block lengths"
    layers = [layer for layer in task.layers if any(item.state_key in groups.keys for item in layer.slices)]
    if not layers:
        raise UsageError(f"prune.permute: {', '.join(groups.keys)} have no slices of hidden units; leave it out")
    found: dict[str, Any] = {}
    for layer in layers:
        best = best_order(dict(model.named_parameters()), groups, layer, sparsity)
        model.load_state_dict(take_units(model.state_dict(), [layer], [best.order]))
        found[layer.name] = {"order": best.order.tolist(), "retained": [best.before, best.after]}
    return found
