"""Sparse group Lasso: groups go to zero, and so do single weights of the groups that stay."""

from dataclasses import dataclass

import torch
from torch import Tensor

from bench.errors import UsageError
from bench.sparsity.groups import Weights
from bench.sparsity.regularizer import GroupLasso


@dataclass
class SparseGroupLasso(GroupLasso):
    """lam * [(1 - alpha) * sum over groups g of sqrt(size_g) * ||w_g||_2 + alpha * ||w||_1].

    Friedman, Hastie & Tibshirani 2010 (arXiv 1001.0736), with the weights of Simon et al. 2013 ("A sparse-group
    lasso", J. Comput. Graph. Stat. 22). Alpha 0 is `GroupLasso`, alpha 1 would be the Lasso whatever the groups.

    Attributes
    ----------
    alpha
        Share of the l1 term, 0 to below 1.
    """

    alpha: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.alpha < 1:
            raise UsageError(f"reg.options.alpha: got {self.alpha}, expected a number from 0 to below 1")

    def penalty(self, weights: Weights) -> Tensor:
        """The penalty (scalar, differentiable)."""
        norms = super().penalty(weights)
        l1 = torch.stack([weights[key].abs().sum() for key in self.groups.keys]).sum()
        return (1 - self.alpha) * norms + self.alpha * self.lam * l1

    @torch.no_grad()
    def reach(self, weights: Weights, near: float) -> Tensor:
        """Pull lr * lam that would bring each group to zero, (n,): a lower bound, close for groups close to `near`.

        The proximal step zeroes a group once what the soft threshold leaves of it, ||S(w_g, alpha * p)||_2, falls to
        (1 - alpha) * p * sqrt(size_g). The difference of the two is convex and falls with the pull p; its tangent at
        `near` crosses zero at the value returned, which is on the same side of `near` as the true one.
        """
        soft = {key: torch.nn.functional.softshrink(weights[key], self.alpha * near) for key in self.groups.keys}
        left, l1 = self.groups.norms(soft, "l2"), self.groups.norms(soft, "l1")
        root = self.groups.sizes.to(left).sqrt()
        slope = self.alpha * l1 / left + (1 - self.alpha) * root
        reach = near + (left - (1 - self.alpha) * near * root) / slope
        return torch.where(left > torch.finfo(left.dtype).tiny, reach, 0.0)

    def proximal_(self, weights: Weights, lr: float) -> None:
        """Soft-threshold every weight by lr * lam * alpha, then every group by the rest, in place.

        That this order gives the exact minimiser is Yuan, Liu & Ye 2011 ("Efficient methods for overlapping group
        lasso", theorem 1; also Simon et al. 2013, section 3.1).
        """
        pull = self._pull(lr)
        with torch.no_grad():
            for key in self.groups.keys:
                weights[key].copy_(torch.nn.functional.softshrink(weights[key], self.alpha * pull))
        self._scale_(weights, (1 - self.alpha) * pull, clip=True)

    def decay_(self, weights: Weights, lr: float) -> None:
        """Decoupled subgradient step in place: both terms' signs and directions are those before the step."""
        pull = self._pull(lr)
        with torch.no_grad():
            signs = {key: torch.sign(weights[key]) for key in self.groups.keys}
            self._scale_(weights, (1 - self.alpha) * pull, clip=False)
            for key, sign in signs.items():
                weights[key].sub_(sign, alpha=self.alpha * pull)
