"""`defer_call`: calls that need values run after the pass, in the order in which they were asked for."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch

from auditlint.defer.capture import Capture
from auditlint.defer.compiling import outside_graph
from auditlint.defer.deferred import defer
from auditlint.defer.pending import deliver_all
from auditlint.defer.snapshot import taken, values


class Call(NamedTuple):
    """A call to be made, its tensors captured."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


_calls: deque[Call] = deque()
_running = threading.RLock()  # calls run one after the other, whichever threads finalize


@outside_graph
def defer_call(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> None:
    """Call `function(*args, **kwargs)` after the pass: at the next `flush` or `finalize`, or when the process ends.

    Tensors among the arguments, and in their containers, are captured now, cloned. The function gets Python numbers for
    those without dimensions and host tensors for the others; for another form, pass `defer(tensor, as_=...)`.
    Containers (those that `auditlint.defer.derive` names) are copied now, everything else is passed as it is.

    Calls run one at a time, in the order in which they were deferred, on the thread that flushes. A call may defer
    further calls: they run in the same flush. Raises as `defer` does.
    """
    _calls.append(Call(function, *taken((args, kwargs), _capture)))


def _capture(tensor: torch.Tensor) -> Capture:
    return defer(tensor, "cpu") if tensor.dim() else defer(tensor)


@outside_graph
def flush() -> None:
    """Make values of all that is pending, in all threads, with one transfer a device; then run the deferred calls.

    A call that raises does not keep the others from running. Raises the device's error, or what the calls raised:
    one exception as it is, several as an ExceptionGroup. Python 3.10 has no such groups: there the first is raised, and
    each of the others is in its `__notes__` and is warned of.
    """
    errors: list[BaseException] = [*deliver_all()]
    raise_all([*errors, *run_calls()])


def run_calls() -> list[Exception]:
    """Run the deferred calls and return what they raised; within a deferred call, run nothing."""
    if _busy.here:
        return []
    errors: list[Exception] = []
    with _running:
        _busy.here = True
        try:
            while _calls:
                call = _calls.popleft()
                try:
                    args, kwargs = values((call.args, call.kwargs))
                    call.function(*args, **kwargs)
                except Exception as error:
                    errors.append(error)
        finally:
            _busy.here = False
    return errors


class _Busy(threading.local):
    here = False


_busy = _Busy()


def raise_all(errors: Sequence[BaseException]) -> None:
    """Raise what there is to raise, each error once."""
    found = list({id(error): error for error in errors}.values())
    if not found:
        return
    if len(found) == 1:
        raise found[0]
    if sys.version_info >= (3, 11):
        raise BaseExceptionGroup("several deferred reads or calls failed", found)  # noqa: F821
    first: Any = found[0]
    notes = [f"also failed: {error!r}" for error in found[1:]]
    first.__notes__ = [*getattr(first, "__notes__", []), *notes]
    for note in notes:
        warnings.warn(f"deferred call {note}", RuntimeWarning, stacklevel=3)
    raise first


def _at_exit() -> None:
    # Nothing that was asked for is dropped: what nobody finalized runs now.
    errors = run_calls()
    raise_all(errors)


def _forked() -> None:
    """In a child of a fork: the calls are the parent's, which makes them."""
    global _running
    _running = threading.RLock()
    _busy.here = False
    _calls.clear()


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
