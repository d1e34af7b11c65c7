"""Host memory that counts as pinned: a device writes to it without the host's help, so nobody has to wait.

A machine without an accelerator cannot pin memory, so this is a note on ordinary memory.
"""

from __future__ import annotations

import weakref

import torch

_PINNED: dict[int, weakref.ref[torch.UntypedStorage]] = {}  # by address of the storage object


def pin(tensor: torch.Tensor) -> torch.Tensor:
    """Note that the memory of a host tensor is pinned; returns the tensor."""
    storage = tensor.untyped_storage()
    key = storage._cdata
    _PINNED[key] = weakref.ref(storage, lambda gone: _PINNED.pop(key, None) and None)
    return tensor


def is_pinned(tensor: torch.Tensor) -> bool:
    """Whether the memory of a host tensor, or of what it is a view of, was noted as pinned."""
    if not _PINNED or tensor.layout is not torch.strided:
        return False
    noted = _PINNED.get(tensor.untyped_storage()._cdata)
    return noted is not None and noted() is not None
