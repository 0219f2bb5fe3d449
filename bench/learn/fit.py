"""One training loop for all: dense pre-training, pruning and recovery differ only in what happens after a step."""

import json
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from bench.errors import LanewiseError


@dataclass(frozen=True)
class Optimisation:
    """Adam with gradient clipping; the rate warms up, holds, then falls along a cosine to `final` times its peak.

    Attributes
    ----------
    steps
        Optimiser steps in all.
    rate
        Peak learning rate.
    warmup
        Steps of linear warm-up.
    hold
        Share of the steps spent at the peak before the cosine.
    final
        Last learning rate as a share of the peak.
    tail
        Share of the steps spent at the last rate.
    clip
        Largest gradient norm.
    average
        Decay of the moving average of the weights; 0 keeps none.
    """

    steps: int
    rate: float = 2e-3
    warmup: int = 50
    hold: float = 0.0
    final: float = 0.02
    tail: float = 0.0
    clip: float = 3.0
    average: float = 0.0

    def rate_at(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        if step < self.warmup:
            return self.rate * (step + 1) / self.warmup
        start, end = self.hold * self.steps, (1 - self.tail) * self.steps
        progress = min(max((step - start) / max(end - start, 1), 0.0), 1.0)
        return self.rate * (self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * progress)))


class DivergedError(LanewiseError):
    """The loss is no longer a finite number."""


def device_of(model: nn.Module) -> torch.device:
    """Where a model lies."""
    return next(model.parameters()).device


def exact() -> AbstractContextManager[None]:
    """In here a GPU convolves in full float32, and sums in the same order at every run; a CPU always does."""
    flags: AbstractContextManager[None] = torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )
    return flags


Loss = Callable[[int], tuple[Tensor, Tensor]]


def task_loss(model: Any, batches: Callable[[int], Any], loss: Callable[[Any, Any], Tensor]) -> Loss:
    """Return a loss for `Fit` that lowers what it reports: that of the task, nothing added."""

    def of(step: int) -> tuple[Tensor, Tensor]:
        found = loss(model, batches(step))
        return found, found

    return of


