"""The bytes that a device sends to the host, as torch's operators tell of them."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

_aten = torch.ops.aten
_ELEMENT = _aten._local_scalar_dense.default
_COPIES = (_aten._to_copy.default, _aten.copy_.default)


class Transfers(TorchDispatchMode):
    """Adds up, in `to_host`, the bytes that are copied from a device to the host in the block, on this thread.

    What `.item()`, `.tolist()`, `.cpu()`, `.to(...)` and `copy_` bring over is seen, and whatever is made of them. What
    a kernel brings over by itself, such as the size of a `nonzero`, is not. On a machine without a device nothing is
    sent.
    """

    def __init__(self) -> None:
        super().__init__()
        self.to_host = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is _ELEMENT and args[0].device.type != "cpu":
            self.to_host += args[0].element_size()
        elif func in _COPIES and result.device.type == "cpu" and any(_on_device(value) for value in args[:2]):
            self.to_host += result.nbytes
        return result


def _on_device(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.device.type not in ("cpu", "meta")
