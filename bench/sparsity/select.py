"""Which groups are kept: exact counts over each budget, ties by index, no resurrection."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.errors import UsageError
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
    """
    scores = scores.detach().cpu()
    allowed = torch.ones(len(scores), dtype=torch.bool) if allowed is None else allowed.cpu()
    spared = torch.zeros(len(scores), dtype=torch.bool) if spared is None else spared.cpu()
    if bool((spared & ~allowed).any()):
        raise UsageError("prune.keep_diagonal: the previous masks pruned tiles on the diagonal that is to be kept")
    ranked = scores.masked_fill(spared, torch.inf).masked_fill(~allowed, -torch.inf)
    kept = torch.zeros(len(scores), dtype=torch.bool)
    for budget, count in budgets:
        part = budget.groups
        _check(budget, count, int(allowed[part].sum()), int(spared[part].sum()))
        best = torch.sort(ranked[part], descending=True, stable=True).indices[:count]
        kept[part.start + best] = True
    return kept


def counted(budgets: Sequence[Budget], sparsity: float | Sequence[float]) -> list[tuple[Budget, int]]:
    """Give each budget the number of groups that a sparsity (one for all, or one for each) keeps.

    Raises
    ------
    UsageError
        If a sparsity is not within 0..1, or there are not as many as budgets.
    """
    shares = [sparsity] * len(budgets) if isinstance(sparsity, int | float) else list(sparsity)
    if len(shares) != len(budgets):
        raise UsageError(f"prune.gate_sparsity: got {len(shares)} numbers for {len(budgets)} gates")
    return [(budget, kept_count(budget.size, share)) for budget, share in zip(budgets, shares, strict=True)]


def _check(budget: Budget, count: int, allowed: int, spared: int) -> None:
    if spared > count:
        raise UsageError(
            f"{budget.label}: {count} of {budget.size} tiles are to be kept, but {spared} hold the diagonal; lower "
            "prune.sparsity, choose a smaller tile or do not keep the diagonal"
        )
    if allowed < count:
        raise UsageError(
            f"{budget.label}: {count} of {budget.size} tiles are to be kept, but the previous masks left only "
            f"{allowed}; sparsity may not fall"
        )
