"""The backward pass on a device: its thread, and the exceptions of hooks that run there.

On the way out of a node of the graph, torch (2.13) asks the device's guard for its type. The guard is written in
Python, and Python refuses to answer while an exception is set: the process would end. So the guard puts the exception
aside first, and whoever called backward gets it from there, instead of torch's complaint that one was lost.
"""

from __future__ import annotations

import contextlib
import ctypes
from typing import Any

import torch

_internals: Any = torch
# Whether torch has started a thread for the device; if not, backward has to run on the thread that calls it.
own_thread = True
_set_aside: list[BaseException] = []

# One call of a C function is all that is possible before the exception is gone; its arguments lie ready.
_FETCHED = tuple(ctypes.c_void_p() for _ in range(3))  # type, value and traceback
_PLACES = tuple(ctypes.byref(place) for place in _FETCHED)
_function = ctypes.PYFUNCTYPE(None)  # no types of arguments: checking them would be a call too many
_fetch = _function(("PyErr_Fetch", ctypes.pythonapi))
_normalize = _function(("PyErr_NormalizeException", ctypes.pythonapi))
_release = _function(("Py_DecRef", ctypes.pythonapi))


def guard() -> Any:
    """A guard for a device of which there is one."""
    own = _internals._C._autograd.DeviceType.PrivateUse1
    first, second, third = _PLACES

    class Guard(_internals._C._acc.DeviceGuard):  # type: ignore[misc, unused-ignore]
        def type_(
            self, fetch: Any = _fetch, first: Any = first, second: Any = second, third: Any = third, own: Any = own
        ) -> Any:
            fetch(first, second, third)
            if _FETCHED[0]:
                _keep()
            return own

    return Guard()


def _keep() -> None:
    """Turn what was fetched into an exception with its traceback, and keep it."""
    _normalize(*_PLACES)
    _, value, trace = (_owned(place) for place in _FETCHED)
    _set_aside.append(value.with_traceback(trace) if trace is not None else value)


def _owned(place: ctypes.c_void_p) -> Any:
    """The object at `place`, which held a reference to it that is given up."""
    if not place:
        return None
    held = ctypes.cast(place, ctypes.py_object)
    value = held.value
    place.value = None
    _release(ctypes.py_object(value))
    return value


def run(original: Any) -> Any:
    """torch's function that every backward pass goes through, with the exceptions that were put aside meanwhile."""

    def run_backward(*args: Any, **kwargs: Any) -> Any:
        try:
            with contextlib.nullcontext() if own_thread else torch.autograd.set_multithreading_enabled(False):
                return original(*args, **kwargs)
        except SystemError:  # an error without an exception
            if not _set_aside:
                raise
            found = _set_aside.pop()
            _set_aside.clear()
        raise found

    return run_backward
