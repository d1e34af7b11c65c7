"""Telling one user call that waits several times from several calls: has the user's frame moved on in between?

A call such as `print(a, b)` or `torch.linalg.inv(x)` waits more than once while the frame that made it stands still.
In a loop, the same instruction of the same frame waits again, and only its moving on in between tells the two apart.
After the first wait the frame is therefore traced until its next line (a jump backwards is a new line, too). Where
somebody else traces already (a debugger, a coverage tool), nothing can be told, and each wait is a call of its own.
"""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Standing(Generic[T]):
    """The frames of one thread that have not moved on since they waited, each with what was noted for it."""

    def __init__(self) -> None:
        self._frames: dict[FrameType, tuple[int, T]] = {}

    def get(self, frame: FrameType) -> T | None:
        """What was noted for the instruction at which `frame` stands; None if it is a new one."""
        noted = self._frames.get(frame)
        if noted is None or noted[0] != frame.f_lasti:
            return None
        return noted[1]

    def put(self, frame: FrameType, note: T) -> None:
        """Note something for the instruction at which `frame` stands, until the frame moves on."""
        tracer = sys.gettrace()
        if tracer is not None and tracer is not _look_away:
            return
        if frame.f_trace is not None and frame not in self._frames:
            return
        self._frames[frame] = (frame.f_lasti, note)
        frame.f_trace = self._moved
        if tracer is None:
            sys.settrace(_look_away)

    def clear(self) -> None:
        """Forget all frames, and trace no longer. To be called on the thread itself."""
        for frame in self._frames:
            if frame.f_trace == self._moved:
                frame.f_trace = None
        self._frames.clear()
        if sys.gettrace() is _look_away:
            sys.settrace(None)

    def _moved(self, frame: FrameType, event: str, argument: Any) -> None:
        frame.f_trace = None
        self._frames.pop(frame, None)
        if not self._frames and sys.gettrace() is _look_away:
            sys.settrace(None)


def _look_away(frame: FrameType, event: str, argument: Any) -> None:
    """The trace function while frames stand: new frames are none of our business."""
