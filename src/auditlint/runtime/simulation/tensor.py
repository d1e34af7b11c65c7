"""A tensor of the simulated device: its values lie in a host tensor that only the device's kernels may touch."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any

import torch

NAME = "sim"
_internals: Any = torch  # what torch's types do not declare

# Python methods that torch's own implementation refuses or gets wrong for a wrapper subclass: who patches
# torch.Tensor's methods of these names has to patch `SimTensor`'s as well.
OVERRIDDEN = ("numpy", "tolist", "__format__", "__reduce_ex__", "__setitem__")

_BY_MASK = (torch.bool, torch.uint8)


class SimTensor(torch.Tensor):  # type: ignore[misc, unused-ignore]
    """Wraps `host`, which holds the values; size, strides and dtype are the host tensor's, the device is "sim:0"."""

    _host: torch.Tensor

    @staticmethod
    def __new__(cls, host: torch.Tensor, requires_grad: bool = False) -> SimTensor:
        strided = host.layout is torch.strided
        if strided and (host.is_conj() or host.is_neg()):
            # Kernels of the host, called from beneath the dispatcher's keys for this, would not see what is put off.
            host = host.resolve_conj().resolve_neg()
        self: SimTensor = _internals.Tensor._make_wrapper_subclass(
            cls,
            host.size(),
            strides=host.stride() if strided else None,
            storage_offset=host.storage_offset() if strided else None,
            dtype=host.dtype,
            layout=host.layout,
            device=torch.device(NAME, 0),
            requires_grad=requires_grad,
        )
        self._host = host
        return self

    def __init__(self, host: torch.Tensor, requires_grad: bool = False) -> None:
        super().__init__()

    # Results of torch functions are made by the kernels below; nothing is left to wrap in Python.
    __torch_function__ = _internals._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        from auditlint.runtime.simulation.kernels import execute

        return execute(func, args, kwargs or {})

    # The protocol by which torch (Module.to, torch.compile) takes a wrapper apart and puts it together.
    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["_host"], None

    @staticmethod
    def __tensor_unflatten__(inner: dict[str, Any], meta: None, size: Any, stride: Any) -> SimTensor:
        return SimTensor(inner["_host"])

    @property
    def data(self) -> Any:
        """As `torch.Tensor.data`; assigning swaps the values as well, which torch cannot see in a wrapper."""
        return _internals.Tensor.data.__get__(self)

    @data.setter
    def data(self, value: Any) -> None:
        _internals.Tensor.data.__set__(self, value)
        self._host = value._host

    def numpy(self, *, force: bool = False) -> Any:
        """As `torch.Tensor.numpy`: TypeError for a tensor on a device, unless `force` copies it."""
        if force:
            return self.detach().cpu().resolve_conj().resolve_neg().numpy()
        raise TypeError(
            f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host "
            "memory first."
        )

    def tolist(self) -> Any:
        """As `torch.Tensor.tolist`, which copies a device tensor to the host first."""
        return self.detach().cpu().tolist()

    def __format__(self, spec: str) -> str:
        # torch's own formats a tensor without dimensions as a number only when its type is exactly torch.Tensor.
        if self.dim() == 0 and not self.is_meta:
            return format(self.detach().item(), spec)
        return object.__format__(self, spec)

    def __copy__(self) -> SimTensor:
        # torch copies a device tensor by way of `__reduce_ex__`, which shares the memory.
        copied = SimTensor(self._host, self.requires_grad)
        copied.__dict__.update(self.__dict__)
        return copied

    def __reduce_ex__(self, protocol: Any) -> Any:
        # What torch itself does for a device whose tensors have no storage of their own.
        state = _internals._utils._get_obj_state(self)
        state = {name: value for name, value in state.items() if name != "_host"} if isinstance(state, dict) else state
        host = torch.Tensor.cpu(self.detach())
        rebuild = _internals._utils._rebuild_device_tensor_from_cpu_tensor
        arguments = (host, self.dtype, str(self.device), self.requires_grad)
        return (restored, (rebuild, arguments, state)) if state else (rebuild, arguments)

    def __setitem__(self, index: Any, value: Any) -> None:
        # As on CUDA, a number written through a mask stays on the host and becomes a masked fill, which does not wait;
        # for any other device torch makes a device tensor of it.
        if isinstance(value, numbers.Number) and any(by_mask(part) for part in parts(index)):
            value = _internals.scalar_tensor(value, dtype=self.dtype, device="cpu")
        torch.Tensor.__setitem__(self, index, value)


# torch prints the class name of a subclass where it prints "tensor" for its own.
SimTensor.__name__ = "tensor"


def restored(rebuild: Any, arguments: tuple[Any, ...], state: dict[str, Any]) -> Any:
    """An unpickled tensor with the attributes that a program had given it."""
    tensor = rebuild(*arguments)
    vars(tensor).update(state)
    return tensor


def parts(index: Any) -> Sequence[Any]:
    """The single indices of what stands in the brackets."""
    return index if isinstance(index, tuple) else (index,)


def by_mask(index: Any) -> bool:
    """Whether an index is a mask, whose true elements have to be counted."""
    return isinstance(index, torch.Tensor) and index.dtype in _BY_MASK


def unwrap(value: Any) -> Any:
    """`value` with each simulated tensor, also in lists and tuples, replaced by the host tensor that holds it."""
    if isinstance(value, SimTensor):
        return value._host
    if isinstance(value, (list, tuple)):
        return type(value)(unwrap(item) for item in value)
    return value


def wrap(value: Any) -> Any:
    """`value` with each host tensor, also in lists and tuples, on the simulated device."""
    if isinstance(value, torch.Tensor):
        return value if isinstance(value, SimTensor) else SimTensor(value)
    if isinstance(value, (list, tuple)):
        return type(value)(wrap(item) for item in value)
    return value


def tensors(*values: Any) -> list[torch.Tensor]:
    """All tensors among `values` and in their lists, tuples and dicts."""
    found: list[torch.Tensor] = []
    for value in values:
        if isinstance(value, torch.Tensor):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            found += tensors(*value)
        elif isinstance(value, dict):
            found += tensors(*value.values())
    return found
