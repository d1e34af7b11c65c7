"""How many bytes a kernel of the simulated device moves to and from the device's memory."""

from __future__ import annotations

from typing import Any

import torch

from auditlint.runtime.simulation.tensor import tensors

# Kernels that touch of one argument only what the indices name: as much as they return.
_LOOKUPS = frozenset(("embedding", "index", "index_select", "gather", "take", "_unsafe_index"))
# Kernels that write to places of a tensor: as much as they are given to write.
_WRITES_AT = {
    "index_copy_": 3,
    "index_add_": 3,
    "index_put_": 2,
    "_index_put_impl_": 2,
    "scatter_": 3,
    "scatter_add_": 3,
}


def moved(name: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> int:
    """Bytes that the operator reads and writes: each argument once, and each result once.

    Lookups and writes at indices move what is looked up or written, in and out, and not the whole tensor. This is the
    traffic of a kernel that is bound by memory and finds nothing in a cache (the roofline model's slanted part: S.
    Williams, A. Waterman, D. Patterson, Communications of the ACM 52(4), 2009).
    """
    if name in _LOOKUPS:
        return 2 * _nbytes(result)
    if name in _WRITES_AT:
        return 2 * _nbytes(args[_WRITES_AT[name] : _WRITES_AT[name] + 1])
    return _nbytes(args) + _nbytes(kwargs) + _nbytes(result)


def _nbytes(value: Any) -> int:
    # An expanded tensor repeats its elements and has to be read once.
    return sum(_distinct(tensor) for tensor in tensors(value))


def _distinct(tensor: torch.Tensor) -> int:
    if tensor.layout is not torch.strided:
        return 0
    count = int(tensor.element_size())
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        count *= size if stride else min(size, 1)
    return count
