"""Copies between host and device that Python code asks for, for backends that do not see them by themselves.

A wrapper looks at where the data was and where it went, never at the arguments alone: `.to(dtype)`, `.to(device)` of a
tensor that is there already, and copies within the device are no business of the host.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch

from auditlint.runtime.patches import Patches
from auditlint.runtime.watch import Watch

# Given the tensor copied from, the tensor copied to, and whether the call said non_blocking=True: did the host wait?
Waits = Callable[[Any, Any, bool], bool]

METHODS = ("to", "cpu", "cuda")


def watch_copies(watch: Watch, patches: Patches, waits: Waits) -> None:
    """Report the copies of `Tensor.to`, `cpu`, `cuda`, `copy_` and `torch._foreach_copy_` for which `waits` says so."""
    for name in METHODS:
        patches.replace(torch.Tensor, name, functools.partial(_copying, op=f"Tensor.{name}", watch=watch, waits=waits))
    patches.replace(torch.Tensor, "copy_", functools.partial(_filling, watch=watch, waits=waits))
    patches.replace(torch, "_foreach_copy_", functools.partial(_filling_all, watch=watch, waits=waits))


def _copying(original: Any, op: str, watch: Watch, waits: Waits) -> Any:
    def copy(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        if result is not self:
            _report(watch, op, self, result, _asked(args, kwargs), waits)
        return result

    return copy


def _filling(original: Any, watch: Watch, waits: Waits) -> Any:
    def copy_(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        source = args[0] if args else kwargs.get("other")
        _report(watch, "Tensor.copy_", source, self, _asked(args, kwargs), waits)
        return result

    return copy_


def _filling_all(original: Any, watch: Watch, waits: Waits) -> Any:
    def foreach_copy_(self: Any, src: Any, non_blocking: bool = False) -> Any:
        result = original(self, src, non_blocking)
        for target, source in zip(self, src, strict=False):
            _report(watch, "torch._foreach_copy_", source, target, non_blocking, waits)
        return result

    return watch.entry(foreach_copy_, "torch._foreach_copy_")


def _asked(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether the call said non_blocking: in every overload it is the first boolean among the positions."""
    return bool(kwargs.get("non_blocking", next((it for it in args if isinstance(it, bool)), False)))


def _report(watch: Watch, op: str, source: Any, target: Any, non_blocking: bool, waits: Waits) -> None:
    if not isinstance(source, torch.Tensor) or not isinstance(target, torch.Tensor):
        return
    if source.device.type == target.device.type or torch.compiler.is_compiling():
        return
    # A fake tensor has a device and no data on it.
    if waits(source, target, non_blocking) and getattr(source, "fake_mode", None) is None:
        watch.read("cpu" if target.device.type == "cpu" else "h2d", op)
