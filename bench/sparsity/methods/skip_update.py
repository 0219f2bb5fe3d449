"""Skip-update gates: the network learns at which steps its state has to move."""

from typing import Any

from torch import Tensor

from bench.errors import UsageError
from bench.models.skip import SkipGate
from bench.models.wavernn import SubbandWaveRNN
from bench.sparsity.method import Method, Target


class SkipUpdate(Method):
    """Gives the vocoder's GRU skip gates (`bench.models.skip`) and a penalty cost * mean(u_t) on its updates.

    Campos et al. 2018 (arXiv 1708.06834), their "cost per sample", here in bits. The gates are part of the network from
    then on: the penalty stays in recovery, without which they would open again, and packed models have them too.
    A start that has gates keeps them.

    Raises
    ------
    UsageError
        If the network is none whose recurrence knows skip gates.
    """

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        model = target.model
        if not isinstance(model, SubbandWaveRNN):
            raise UsageError(f"reg.kind: skip_update works on the vocoder's GRU alone, got {type(model).__name__}")
        self.lam = float(target.options["cost"])
        if model.gru.skip is None:
            model.gru.skip = SkipGate(model.arch.hidden).to(model.band_scale.device)
        self.gate = model.gru.skip
        self._share: list[float] = []

    def penalty(self, step: int) -> Tensor:
        """Return cost * share of the steps of the batch just run that update the state."""
        share = self.gate.last_updates().mean()
        self._share.append(round(share.item(), 6))
        return self.lam * share

    def state(self) -> dict[str, Any]:
        """Return the curve of updates."""
        return {"updates": self._share}

    def restore(self, state: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        """Put back the curve of updates."""
        self._share = list(state["updates"])

    def facts(self) -> dict[str, Any]:
        """Return the share of steps that update the state, of each training batch."""
        return {"updates": self._share}
