"""Forward and backward pass of many arms as one program: what `bench.learn.stack` runs at every step.

The weights of the arms lie in stacked tensors (arms, ...), and each arm's own model, an ordinary one, has views of them
as parameters and as gradients. So whatever acts on one arm (clipping, Adam, regularizers, pruners, checkpoints) acts on
its slice of the stack, unchanged and unaware of it.
"""

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn, vmap
from torch.func import functional_call

from bench.learn.fit import device_of, exact
from bench.learn.task import StackedForm

_WARM_UP = 3
"""Runs before a capture: libraries and the autograd engine allocate what they keep on first use."""


class Program:
    """The loss of arms with models of equal sizes, and its gradients.

    On a GPU everything is captured in a CUDA graph at the first run and replayed from then on: some thousand operators
    are launched at once, and none waits for the host. Inputs are copied into buffers that stay where they are; nothing
    captured reads a number back or depends on one.

    Parameters
    ----------
    models
        One per arm, on one device; their parameters become views.
    form
        Of their task.
    capture
        Whether to capture; by default on a GPU.
    """

    def __init__(self, models: Sequence[nn.Module], form: StackedForm, capture: bool | None = None) -> None:
        self._models, self._form = list(models), form
        self._capture = device_of(models[0]).type == "cuda" if capture is None else capture
        self._graph: torch.cuda.CUDAGraph | None = None
        self._weights = {name: w.requires_grad_() for name, w in _stacked([m.named_parameters() for m in models])}
        self._buffers = dict(_stacked([m.named_buffers() for m in models]))
        self._gradients = {name: torch.zeros_like(w) for name, w in self._weights.items()}
        self._inputs: tuple[Tensor, ...] = ()
        self._losses = torch.zeros(len(models), device=device_of(models[0]))
        for arm, model in enumerate(models):
            for name, parameter in model.named_parameters():
                parameter.data = self._weights[name].detach()[arm]
                parameter.grad = self._gradients[name][arm]

    def feed(self, arm: int, batch: Sequence[Tensor]) -> None:
        """Give an arm its next batch."""
        if not self._inputs:
            device = self._losses.device
            self._inputs = tuple(
                x.to(device).expand(len(self._models), *x.shape).clone(memory_format=torch.contiguous_format)
                for x in batch
            )
        for mine, x in zip(self._inputs, batch, strict=True):
            mine[arm].copy_(x)

    def run(self) -> list[float]:
        """Leave every arm's gradients in its parameters; return the losses. The weights stay as they are."""
        if self._graph is not None:
            self._graph.replay()
        elif self._capture:
            self._record().replay()
        else:
            self._compute()
        losses: list[float] = self._losses.tolist()
        return losses

    def validate(self) -> list[float]:
        """Return the validation outcome of every arm."""
        with exact():
            return self._form.validate(self._models[0], self._weights | self._buffers)

    def release(self, arm: int) -> None:
        """Give an arm its weights for itself: the program's own no longer matter."""
        for parameter in self._models[arm].parameters():
            parameter.data, parameter.grad = parameter.data.clone(), None

    def _compute(self) -> None:
        def loss(weights: dict[str, Tensor], buffers: dict[str, Tensor], *batch: Tensor) -> Tensor:
            def call(*inputs: Tensor) -> Tensor:
                outputs: Tensor = functional_call(self._models[0], (weights, buffers), inputs)
                return outputs

            return self._form.loss(call, *batch)

        with exact():
            losses: Tensor = vmap(loss)(self._weights, self._buffers, *self._inputs)
            found = torch.autograd.grad(losses.sum(), list(self._weights.values()))
        for gradient, new in zip(self._gradients.values(), found, strict=True):
            gradient.copy_(new)
        self._losses.copy_(losses.detach())

    def _record(self) -> torch.cuda.CUDAGraph:
        """Capture `_compute`, after a warm-up on a stream of its own, as CUDA wants it."""
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UP):
                self._compute()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._compute()
        self._graph = graph
        return graph


def _stacked(tensors: Sequence[Iterable[tuple[str, Tensor]]]) -> Iterator[tuple[str, Tensor]]:
    """Yield (arms, ...) by name."""
    for arms in zip(*tensors, strict=True):
        yield arms[0][0], torch.stack([tensor.detach() for _, tensor in arms])
