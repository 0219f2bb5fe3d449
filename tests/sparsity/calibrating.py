"""Random matrices with correlated inputs, for the pruners that look at them."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from bench.sparsity import catalogue
from bench.sparsity.groups import Scope, TileGroups
from bench.sparsity.method import Option, Phases, Pruner, Target
from bench.sparsity.schedule import Kind, Schedule
from bench.sparsity.tile import Tile

Shapes = Mapping[str, tuple[int, int]]


def moment(columns: int, seed: int, samples: int = 200) -> Tensor:
    """X^T X / n of inputs that are correlated, of unequal size, and not centred."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(columns, columns, generator=generator, dtype=torch.float64)
    x = torch.randn(samples, columns, generator=generator, dtype=torch.float64) @ mixing
    x = (x + 1) * torch.rand(columns, generator=generator, dtype=torch.float64)
    return x.T @ x / samples


def pruner(
    kind: str,
    shapes: Shapes,
    tile: str,
    sparsity: float = 0.5,
    seed: int = 0,
    gates: Mapping[str, int] | None = None,
    scope: Scope = "matrix",
    schedule: Kind = "one-shot",
    end: int = 0,
    **options: Option,
) -> tuple[Pruner, dict[str, Tensor]]:
    """Return a pruner on random weights, and the second moments that it is given."""
    generator = torch.Generator().manual_seed(seed + 1)
    weights = {key: nn.Parameter(torch.randn(shape, generator=generator)) for key, shape in shapes.items()}
    moments = {key: moment(shape[1], seed + i) for i, (key, shape) in enumerate(shapes.items())}
    target = Target(
        nn.ParameterDict(weights),
        weights,
        TileGroups(shapes, Tile.parse(tile), gates, scope),
        Phases(0, end, end + 4),
        Schedule(schedule, sparsity, 0, end),
        options=catalogue.info("pruner", kind).complete(options),
        calibrate=lambda: moments,
    )
    made = catalogue.load("pruner", kind)(target)
    assert isinstance(made, Pruner)
    return made, moments
