"""`derive`: a value that is computed on the host from values that are still on a device."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch

from auditlint.defer.capture import Capture, Formula, captured
from auditlint.defer.compiling import outside_graph
from auditlint.defer.deferred import Deferred, DeferredArray, defer
from auditlint.defer.pending import read
from auditlint.defer.snapshot import taken, values

# Passed as they are, without a look into them: the usual arguments beside reads.
_PLAIN = frozenset((int, float, bool, str, type(None)))


class Derived(DeferredArray):
    """A Deferred that stands for what a function returns: a number, a string, a list, anything."""

    __slots__ = ()

    def _copied(self, function: Callable[[Any], Any]) -> Any:
        return function(self._value) if self._held is None else derive(function, self)


@outside_graph
def derive(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Deferred:
    """A `Deferred` that stands for `function(*args, **kwargs)`, called on the host once the arguments have values.

    Tensors among the arguments, and in their containers, are captured now, cloned: the function gets Python numbers for
    those without dimensions and host tensors for the others. Each `Deferred` among them, derived ones included, is
    there as its value. Containers are copied now: lists, dicts, tuples, sets, deques, byte arrays, numpy's arrays, the
    classes `UserList`, `UserDict` and `ChainMap`, and dataclasses and namespaces that hold tensors. Everything else is
    passed as it is.

    The function runs once, without gradients: at the next flush, finalize or read of any value that was not read yet,
    on the thread that does it, if anybody still holds what it stands for. It must not wait for other threads. What it
    raises is raised by each read of this value; other values are not affected, but for those derived from it.
    If it returns a `Deferred`, that one's value is meant; anything else is the value as it is.

    Raises as `defer` does.
    """
    needed: list[Capture] = []
    if not kwargs and _simple(args, needed):
        compute = functools.partial(_of_few, function, args)
    else:
        needed = []
        compute = functools.partial(_of_any, function, *taken((args, kwargs), _capture, needed.append))
    return captured(Derived, Formula(compute, needed), "item")


def _simple(args: tuple[Any, ...], needed: list[Capture]) -> bool:
    """Whether arguments are values and captures only, which need no copying; `needed` gets the captures."""
    for arg in args:
        if isinstance(arg, Capture):
            needed.append(arg)
        elif type(arg) not in _PLAIN:
            return False
    return True


def _capture(tensor: torch.Tensor) -> Capture:
    return defer(tensor, "cpu") if tensor.dim() else defer(tensor)


def _of_few(function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    return _result(function(*[read(arg) if isinstance(arg, Capture) else arg for arg in args]))


def _of_any(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    args, kwargs = values((args, kwargs))
    return _result(function(*args, **kwargs))


def _result(value: Any) -> Any:
    return read(value) if isinstance(value, Capture) else value
