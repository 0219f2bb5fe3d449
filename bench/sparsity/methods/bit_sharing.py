"""Bit sharing: each tile learns how many bits its weights have, and none of them is pruning."""

from typing import Any

import torch
from torch import Tensor

from bench.sparsity.groups import Weights
from bench.sparsity.latent import LatentPruner
from bench.sparsity.method import Target

BITS = (2, 4, 8)
START = 2.0
"""Logits of the gates of 4 and 8 bits at the start: both open, with probability 0.88."""
TRAVEL = 10.0
"""How far a logit could move while bits are learned, if its gradient always pointed the same way."""
MEMORY = 0.99
"""Decay of the mean square by which a logit's gradients are divided."""


class BitSharing(LatentPruner):
    """Prunes tiles to 0 bits and gives each kept one 2, 4 or 8.

    Single-path bit sharing (arXiv 2101.04935): w = g2 * (q2 + g4 * (q4 - q2 + g8 * (q8 - q4))), in which the gates of a
    tile are learned with its weights and a penalty on the expected bits per weight closes them. Gates 4 and 8 are open
    while their logit is above 0. Gate 2, presence, ranks the tiles that the schedule prunes, so that the sparsity asked
    for is met exactly; its logits start as the logarithm of the tiles' root mean square, with mean 0 and deviation 1.
    Bits are learned while the schedule prunes and then frozen; the weights go on learning on their grids.

    How the paper moves its gates could not be read. Here a logit's gradient, in which the gate's step passes the
    gradient of its sigmoid, is divided by its running root mean square, so that its pace is not that of the loss.

    Option `penalty`: bits of loss per bit of a weight. Measured on the shipped small dense model, 80 % of 16x1 tiles
    pruned in 120 steps of batch 16, NLL (that of `magnitude` is 4.615) and bits per weight of the pruned matrix: 0.0003
    gives 4.332 and 1.25; 0.03 4.264, 0.82; 0.3 4.243, 0.54; 3 4.526, 0.41. What is gained over magnitude is gained by
    presence: quantising gains no NLL by itself.

    Attributes
    ----------
    logits, squares
        (3, n) of the gates 2, 4 and 8, and the mean squares of their gradients.
    """

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        device = next(iter(target.weights.values())).device
        self.logits = torch.full((len(BITS), target.groups.n), START, device=device)
        self.squares = torch.zeros_like(self.logits)
        self.shares = (target.groups.sizes / target.groups.sizes.sum()).to(self.logits)

    def start(self) -> None:
        """Begin with presence by magnitude."""
        size = self.target.groups.rms(self.target.weights).clamp_min(1e-12).log()
        self.logits[0] = (size - size.mean()) / size.std(correction=0).clamp_min(1e-6)

    def scores(self) -> Tensor:
        """Return the presence of every tile."""
        return self.logits[0].double().cpu()

    def bits(self) -> Tensor:
        """Return the bits of every tile's weights, (n,): 0, 2, 4 or 8."""
        open4, open8 = (self.logits[1:] > 0).int()
        bits: Tensor = self.present.to(self.logits) * (2 + open4 * (2 + open8 * 4))
        return bits

    def coarse(self, latent: Weights) -> dict[str, Tensor]:
        """Return the weights on the grids of their tiles, zero where pruned."""
        bits = self.target.groups.expand(self.bits())
        found = {key: torch.zeros_like(w) for key, w in latent.items()}
        for width, grid in zip(BITS, self.grids(latent), strict=True):
            found = {key: torch.where(bits[key] == width, grid[key], w) for key, w in found.items()}
        return found

    def grids(self, latent: Weights) -> list[dict[str, Tensor]]:
        """Return the weights with 2, 4 and 8 bits each; a tile's grid reaches to its largest |w| as bf16."""
        groups = self.target.groups
        tops = groups.expand(groups.norms(latent, "max").bfloat16().to(self.logits))
        return [{key: quantised(w, tops[key], width) for key, w in latent.items()} for width in BITS]

    def learn(self, step: int) -> None:
        """Move the gates, until pruning ends."""
        begin, end = self.target.phases.reg_end, self.target.phases.prune_end
        if step < end:
            gradient = self.gradient()
            self.squares.lerp_(gradient.square(), 1 - MEMORY)
            scale = (self.squares / (1 - MEMORY ** (step + 1 - begin))).sqrt()
            self.logits -= TRAVEL / (end - begin) * gradient / scale.clamp_min(1e-20)

    def gradient(self) -> Tensor:
        """Return the gradient of loss and penalty by the logits, (3, n)."""
        groups, (p2, p4, p8) = self.target.groups, self.logits.sigmoid()
        slopes = {key: torch.zeros_like(w) if w.grad is None else w.grad for key, w in self.target.weights.items()}
        (open4, open8), present = (self.logits[1:] > 0).to(p2), self.present.to(self.logits)
        q2, q4, q8 = self.grids(self.latent)

        def worth(finer: Weights, coarser: Weights | None = None) -> Tensor:
            """Slope of the loss along what a gate adds to each tile's weights."""
            return groups.sums(
                {k: slope * (finer[k] - coarser[k] if coarser else finer[k]) for k, slope in slopes.items()}
            )

        to4, to8 = worth(q4, q2), worth(q8, q4)
        loss = torch.stack([worth(self.used), present * (to4 + open8 * to8), present * open4 * to8])
        cost = torch.stack([2 + p4 * (2 + 4 * p8), p2 * (2 + 4 * p8), p2 * p4 * 4]) * (present * self.shares)
        p = torch.stack([p2, p4, p8])
        return (loss + float(self.target.options["penalty"]) * cost) * p * (1 - p)

    def tensors(self) -> dict[str, Tensor]:
        """Return the groups kept, the latent weights and the gates."""
        return super().tensors() | {"logits": self.logits, "squares": self.squares}

    def restore(self, state: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        """Put back what `tensors` gave."""
        super().restore(state, tensors)
        self.logits, self.squares = tensors["logits"], tensors["squares"]

    def facts(self) -> dict[str, Any]:
        """Count tiles by their bits, and the bytes of the pruned matrices: with these bits, and as plain f32 tiles.

        Per kept tile its weights' bits (whole bytes), 2 bits to say how many, a bf16 reach and a 16-bit index as in
        packed models. Counted, not stored: the packed model that is timed holds plain numbers.
        """
        bits, sizes = self.bits().long().cpu(), self.target.groups.sizes
        tiles, weights = int(self.present.sum()), int(sizes[self.present].sum())
        stored = int(((bits * sizes + 7) // 8).sum()) + (tiles * 2 + 7) // 8 + tiles * (2 + 2)
        return {
            "tiles_by_bits": {str(width): int((bits == width).sum()) for width in (0, *BITS)},
            "bits_per_weight": float((bits * sizes).sum() / sizes.sum()),
            "bytes_shared": stored,
            "bytes_f32": tiles * 2 + weights * 4,
        }


def quantised(w: Tensor, top: Tensor, bits: int) -> Tensor:
    """Return w on 2^bits equally spaced levels from -top to top; the levels of 2, 4 and 8 bits contain one another."""
    steps = 2**bits - 1
    unit = torch.where(top > 0, top, 1.0)
    levels: Tensor = ((((w / unit).clamp(-1, 1) + 1) / 2 * steps).round() * (2 / steps) - 1) * top
    return levels
