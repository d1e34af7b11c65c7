"""A value that is not there yet, and the queue of all those in this process."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from weakref import ref

import torch

SWEPT = 1 << 12  # length of the queue at which it is searched for captures that are gone


class Failed:
    """Why a capture has no value."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


class Formula:
    """How a value is computed on the host, once the captures that it needs have theirs."""

    __slots__ = ("compute", "needed", "running")

    def __init__(self, compute: Callable[[], Any], needed: Sequence[Capture]) -> None:
        self.compute = compute
        self.needed = needed
        self.running = False


class Capture:
    """A tensor until it is read, then the value that it stands for; or a value that is computed from such.

    `_held` is the tensor, or what carries it to the host (`auditlint.defer.pending.Flight`), or a `Formula`, or why it
    `Failed`; None once the value is there. The queue refers to it weakly: what nobody holds any more is not read.

    Made by `captured`; the constructor is that of a number.
    """

    __slots__ = ("__weakref__", "_form", "_held", "_stream", "_value")

    _held: Any
    _form: str
    _stream: Any
    _value: Any  # set before `_held` becomes None

    def __init__(self, value: Any) -> None:
        # As the types of numbers are called: `statistics.mean` calls the type of its data with a Fraction.
        self._value = value if isinstance(value, (int, float, complex)) else float(value)
        self._form = "item"
        self._stream = self._held = None


Kind = TypeVar("Kind", bound=Capture)
queue: deque[ref[Capture]] = deque()  # appended to without a lock
_limit = SWEPT
_sweeping = threading.Lock()


def captured(kind: type[Kind], held: Any, form: str, stream: Any = None, *, new: Any = object.__new__) -> Kind:
    """A new capture, in the queue. By far cheaper than a constructor, and called for each capture."""
    capture: Kind = new(kind)
    capture._held = held
    capture._form = form
    capture._stream = stream
    queue.append(ref(capture))
    if len(queue) > _limit:
        _sweep()
    return capture


def waiting(capture: Capture | None) -> bool:
    """Whether a capture is there and still a tensor or a formula."""
    return capture is not None and isinstance(capture._held, (torch.Tensor, Formula))


def taken() -> list[Capture]:
    """Take the captures in the queue; those captured meanwhile stay for the next time."""
    global _limit
    _limit = SWEPT
    captures = []
    for _ in range(len(queue)):
        try:
            capture = queue.popleft()()
        except IndexError:  # another thread sweeps
            break
        if capture is not None and waiting(capture):
            captures.append(capture)
    return captures


def put_back(captures: list[Capture]) -> None:
    """Put those that still wait into the queue, before all others: what a formula needs is older than itself."""
    queue.extendleft(ref(capture) for capture in reversed(captures) if waiting(capture))


def _sweep() -> None:
    global _limit
    if not _sweeping.acquire(blocking=False):  # another thread, or a finaliser that captures, is at it
        return
    try:
        put_back(taken())
        _limit = max(SWEPT, 2 * len(queue))
    finally:
        _sweeping.release()


def forget_sweep() -> None:
    """In a forked child, the thread that swept is gone."""
    global _sweeping
    _sweeping = threading.Lock()
