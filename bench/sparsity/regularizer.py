"""Group Lasso: one formula that is Lasso, column-wise group Lasso or SIMD-size group Lasso by its groups."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from bench.errors import UsageError
from bench.sparsity.groups import Groups, Weights

Form = Literal["proximal", "subgradient"]
FORMS: tuple[Form, ...] = ("proximal", "subgradient")


@dataclass
class GroupLasso:
    """lam * sum over groups g of sqrt(size_g) * ||w_g||_2 (Yuan & Lin 2006, "Model selection and estimation in
    regression with grouped variables", J. R. Stat. Soc. B 68, eq. 2.1 with K_g = size_g * I).

    Tile `1x1` gives the Lasso (Tibshirani 1996), `column` the column-wise group Lasso (Wen et al. 2016,
    arXiv 1608.03665, applies it to structures of a network), `Gx1` and `1xG` a group Lasso whose groups fill SIMD
    registers, the idea of Kanagawa & Ijima 2022 (arXiv 2211.00898). That paper's equations, its lambda, its groups'
    orientation and whether it weights groups by sqrt(size) could not be read: the formula above is this project's.

    sqrt(size) makes one lam pull every weight equally whatever the tile: a step lowers the *root mean square* of each
    group by lr * lam. Both steps are taken after the optimiser's update and outside its moments, so that Adam does not
    divide the pull by its gradient scale (decoupled, as AdamW does with weight decay, arXiv 1711.05101).

    Where groups overlap (hidden units: a recurrent weight is in its row's unit and in its column's) the factors of both
    are applied, one after the other; the closed form is exact for groups that do not overlap.

    Attributes
    ----------
    groups
        Those of the regularizer tile, which need not be the pruning tile.
    form
        `proximal` reaches exact zeros; `subgradient` hovers within lr * lam of them.
    lam
        Strength lambda >= 0; may be set anew at any step (`bench.sparsity.control`), 0 in recovery.
    """

    groups: Groups
    form: Form = "proximal"
    lam: float = 0.0

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise UsageError(f"reg.form: got {self.form!r}, allowed: {', '.join(FORMS)}")
        _check_lambda(self.lam)

    @torch.no_grad()
    def rms(self, weights: Weights) -> Tensor:
        """Root mean square of each group, (n,), without gradient: what lambda control watches."""
        return self.groups.rms(weights)

    def penalty(self, weights: Weights) -> Tensor:
        """The penalty (scalar, differentiable): to report it, or to add it to the loss when coupling is wanted."""
        _check_lambda(self.lam)
        norms = self.groups.norms(weights)
        return self.lam * (norms * self.groups.sizes.to(norms).sqrt()).sum()

    def step_(self, weights: Weights, lr: float) -> None:
        """One step of `form` in place, after the optimiser's update at learning rate `lr`."""
        if self.form == "proximal":
            self.proximal_(weights, lr)
        else:
            self.decay_(weights, lr)

    def proximal_(self, weights: Weights, lr: float) -> None:
        """Group soft-threshold in place: w_g <- w_g * max(0, 1 - lr * lam * sqrt(size_g) / ||w_g||_2).

        The minimiser of ||v - w||^2 / 2 + lr * penalty(v) (Parikh & Boyd 2014, "Proximal algorithms", section 6.5.4).
        """
        self._scale_(weights, self._pull(lr), clip=True)

    def decay_(self, weights: Weights, lr: float) -> None:
        """Decoupled subgradient step in place: w_g <- w_g - lr * lam * sqrt(size_g) * w_g / ||w_g||_2; zero stays.

        Equal to the proximal step on every group above the threshold; a group below it is carried through zero to the
        other side, where the proximal step would stop at zero.
        """
        self._scale_(weights, self._pull(lr), clip=False)

    def _pull(self, lr: float) -> float:
        """By how much one step lowers each group's root mean square."""
        _check_lambda(self.lam)
        if not lr >= 0:
            raise ValueError(f"a learning rate cannot be negative: {lr}")
        return lr * self.lam

    @torch.no_grad()
    def _scale_(self, weights: Weights, pull: float, clip: bool) -> None:
        if pull == 0:
            return
        rms = self.groups.rms(weights)
        # No division by a subnormal.
        factors = torch.where(rms > torch.finfo(rms.dtype).tiny, (rms - pull) / rms, 0.0)
        for key, factor in self.groups.expand(factors.clamp_min_(0) if clip else factors).items():
            weights[key].mul_(factor)


def _check_lambda(lam: float) -> None:
    if not (lam >= 0 and math.isfinite(lam)):
        raise UsageError(f"reg.lambda: got {lam}, expected a finite number >= 0")
