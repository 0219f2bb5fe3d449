"""Learned gates: one factor per group, multiplied onto the weights while it is learned, baked into them afterwards."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from bench.sparsity.balance import Balance
from bench.sparsity.groups import Groups
from bench.sparsity.layers import layers
from bench.sparsity.method import Pruner, Target


class Gates(nn.Module):
    """Factors of groups and the parameter that decides them, which the arm's Adam trains with everything else.

    Adam moves a parameter by up to its learning rate a step, whatever the size of its gradient. So the parameter is
    stored in a unit (`pace`) in which the learning rate of the weights suits it. Factors are 1 until the parameter is
    to learn (`stored.requires_grad`).

    Parameters
    ----------
    start
        Values to begin with.
    layer
        Layer of each of them.
    pace
        The unit.
    """

    layer: Tensor

    def __init__(self, start: Tensor, layer: Tensor, pace: float) -> None:
        super().__init__()
        self.pace = pace
        self.stored = nn.Parameter(start / pace)
        self.register_buffer("layer", layer, persistent=False)

    def values(self) -> Tensor:
        """Return pace * stored, with the gradient of `stored` as if pace were 1.

        Adam does not mind the factor; in the clipping by norm, gates count as they would had they no unit.
        """
        return self.pace * self.stored.detach() + (self.stored - self.stored.detach())

    def factors(self) -> Tensor:
        """Return the factor of each group, (n,)."""
        raise NotImplementedError

    def present(self) -> Tensor:
        """Return how far each group counts as kept, 0..1, (n,)."""
        raise NotImplementedError

    def settled(self) -> Tensor:
        """Return the factor that each group keeps for good if it is kept, (n,)."""
        raise NotImplementedError


class GatedPruner(Pruner):
    """Base of the pruners that learn which groups to keep.

    From `phases.reg_end` to `phases.prune_end` every matrix reads as weight * factor of its groups (where groups
    overlap, the product of their factors), and a penalty on what is kept is part of the loss. Its lambda is fixed, or
    controlled (option `lambda` 0, `Balance`) so that the share kept follows the schedule. At the end exactly the wanted
    groups of largest `scores` are kept, their factors are multiplied into the weights, and the masks are fixed.

    Layers that share a budget (`prune.scope: global`) share one lambda, and what the gates learn decides each one's
    part of it; others have a lambda each.

    Subclasses make the gates, and say what the penalty and the scores are.
    """

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self.layer, self.layers = layers(target.groups, target.weights)
        self.gates = self.made(self.pace(float(target.options["travel"])))
        self.gates.to(next(iter(target.weights.values())).device)
        self.gates.stored.register_hook(self._hear)  # type: ignore[no-untyped-call]
        self.gates.stored.requires_grad_(False)
        self.fixed = float(target.options["lambda"])
        self.balance = Balance()
        self.pool = torch.zeros_like(self.layer) if self._shared() else self.layer
        self.lams = torch.full((int(self.pool.max()) + 1,), self.fixed)
        self.curve: dict[str, list[Any]] = {"step": [], "lambda": [], "pruned": []}
        self._gradient = self._unit = torch.zeros_like(self.gates.stored)
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []
        self._hang()

    def made(self, pace: float) -> Gates:
        """Return the gates, open."""
        raise NotImplementedError

    def penalties(self) -> Tensor:
        """Return the penalty of each group at lambda 1, (n,), differentiable."""
        raise NotImplementedError

    def pace(self, travel: float) -> float:
        """Return the unit in which a parameter moves by `travel` in the phase's steps at the peak learning rate."""
        phases = self.target.phases
        return travel / (self.target.rate * max(phases.prune_end - phases.reg_end, 1))

    def ready(self, step: int) -> None:
        """Prepare the gates for step `step`: they learn once the phase has begun."""
        self.gates.stored.requires_grad_(step >= self.target.phases.reg_end)

    def begin(self) -> None:
        """Settle at once, where there is no phase to learn in."""
        if self.target.phases.prune_end == 0:
            self.settle()
        self.ready(0)
        self.apply_()

    def resume(self, step: int) -> None:
        """Take the gates off where they are baked already."""
        if step >= self.target.phases.prune_end:
            self._unhang()
        self.ready(step)

    def penalty(self, step: int) -> Tensor | None:
        """Return sum over layers of lambda * penalty."""
        if not self.target.phases.reg_end <= step < self.target.phases.prune_end:
            return None
        penalties = self.penalties()
        (self._unit,) = torch.autograd.grad(penalties.sum(), self.gates.stored, retain_graph=True)
        return (self.lams[self.pool].to(penalties) * penalties).sum()

    @torch.no_grad()
    def after_step(self, step: int, rate: float) -> None:
        """Choose lambda; settle at the end of the phase; after it, keep pruned weights at zero."""
        done, phases = step + 1, self.target.phases
        self.lam = 0.0
        if phases.reg_end <= step < phases.prune_end:
            self._note(done)
        if done == phases.prune_end:
            self.settle()
        self.ready(done)
        self.apply_()

    @torch.no_grad()
    def settle(self) -> None:
        """Keep exactly the wanted groups, their factors in the weights, and take the gates off."""
        self.prune(self.schedule.final)
        for key, factor in self.target.groups.expand(self.gates.settled()).items():
            self.target.weights[key].mul_(factor)
        self._unhang()

    def state(self) -> dict[str, Any]:
        """Return the curves."""
        return {"curve": self.curve}

    def tensors(self) -> dict[str, Tensor]:
        """Return the groups kept, lambda and its controller."""
        return super().tensors() | {"lambda": self.lams} | self.balance.tensors()

    def restore(self, state: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        """Put back the groups kept, lambda, its controller and the curves."""
        super().restore(state, tensors)
        on_cpu = {key: value.cpu() for key, value in tensors.items()}
        self.lams, self.curve = on_cpu["lambda"], state["curve"]
        self.balance.restore(on_cpu)

    def facts(self) -> dict[str, Any]:
        """Return, for each step of the phase, what the method did in each layer."""
        return {"layers": self.layers, **self.curve}

    def _hear(self, gradient: Tensor) -> None:
        self._gradient = gradient.detach().clone()  # before it is clipped

    def _note(self, done: int) -> None:
        """Keep the curves of a step and choose the next one's lambda."""
        self.lam = float(self.lams.mean())
        pruned = 1 - self.gates.present().cpu()
        by_layer = _means(pruned, self.layer, len(self.layers))
        for key, values in (("step", done), ("lambda", self.lams.tolist()), ("pruned", by_layer.tolist())):
            self.curve[key].append(values)
        if self.fixed == 0:
            pools = torch.zeros(len(self.layers), dtype=torch.long).index_copy_(0, self.layer, self.pool)
            pool = pools[self.gates.layer.cpu()]  # of each parameter
            own = self.lams[pool].to(self._unit) * self._unit
            task, penalty = (
                torch.zeros(len(self.lams)).index_add_(0, pool, pull.abs().cpu())
                for pull in (self._gradient - own, self._unit)
            )
            kept = self.target.groups.keep(self.scores(), self.schedule.sparsity_at(done + 1))
            wanted, present = (_means(share, self.pool, len(self.lams)) for share in (~kept, pruned))
            self.lams = self.balance.update(task, penalty, wanted, present)

    def _shared(self) -> bool:
        """Whether what one layer keeps depends on the scores of the others."""
        first = (self.layer == 0).double()
        keep = self.target.groups.keep
        kept = [keep(scores, self.schedule.final)[self.layer == 0].sum() for scores in (first, -first)]
        return bool(kept[0] != kept[1])

    def _places(self) -> Iterator[tuple[nn.Module, str, str]]:
        for key in self.target.groups.keys:
            path, _, name = key.rpartition(".")
            yield self.target.model.get_submodule(path), name, key

    def _hang(self) -> None:
        for module, name, key in self._places():
            parametrize.register_parametrization(module, name, _Gated(self.gates, self.target.groups, key))
        for module in {id(module): module for module, _, _ in self._places()}.values():
            if isinstance(module, nn.RNNBase):
                self._hooks.append(module.register_forward_pre_hook(_refresh))

    def _unhang(self) -> None:
        for module, name, _ in self._places():
            parametrize.remove_parametrizations(module, name, leave_parametrized=False)
            if isinstance(module, nn.RNNBase):
                _refresh(module)
        for hook in self._hooks:
            hook.remove()


class _Gated(nn.Module):
    """Parametrisation of one matrix."""

    def __init__(self, gates: Gates, groups: Groups, key: str) -> None:
        super().__init__()
        self.gates, self.groups, self.key = gates, groups, key

    def forward(self, weight: Tensor) -> Tensor:
        learning = self.gates.stored.requires_grad
        return weight * self.groups.expand(self.gates.factors())[self.key] if learning else weight


def _means(values: Tensor, part: Tensor, parts: int) -> Tensor:
    """Mean of a value per group (n,) over each part, float32 (parts,)."""
    totals = torch.zeros(parts, dtype=torch.float64).index_add_(0, part, values.double())
    return (totals / torch.bincount(part, minlength=parts)).float()


def _refresh(module: nn.RNNBase, *_: object) -> None:
    """Make torch's recurrent layers see their parametrised weights: they read a list made when they were built."""
    module._flat_weights = [getattr(module, name) for name in module._flat_weights_names]
