"""Replacing attributes of torch while syncs are counted, and putting them back."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any

import torch


class Patches:
    """Replaced attributes; closing `undo` puts each one back: the same object where its owner held it itself.

    What somebody else has replaced in the meantime stays as they left it.
    """

    def __init__(self, undo: contextlib.ExitStack) -> None:
        self._undo = undo

    def replace(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        """Set `owner.name` to `make(original)`, dressed as the original; nothing happens where there is none."""
        original = getattr(owner, name, None)
        if original is None:
            return
        before = vars(owner).get(name)
        # A stand-in beneath another one is called without the way through it: callers count frames.
        new = make(original._function if isinstance(original, _StandIn) else original)
        if isinstance(owner, type) and issubclass(owner, torch.Tensor) and isinstance(new, FunctionType):
            new = _StandIn(new, original)
        elif callable(new) and not isinstance(new, type):
            functools.update_wrapper(getattr(new, "__func__", new), original)
        setattr(owner, name, new)
        self._undo.callback(_restore, owner, name, before, new)


class _StandIn:
    """A function in the place of a tensor's method, which equals it: a subclass's `__torch_function__` is given what
    stands there, and may look it up in a table that was made before."""

    def __init__(self, function: FunctionType, original: Any) -> None:
        functools.update_wrapper(self, original)
        self._function = function
        self._stands_for: Any = original._stands_for if isinstance(original, _StandIn) else original

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else MethodType(self._function, instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)

    def __eq__(self, other: object) -> bool:
        return bool(self._stands_for == (other._stands_for if isinstance(other, _StandIn) else other))

    def __hash__(self) -> int:
        return hash(self._stands_for)


def _restore(owner: Any, name: str, before: Any, new: Any) -> None:
    if vars(owner).get(name) is not new:
        return
    if before is None:
        delattr(owner, name)
    else:
        setattr(owner, name, before)
