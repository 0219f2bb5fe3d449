"""Second-order pruning: groups whose loss changes the outputs least go, and the kept weights make up for them."""

from typing import Any

import torch
from torch import Tensor

from bench.sparsity import surgeon
from bench.sparsity.calibrated import Calibrated
from bench.sparsity.groups import TileGroups
from bench.sparsity.method import Target


class SecondOrder(Calibrated):
    """Ranks groups by optimal brain surgeon on a calibration set, then refits the kept weights by least squares.

    Saliencies are mean square changes of a matrix's outputs, exact for tiles r x c; a tile of one's own counts as the
    sum of the tiles that it is made of, a hidden unit as the sum of all weights of its slices. What groups would cost
    together is not the sum of what each costs, so they go in several rounds, and the saliencies of the rest are
    computed anew in between, for refitted weights. `prune.score` plays no part.

    Options `damping` (of H, as a share of its mean diagonal), `rounds` and `update` (false: the mask is the same, the
    kept weights stay as they were).
    """

    kind = "second_order"

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self.sparsity = 0.0
        self.lost: list[dict[str, dict[str, float]]] = []

    @torch.no_grad()
    def prune(self, sparsity: float) -> None:
        """Calibrate, prune in rounds, refit."""
        target, options = self.target, self.target.options
        moments = self.moments()
        steady = {key: surgeon.damped(moment, float(options["damping"])) for key, moment in moments.items()}
        before = {key: weight.detach().double() for key, weight in target.weights.items()}
        masks = self.masks or {key: torch.ones_like(w, dtype=torch.bool) for key, w in before.items()}
        for share in _path(self.sparsity, sparsity, int(options["rounds"])):
            self.keep(target.groups.keep(self._saliency(before, masks, steady), share, self.kept))
            masks = self.masks
        fitted = {key: surgeon.refit(w, masks[key], steady[key]) for key, w in before.items()}
        self.sparsity = sparsity
        self.lost.append({key: _lost(w, masks[key], fitted[key], moments[key]) for key, w in before.items()})
        for key, weight in target.weights.items():
            weight.copy_(fitted[key] if options["update"] else torch.where(masks[key], before[key], 0.0))

    def _saliency(self, weights: dict[str, Tensor], masks: dict[str, Tensor], moments: dict[str, Tensor]) -> Tensor:
        groups = self.target.groups
        widths = dict.fromkeys(weights, 1)
        if isinstance(groups, TileGroups):
            widths = {key: grid.tile.extent(grid.shape, grid.gates)[2] for key, grid in groups.grids.items()}
        return groups.sums(
            {key: surgeon.saliency(w, masks[key], moments[key], widths[key]) for key, w in weights.items()}
        )

    def state(self) -> dict[str, Any]:
        """Return the sparsity reached and the errors made so far."""
        return {"sparsity": self.sparsity, "lost": self.lost}

    def restore(self, state: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        """Put back what `state` and `tensors` gave."""
        super().restore(state, tensors)
        self.sparsity, self.lost = state["sparsity"], state["lost"]

    def facts(self) -> dict[str, Any]:
        """Return, for each pruning and matrix, the share of the outputs' mean square that it took."""
        return {"lost": self.lost}


def _path(start: float, end: float, rounds: int) -> list[float]:
    """Sparsities from `start` (left out) to `end` whose kept shares fall by the same factor."""
    factor = (1 - end) / (1 - start) if start < 1 else 1.0
    return [1 - (1 - start) * factor ** (number / rounds) for number in range(1, rounds)] + [end]


def _lost(w: Tensor, mask: Tensor, fitted: Tensor, moment: Tensor) -> dict[str, float]:
    """Errors of the masked and of the refitted weights, as shares of the outputs' mean square."""
    whole = surgeon.output_error(w, moment) or 1.0
    return {
        "masked": surgeon.output_error(torch.where(mask, 0.0, w), moment) / whole,
        "refitted": surgeon.output_error(fitted - w, moment) / whole,
    }
