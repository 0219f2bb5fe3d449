"""What an arm's matrices looked like on the way: which weights were zero, and how large the others were."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.learn.fit import DivergedError
from bench.sparsity.method import Phases

POINTS = 8
"""Most snapshots of an arm: the dense start, six from the first to the last step of pruning, the end."""

BINS = 64
SPREAD = 4.0
"""Histograms span this many standard deviations of the dense start to each side; what is beyond is in the last bins."""


def moments(phases: Phases) -> list[int]:
    """Return the steps (optimiser updates done; 0 is the dense start) of which snapshots are kept, ascending."""
    through = np.linspace(phases.reg_end, phases.prune_end, POINTS - 2).round().astype(int).tolist()
    return sorted({0, *through, phases.steps})


@dataclass
class Snapshots:
    """Snapshots of an arm as far as it has come.

    Weights are those of evaluation mode, in which gates are not random. Nothing here draws or changes anything.

    Parameters
    ----------
    model
        What is trained.
    matrices
        State key of each matrix to be kept -> its equal gates, stacked in its rows.
    steps
        When to keep one.

    Attributes
    ----------
    taken
        Steps of which there is a snapshot.
    kept
        By state key: one bit a weight, row by row, 1 where it is not zero; uint8 (snapshots, bytes).
    histograms
        By state key: `limit` (the last bin's edge), `zeros` (count of weights that are zero, by snapshot) and `counts`
        (of the others, by snapshot and bin; `BINS` equal ones from -limit to limit).
    """

    model: nn.Module
    matrices: Mapping[str, int]
    steps: list[int]
    taken: list[int] = field(default_factory=list)
    kept: dict[str, Tensor] = field(default_factory=dict)
    histograms: dict[str, dict[str, Any]] = field(default_factory=dict)

    def at(self, step: int) -> None:
        """Keep a snapshot if `step` is one of the moments.

        Raises
        ------
        DivergedError
            A weight is no longer a finite number.
        """
        if step not in self.steps or step in self.taken:
            return
        was_training = self.model.training
        self.model.eval()
        try:
            with torch.no_grad():
                weights = {key: attrgetter(key)(self.model).detach().float().cpu() for key in self.matrices}
        finally:
            self.model.train(was_training)
        for key, weight in weights.items():
            if not bool(weight.isfinite().all()):
                raise DivergedError(f"training diverged by step {step}: {key} is not finite; lower the learning rate")
        self.taken.append(step)
        for key, weight in weights.items():
            bits = torch.from_numpy(np.packbits(weight.numpy() != 0))[None]
            self.kept[key] = torch.cat([self.kept[key], bits]) if key in self.kept else bits
            self._count(key, weight)

    def _count(self, key: str, weight: Tensor) -> None:
        found = self.histograms.get(key)
        if found is None:
            limit = SPREAD * float(weight.std(unbiased=False)) or 1.0
            found = self.histograms[key] = {"limit": limit, "zeros": [], "counts": []}
        limit, values = found["limit"], weight[weight != 0]
        counts = torch.histc(values.clamp(-limit, limit), BINS, -limit, limit)
        found["zeros"].append(weight.numel() - values.numel())
        found["counts"].append([int(count) for count in counts.tolist()])

    def facts(self) -> dict[str, Any]:
        """Return everything but the bits as JSON values: `steps`, and by state key `shape`, `gates`, the histogram."""
        shapes = {key: list(attrgetter(key)(self.model).shape) for key in self.matrices}
        return {
            "steps": self.taken,
            "matrices": {
                key: {"shape": shapes[key], "gates": gates, **self.histograms[key]}
                for key, gates in self.matrices.items()
            },
        }

    def state(self) -> dict[str, Any]:
        """Return JSON values that `restore` needs to go on."""
        return {"taken": self.taken, "histograms": self.histograms}

    def restore(self, state: dict[str, Any], kept: dict[str, Tensor]) -> None:
        """Put back what `state` gave, and the bits (which a checkpoint returns on the model's device)."""
        self.taken, self.histograms = state["taken"], state["histograms"]
        self.kept = {key: bits.cpu() for key, bits in kept.items()}
