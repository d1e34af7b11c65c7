"""A program written for CUDA on the simulated device: wherever it names "cuda", it gets "sim".

By functions put in the place of torch's, for all threads alike, and taken away again by whoever owns the `Patches`.
What a program has fetched before (`from torch import zeros`) keeps its meaning. `torch.device` stays torch's own, so
`torch.device("cuda")` still exists; tensors live on "sim:0" and say so, except that `is_cuda` is True.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils import _device

from auditlint.runtime.patches import Patches
from auditlint.runtime.simulation import backward, cuda
from auditlint.runtime.simulation.foreign import FOREIGN, here
from auditlint.runtime.simulation.loading import load_here
from auditlint.runtime.simulation.pinned import is_pinned, pin
from auditlint.runtime.simulation.tensor import NAME, SimTensor

_TORCH = os.path.dirname(torch.__file__) + os.sep
# Parts of torch in which a factory without a device belongs to the model: `torch.set_default_device` reaches them all.
_OF_THE_MODEL = tuple(os.path.join(_TORCH, part, "") for part in ("nn", "distributions"))

_LIKE = ("empty_like", "zeros_like", "ones_like", "full_like", "rand_like", "randn_like", "randint_like")
_NEW = ("new_tensor", "new_zeros", "new_ones", "new_empty", "new_full", "new_empty_strided")


def remap(patches: Patches, default: bool = False) -> None:
    """Replace what names a device. With `default`, factories that name none create on the simulated device as well.

    That holds for calls from user code and from torch.nn, without a `generator`, as `torch.set_default_device` has it.
    """
    cuda.answer(patches)
    for owner, name, function in _factories():
        placed = default and function in _device._device_constructors()
        patches.replace(owner, name, functools.partial(_factory, default=placed))
    for name in _NEW:
        patches.replace(torch.Tensor, name, functools.partial(_factory, default=False))
    patches.replace(torch.Tensor, "to", _to)
    patches.replace(torch.Tensor, "cuda", _cuda)
    patches.replace(torch.Tensor, "pin_memory", _pin_memory)
    patches.replace(torch.Tensor, "is_pinned", lambda original: lambda self, *args, **kwargs: is_pinned(self))
    patches.replace(torch.Tensor, "record_stream", _record_stream)
    patches.replace(torch.Tensor, "data", _data)
    for owner in (torch.autograd, torch.autograd.graph):
        patches.replace(owner, "_engine_run_backward", backward.run)
    patches.replace(torch, "ctc_loss", _ctc_loss)
    patches.replace(SimTensor, "is_cuda", lambda original: property(lambda self: True))
    # Or a parameter that goes back to the host would become another object, and its optimizer lose it.
    patches.replace(torch.__future__, "_swap_module_params_on_conversion", lambda original: True)
    patches.replace(torch, "load", load_here)
    patches.replace(torch, "Generator", _generator)
    patches.replace(torch, "set_default_device", _first)
    patches.replace(_device.DeviceContext, "__init__", _second)
    patches.replace(torch.amp.autocast_mode.autocast, "__init__", _second)
    patches.replace(torch.amp.GradScaler, "__init__", _scaler)


def _factories() -> Iterator[tuple[Any, str, Any]]:
    wanted = set(_device._device_constructors()) | {getattr(torch, name) for name in _LIKE} | {torch.normal}
    for owner in (torch, torch.fft, torch.nested, torch.sparse):
        for name, value in list(vars(owner).items()):
            if callable(value) and not isinstance(value, type) and _hashable(value) and value in wanted:
                yield owner, name, value


def _hashable(value: Any) -> bool:
    return type(value).__hash__ is not None


def _factory(original: Any, default: bool) -> Any:
    def make(*args: Any, **kwargs: Any) -> Any:
        device = kwargs.get("device")
        if device is not None:
            kwargs["device"] = here(device)
        elif default and _is_free(kwargs) and _is_of_the_model(sys._getframe(1).f_code.co_filename):
            kwargs["device"] = torch.device(NAME, 0)
        if kwargs.get("pin_memory"):
            del kwargs["pin_memory"]
            return pin(original(*args, **kwargs))
        return original(*args, **kwargs)

    return make


def _is_free(kwargs: dict[str, Any]) -> bool:
    return kwargs.get("generator") is None and not kwargs.get("pin_memory")


@functools.cache
def _is_of_the_model(filename: str) -> bool:
    return not filename.startswith(_TORCH) or filename.startswith(_OF_THE_MODEL)


def _to(original: Any) -> Any:
    def to(self: Any, *args: Any, **kwargs: Any) -> Any:
        if args:
            args = (here(args[0]), *args[1:])
        if "device" in kwargs:
            kwargs["device"] = here(kwargs["device"])
        return original(self, *args, **kwargs)

    return to


def _cuda(original: Any) -> Any:
    def cuda(self: Any, device: Any = None, non_blocking: bool = False, **kwargs: Any) -> Any:
        return self.to(torch.device(NAME, 0), non_blocking=non_blocking, **kwargs)

    return cuda


def _pin_memory(original: Any) -> Any:
    def pin_memory(self: Any, device: Any = None) -> Any:
        if isinstance(self, SimTensor):
            return original(self)
        return self if is_pinned(self) else pin(self.detach().clone())

    return pin_memory


def _record_stream(original: Any) -> Any:
    def record_stream(self: Any, s: Any) -> None:
        if not isinstance(self, SimTensor):
            original(self, s)

    return record_stream


def _ctc_loss(original: Any) -> Any:
    # What torch does itself with the lengths, unless it sees that it has tensors of a subclass before it.
    def ctc_loss(
        log_probs: Any, targets: Any, input_lengths: Any, target_lengths: Any, *args: Any, **kwargs: Any
    ) -> Any:
        lengths = [it.tolist() if isinstance(it, torch.Tensor) else it for it in (input_lengths, target_lengths)]
        return original(log_probs, targets, *lengths, *args, **kwargs)

    return ctc_loss


def _data(original: Any) -> Any:
    def assign(self: Any, value: Any) -> None:
        if isinstance(value, SimTensor) and not isinstance(self, SimTensor):
            # CUDA lets a host tensor become a device tensor this way; here the two are different objects to torch.
            moved = value.detach().requires_grad_(self.requires_grad)
            if isinstance(self, torch.nn.Parameter):
                moved = torch.nn.Parameter(moved, self.requires_grad)
            torch.utils.swap_tensors(self, moved)
        else:
            original.__set__(self, value)

    return property(original.__get__, assign)


def _generator(original: Any) -> Any:
    class Meta(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, original)

        def __call__(cls, device: Any = "cpu") -> Any:
            # The device draws its numbers on the host.
            moved = here(device)
            return original("cpu" if torch.device(moved).type == NAME else moved)

    return Meta("Generator", (), {})


def _first(original: Any) -> Any:
    return lambda device: original(here(device))


def _second(original: Any) -> Callable[..., None]:
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        named = {name: _like(value) if name in ("device", "device_type") else value for name, value in kwargs.items()}
        original(self, *(_like(value) for value in args[:1]), *args[1:], **named)

    return __init__


def _like(device: Any) -> Any:
    """The device meant, as a type's name where a program gave a name."""
    moved = here(device)
    return moved.type if moved is not device and isinstance(device, str) else moved


def _scaler(original: Any) -> Callable[..., None]:
    def __init__(self: Any, device: str = "cuda", *args: Any, **kwargs: Any) -> None:
        original(self, NAME if device in FOREIGN else device, *args, **kwargs)

    return __init__
