"""Group Lasso over tiles: one formula that is Lasso, column-wise group Lasso or SIMD-size group Lasso by its tile."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from bench.errors import UsageError
from bench.sparsity.tile import Tile

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

    Attributes
    ----------
    tile
        The regularizer tile, which need not be the pruning tile.
    form
        `proximal` reaches exact zeros; `subgradient` hovers within lr * lam of them.
    lam
        Strength lambda >= 0; may be set anew at any step (`bench.sparsity.control`), 0 in recovery.
    """

    tile: Tile
    form: Form = "proximal"
    lam: float = 0.0

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise UsageError(f"reg.form: got {self.form!r}, allowed: {', '.join(FORMS)}")
        _check_lambda(self.lam)

    def rms(self, w: Tensor, gates: int = 1) -> Tensor:
        """Root mean square of each group of W (out, in), (n,), without gradient: what lambda control watches."""
        return self.tile.grid(_shape(w), gates).rms(w.detach())

    def penalty(self, w: Tensor, gates: int = 1) -> Tensor:
        """The penalty (scalar, differentiable): to report it, or to add it to the loss when coupling is wanted."""
        grid = self.tile.grid(_shape(w), gates)
        _check_lambda(self.lam)
        return self.lam * (grid.norms(w) * grid.sizes_on(w.device).to(w.dtype).sqrt()).sum()

    def step_(self, w: Tensor, gates: int, lr: float) -> None:
        """One step of `form` in place, after the optimiser's update at learning rate `lr`."""
        if self.form == "proximal":
            self.proximal_(w, gates, lr)
        else:
            self.decay_(w, gates, lr)

    def proximal_(self, w: Tensor, gates: int, lr: float) -> None:
        """Group soft-threshold in place: w_g <- w_g * max(0, 1 - lr * lam * sqrt(size_g) / ||w_g||_2).

        The minimiser of ||v - w||^2 / 2 + lr * penalty(v) (Parikh & Boyd 2014, "Proximal algorithms", section 6.5.4).
        """
        self._shrink_(w, gates, lr, clip=True)

    def decay_(self, w: Tensor, gates: int, lr: float) -> None:
        """Decoupled subgradient step in place: w_g <- w_g - lr * lam * sqrt(size_g) * w_g / ||w_g||_2; zero stays.

        Equal to the proximal step on every group above the threshold; a group below it is carried through zero to the
        other side, where the proximal step would stop at zero.
        """
        self._shrink_(w, gates, lr, clip=False)

    def _shrink_(self, w: Tensor, gates: int, lr: float, clip: bool) -> None:
        _check_lambda(self.lam)
        if not lr >= 0:
            raise ValueError(f"a learning rate cannot be negative: {lr}")
        pull = lr * self.lam
        if pull == 0:
            return
        grid = self.tile.grid(_shape(w), gates)
        with torch.no_grad():
            rms = grid.rms(w)
            factors = torch.where(
                rms > torch.finfo(rms.dtype).tiny, (rms - pull) / rms, 0.0
            )  # no division by a subnormal
            w.mul_(grid.expand(factors.clamp_min_(0) if clip else factors))


def _check_lambda(lam: float) -> None:
    if not (lam >= 0 and math.isfinite(lam)):
        raise UsageError(f"reg.lambda: got {lam}, expected a finite number >= 0")


def _shape(w: Tensor) -> tuple[int, int]:
    if w.dim() != 2:
        raise ValueError(f"a weight matrix has two dimensions (out, in), got shape {tuple(w.shape)}")
    return w.shape[0], w.shape[1]
