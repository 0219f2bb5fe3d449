"""A second device without a GPU: tensors that say they are elsewhere, compute like those of the CPU, and do not mix.

What a GPU refuses is refused here: an operator between it and the CPU (but for copies, numbers, and indices of its own
tensors), `numpy()`. Kernels, capture and memory are not imitated.
"""

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from bench.models.mixture import _edges

NAME = "meta"
"""What the tensors say of themselves: a device that torch knows without having it."""
_COPIES = ("aten.copy_.", "aten._to_copy.")
_INDEXED = ("aten.index.Tensor", "aten.index_put", "aten._index_put_impl_", "aten._unsafe_index")
_READS = (Tensor.__bool__, Tensor.__int__, Tensor.__float__, Tensor.__index__, Tensor.tolist)


class MixedDevicesError(RuntimeError):
    """What torch says of tensors on two devices."""


class _There(Tensor):
    """A tensor of the second device; `here` has its numbers."""

    here: Tensor
    _is_param: bool = False
    """Whether torch is to take it for an `nn.Parameter`."""

    @staticmethod
    def __new__(cls, here: Tensor, requires_grad: bool = False) -> "_There":
        made: _There = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, here.size(), strides=here.stride(), storage_offset=here.storage_offset(), dtype=here.dtype,
            layout=here.layout, device=torch.device(NAME), requires_grad=requires_grad,
        )  # fmt: skip
        made.here = here
        return made

    def __deepcopy__(self, memo: dict[int, Any]) -> "_There":
        made = _There(self.here.clone(), self.requires_grad)
        made._is_param = self._is_param
        memo[id(self)] = made
        return made

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__self__", None) is Tensor.data and func.__name__ == "__set__":
            if not isinstance(args[1], _There):
                raise MixedDevicesError("data of a tensor elsewhere set to one of the CPU")
            args[0].here = args[1].here
            return None
        if getattr(func, "__self__", None) is Tensor.data:
            return args[0].detach()
        if func is Tensor.numpy:
            raise TypeError("can't convert a tensor of another device to numpy; use Tensor.cpu()")
        if func in _READS:
            return func(args[0].detach().here, *args[1:])
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _dispatch(func, args, kwargs or {})


def _dispatch(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
    there = [x for x in tensors if isinstance(x, _There)]
    _check(str(func), args, there, [x for x in tensors if not isinstance(x, _There) and x.dim() > 0])
    asked = None if kwargs.get("device") is None else torch.device(kwargs["device"]).type
    if asked == NAME:
        kwargs = kwargs | {"device": torch.device("cpu")}
    found = func(*tree_map(_here, args), **tree_map(_here, kwargs))
    goes_there = asked == NAME or (asked is None and bool(there))

    def back(x: Any) -> Any:
        if not isinstance(x, Tensor):
            return x
        same = [tensor for tensor in tensors if _here(tensor) is x]  # of an operator in place
        return same[0] if same else _There(x) if goes_there else x

    return args[0] if str(func).startswith("aten.copy_.") else tree_map(back, found)


def _check(name: str, args: Any, there: list[_There], here: list[Tensor]) -> None:
    if not there or not here or name.startswith(_COPIES):
        return
    values = args[2] if len(args) > 2 and isinstance(args[2], Tensor) else None
    values_fit = values is None or isinstance(values, _There) or values.dim() == 0
    if not (name.startswith(_INDEXED) and isinstance(args[0], _There) and values_fit):
        shapes = [tuple(x.shape) for x in here]
        raise MixedDevicesError(f"{name}: expected all tensors to be on the same device; of the CPU: {shapes}")


def _here(x: Any) -> Any:
    return x.here if isinstance(x, _There) else x


class _Factories(TorchDispatchMode):
    """Makes tensors elsewhere where the device is asked for by name."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        asked = kwargs.get("device") is not None and torch.device(kwargs["device"]).type == NAME
        if asked or any(isinstance(x, _There) for x in tree_leaves((args, kwargs))):
            return _dispatch(func, args, kwargs)
        return func(*args, **kwargs)


def send(model: nn.Module) -> nn.Module:
    """Move a model there, before anything holds its parameters."""
    for module in model.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is not None and not isinstance(parameter, _There):
                moved = _There(parameter.detach().clone(), parameter.requires_grad)
                moved._is_param = True
                module._parameters[name] = moved  # type: ignore[assignment]
        for name, buffer in list(module._buffers.items()):
            if buffer is not None and not isinstance(buffer, _There):
                module._buffers[name] = _There(buffer.detach().clone())
    return model


@contextlib.contextmanager
def second_device() -> Iterator[None]:
    """Have the device in here."""
    to, tensor = nn.Module.to, torch.tensor

    def module_to(self: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:
        device = args[0] if args else kwargs.get("device")
        return send(self) if device is not None and torch.device(device).type == NAME else to(self, *args, **kwargs)

    def made(data: Any, *args: Any, device: Any = None, **kwargs: Any) -> Tensor:
        found = tensor(data, *args, **kwargs)
        return _There(found) if device is not None and torch.device(device).type == NAME else found

    fused = "_get_fused_kernels_supported_devices"
    with contextlib.ExitStack() as patched:
        patched.enter_context(patch.object(nn.Module, "to", module_to))
        patched.enter_context(patch.object(torch, "tensor", made))
        for name in ("torch.optim.adam", "torch.optim.optimizer", "torch.utils._foreach_utils"):
            module = importlib.import_module(name)
            if hasattr(module, fused):
                patched.enter_context(patch.object(module, fused, lambda: ["cpu", "cuda", NAME]))
        patched.enter_context(_Factories())
        patched.callback(_edges.cache_clear)
        _edges.cache_clear()  # by name of the device, which torch's own meta tensors share
        yield
