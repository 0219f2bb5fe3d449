"""Which groups are kept: exact counts over each budget, ties by index, no resurrection."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.errors import LanewiseError, UsageError
from bench.sparsity.count import kept_count


@dataclass(frozen=True)
class Budget:
    """Groups that compete with each other.

    Attributes
    ----------
    label
        Names it in errors.
    groups
        Their numbers, ascending: a slice of all groups, or of the groups of one matrix or gate.
    """

    label: str
    groups: slice

    @property
    def size(self) -> int:
        """How many groups compete."""
        return int(self.groups.stop - self.groups.start)


def select(
    scores: Tensor,
    budgets: Sequence[tuple[Budget, int]],
    allowed: Tensor | None = None,
    spared: Tensor | None = None,
) -> Tensor:
    """Keep, in each budget, as many groups as it says: the spared ones, then those of largest score.

    Parameters
    ----------
    scores
        (n,), larger is kept; among equal scores the lower index.
    budgets
        Each with the number of groups to keep.
    allowed
        Bool (n,): what may be kept, since an earlier selection kept it. All, by default.
    spared
        Bool (n,): kept first, within the count. None, by default.

    Returns
    -------
    Tensor
        Bool (n,), on the CPU.

    Raises
    ------
    UsageError
        If a count cannot be met.
    LanewiseError
        If a score is not a number.
    """
    scores, allowed, spared = candidates(scores, allowed, spared)
    kept = torch.zeros(len(scores), dtype=torch.bool)
    for budget, count in budgets:
        at = (None, budget.groups)
        kept[at] = select_rows(scores[at], torch.tensor([count]), allowed[at], spared[at], budget.label).cpu()
    return kept


def candidates(scores: Tensor, allowed: Tensor | None, spared: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Return scores (n,) and what may and must be kept, bool (n,), checked, on one device, defaults filled in."""
    scores = scores.detach()
    device = scores.device  # that of the scores: a GPU sorts hundreds of thousands in no time
    if bool(scores.isnan().any()):
        raise LanewiseError(f"{int(scores.isnan().sum())} of {len(scores)} groups have a score that is not a number")
    nothing = torch.zeros(len(scores), dtype=torch.bool, device=device)
    allowed = ~nothing if allowed is None else allowed.to(device)
    spared = nothing if spared is None else spared.to(device)
    if bool((spared & ~allowed).any()):
        raise UsageError("prune.keep_diagonal: the previous masks pruned tiles on the diagonal that is to be kept")
    return scores, allowed, spared


def select_rows(scores: Tensor, counts: Tensor, allowed: Tensor, spared: Tensor, label: str) -> Tensor:
    """`select` over many budgets of equal size m at once, each a row.

    Parameters
    ----------
    scores, allowed, spared
        (budgets, m), as in `select`.
    counts
        Groups to keep in each budget, int64 (budgets,).
    label
        Names them all, in errors.

    Returns
    -------
    Tensor
        Bool (budgets, m), on the scores' device.
    """
    counts = counts.to(scores.device)
    for needed, there, what in (
        (spared.sum(dim=1), counts, "{there} of {size} tiles are to be kept, but {needed} hold the diagonal; lower "
         "prune.sparsity, choose a smaller tile or do not keep the diagonal"),
        (counts, allowed.sum(dim=1), "{needed} of {size} tiles are to be kept, but the previous masks left only "
         "{there}; sparsity may not fall"),
    ):  # fmt: skip
        short = (needed > there).nonzero()
        if len(short):
            at = int(short[0])
            message = what.format(needed=int(needed[at]), there=int(there[at]), size=scores.shape[1])
            raise UsageError(f"{label}{f', run {at}' if len(counts) > 1 else ''}: {message}")
    # By score, then (both sorts are stable) by class: whatever the scores, the spared come first, the pruned last.
    order = torch.sort(scores, dim=1, descending=True, stable=True).indices
    classes = (allowed.int() + spared.int()).gather(1, order)
    order = order.gather(1, torch.sort(classes, dim=1, descending=True, stable=True).indices)
    first = torch.arange(scores.shape[1], device=scores.device) < counts[:, None]
    return torch.zeros_like(first).scatter_(1, order, first)


def counted(budgets: Sequence[Budget], sparsity: float | Sequence[float]) -> list[tuple[Budget, int]]:
    """Give each budget the number of groups that a sparsity (one for all, or one for each) keeps.

    Raises
    ------
    UsageError
        If a sparsity is not within 0..1.
    """
    shares = [sparsity] * len(budgets) if isinstance(sparsity, int | float) else sparsity
    return [(budget, kept_count(budget.size, share)) for budget, share in zip(budgets, shares, strict=True)]
