"""One captured tensor, and the queue of all that were captured in this process and not read yet."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any
from weakref import ref

import torch

SWEPT = 1 << 12  # length of the queue at which it is searched for captures that are gone


class Failed:
    """Why a capture has no value."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


class Capture:
    """A tensor until it is read, then the value that it stands for.

    `_held` is the tensor, or what carries it to the host (`auditlint.defer.pending.Flight`), or why it `Failed`; None
    once the value is there. The queue refers to it weakly: what nobody holds any more is not read.
    """

    __slots__ = ("__weakref__", "_form", "_held", "_stream", "_value")

    _value: Any  # set before `_held` becomes None

    def __init__(self, tensor: torch.Tensor, form: str, stream: Any) -> None:
        self._held: Any = tensor
        self._form = form
        self._stream = stream
        # Here and not in a function: this is most of what a capture costs beside torch's own work.
        queue.append(ref(self))
        if len(queue) > _limit:
            _sweep()


queue: deque[ref[Capture]] = deque()  # appended to without a lock
_limit = SWEPT
_sweeping = threading.Lock()


def waiting(capture: Capture | None) -> bool:
    """Whether a capture is there and still a tensor."""
    return capture is not None and isinstance(capture._held, torch.Tensor)


def taken() -> list[Capture]:
    """Take the captures in the queue; those captured meanwhile stay for the next time."""
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
    """Put those into the queue that are still tensors."""
    queue.extend(ref(capture) for capture in captures if waiting(capture))


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