@dataclass
class Fit:
    """State of a training run that can be saved and taken up again.

    Parameters
    ----------
    model
        Trained in place.
    optimisation
        How.
    loss
        `loss(step)` gives what the step lowers, and what is reported of it: the task's own part, in bits.
    after_step
        Called after each update with (step, learning rate): proximal steps and masks act here, outside Adam's moments.
    """

    model: nn.Module
    optimisation: Optimisation
    loss: Loss
    after_step: Callable[[int, float], None] | None = None
    step: int = 0
    curve: list[tuple[int, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._adam = torch.optim.Adam(self.model.parameters(), lr=1.0, betas=(0.9, 0.99), fused=True)
        self._average = (
            {k: v.detach().clone() for k, v in self.model.named_parameters()} if self.optimisation.average else {}
        )

    def run(self, until: int, on_step: Callable[[int, float], None] | None = None) -> None:
        """Train until `until` steps are done; `on_step(step, bits)` hears each of them and may raise to interrupt."""
        while self.step < until:
            bits = self.gradients()
            self.update(bits)
            if on_step is not None:
                on_step(self.step, bits)

    def gradients(self) -> float:
        """Leave the next step's gradients in the parameters; return what is reported of its loss."""
        with exact():
            loss, reported = self.loss(self.step)
            self._adam.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
        return reported.item()

    def update(self, bits: float) -> None:
        """Take the step whose gradients are in the parameters and whose loss is `bits`.

        Raises
        ------
        DivergedError
            The loss is no finite number; nothing was changed.
        """
        rate = self.optimisation.rate_at(self.step)
        if not math.isfinite(bits):
            raise DivergedError(
                f"training diverged at step {self.step} (loss {bits}); lower the learning rate ({rate:g})"
            )
        for group in self._adam.param_groups:
            group["lr"] = rate
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.optimisation.clip)
        self._adam.step()
        if self.after_step is not None:
            self.after_step(self.step, rate)
        if self._average:
            # the average follows faster at first, so that it is not held back by the untrained start
            decay = min(self.optimisation.average, (self.step + 1) / (self.step + 10))
            with torch.no_grad():
                for name, value in self.model.named_parameters():
                    self._average[name].lerp_(value, 1 - decay)
        self.step += 1
        self.curve.append((self.step, bits))

    def forget(self) -> None:
        """Drop what was learned of the weights that now are others: Adam's moments and the moving average."""
        self._adam.state.clear()
        if self._average:
            self._average = {k: v.detach().clone() for k, v in self.model.named_parameters()}

    def use_average(self) -> dict[str, Tensor]:
        """Put the averaged weights into the model; return the raw ones (to be put back by `load_state_dict`)."""
        raw = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        if self._average:
            self.model.load_state_dict(self._average, strict=False)
        return raw

    def save(self, path: Path, extra: dict[str, Any] | None = None, tensors: dict[str, Tensor] | None = None) -> None:
        """Write everything needed to go on, atomically; `extra` and `tensors` come back from `restore`."""
        tensors = {f"extra/{k}": v for k, v in (tensors or {}).items()}
        tensors |= {f"model/{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"average/{k}": v for k, v in self._average.items()}
        for name, parameter in self.model.named_parameters():
            for key, value in self._adam.state.get(parameter, {}).items():
                tensors[f"adam/{key}/{name}"] = value
        header = {"step": str(self.step), "curve": json.dumps(self.curve), "extra": json.dumps(extra or {})}
        header["optimisation"] = json.dumps(asdict(self.optimisation))
        partial = path.with_suffix(".partial")
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}, partial, header)
        partial.replace(path)

    @staticmethod
    def steps_done(path: Path) -> int:
        """Return how many steps a saved run has done."""
        with safe_open(str(path), framework="pt") as file:
            return int(file.metadata()["step"])

    @staticmethod
    def saved_extra(path: Path) -> dict[str, Any]:
        """Return the `extra` of a saved run."""
        with safe_open(str(path), framework="pt") as file:
            extra: dict[str, Any] = json.loads(file.metadata()["extra"])
        return extra

    def restore(self, path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Take up a saved run, if wished for more steps than it was planned for; return its `extra` and `tensors`.

        `extra` gains `planned_steps`, the steps of the plan it was saved under. With more steps the learning rate
        goes on at the new plan's value for the step that was reached.

        Raises
        ------
        LanewiseError
            The checkpoint belongs to another optimisation, or to a longer one.
        """
        with safe_open(str(path), framework="pt") as file:
            header = file.metadata()
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
        planned = json.loads(header["optimisation"])
        asked = asdict(self.optimisation)
        if planned["steps"] > asked["steps"] or planned | {"steps": 0} != asked | {"steps": 0}:
            raise LanewiseError(
                f"{path}: checkpoint of another training plan ({header['optimisation']}); "
                "give the same options (--steps may grow) or another output file"
            )
        device = device_of(self.model)
        self.model.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model/")})
        self._average = {k[8:]: v.to(device) for k, v in tensors.items() if k.startswith("average/")}
        for name, parameter in self.model.named_parameters():
            state = {
                k.split("/")[1]: v for k, v in tensors.items() if k.startswith("adam/") and k.split("/", 2)[2] == name
            }
            if state:
                self._adam.state[parameter] = {k: v.to(device) for k, v in state.items()}
        self.step = int(header["step"])
        self.curve = [(int(s), float(b)) for s, b in json.loads(header["curve"])]
        extra: dict[str, Any] = json.loads(header["extra"]) | {"planned_steps": planned["steps"]}
        return extra, {k[6:]: v.to(device) for k, v in tensors.items() if k.startswith("extra/")}
