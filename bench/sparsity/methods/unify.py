"""Weight unification: the weights of a kept tile share one magnitude and keep their signs."""

from typing import Any

import torch
from torch import Tensor

from bench.sparsity.groups import Weights
from bench.sparsity.latent import LatentPruner

INDEX_BYTES, F32_BYTES = 2, 4


class Unify(LatentPruner):
    """Prunes tiles by magnitude; in a kept one every |w| is the tile's mean |w|.

    The micro-structured unification of arXiv 2106.08301, in which magnitude 0 is pruning. That paper alternates between
    choosing tiles and training (its schedule could not be read); here all kept tiles are unified from the first pruning
    on, and learn signs and magnitudes straight through (`LatentPruner`).
    """

    def coarse(self, latent: Weights) -> dict[str, Tensor]:
        """Return sign(w) * mean |w| of the tile; a weight of exactly 0 in a kept tile counts as positive."""
        sums = self.target.groups.sums({key: weight.abs() for key, weight in latent.items()})
        magnitudes = self.target.groups.expand(sums / self.target.groups.sizes.to(sums))
        return {key: torch.where(w < 0, -magnitudes[key], magnitudes[key]) for key, w in latent.items()}

    def facts(self) -> dict[str, Any]:
        """Count the bytes of the pruned matrices: as stored unified, and as plain f32 tiles.

        Unified: per kept tile one f32 magnitude, one sign bit per weight (whole bytes), one 16-bit index as in packed
        models. Counted, not stored: the packed model that is timed holds plain numbers.
        """
        sizes = self.target.groups.sizes[self.present]
        tiles, weights = len(sizes), int(sizes.sum())
        unified = tiles * (F32_BYTES + INDEX_BYTES) + int(((sizes + 7) // 8).sum())
        return {"tiles": tiles, "bytes_unified": unified, "bytes_f32": tiles * INDEX_BYTES + weights * F32_BYTES}
