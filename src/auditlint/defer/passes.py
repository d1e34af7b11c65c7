"""Which forward pass is running: the token index of an audit log."""

from __future__ import annotations

import sys
import threading
from types import FrameType
from typing import Any

import torch

from auditlint.defer.compiling import outside_graph


class _Here(threading.local):
    """The pass that runs on this thread."""

    frame: FrameType | None = None
    depth = 0
    token: int | None = None
    handled: BaseException | None = None  # what was being handled when the pass began


class Passes:
    """Counts the forward passes of a model, from 0, over all threads.

    A pass inside a pass (a model that calls itself) is part of it. In manual mode only `advance` counts.
    """

    def __init__(self, manual: bool) -> None:
        self.manual = manual
        self.interrupted: list[int] = []
        self._lock = threading.Lock()
        self._next = 0
        self._here = _Here()

    def __deepcopy__(self, memo: dict[int, Any]) -> Passes:
        """Itself: passes of a copied model are counted here as well."""
        return self

    def attach(self, model: torch.nn.Module) -> list[Any]:
        """Count the passes of `model`; returns the handles of the hooks."""
        if self.manual:
            return []
        return [
            model.register_forward_pre_hook(self.begin, prepend=True),
            model.register_forward_hook(self.end, always_call=True),
        ]

    def advance(self) -> int:
        """Count one pass; returns its index."""
        with self._lock:
            token = self._next
            self._next += 1
        return token

    @property
    def count(self) -> int:
        """How many passes have begun."""
        return self._next

    @property
    def current(self) -> int | None:
        """The index of this thread's pass, None between passes; in manual mode of the last pass that was counted."""
        if self.manual:
            return self._next - 1 if self._next else None
        return self._here.token

    @outside_graph
    def begin(self, module: torch.nn.Module, args: Any) -> None:
        """Hook before the model's forward."""
        here, frame = self._here, sys._getframe(1)
        if here.frame is not None and _is_running(here.frame, frame):
            here.depth += 1
            return
        # An outer pass that does not run any more was left by an interrupt, for which torch calls no hook.
        here.frame, here.depth, here.handled = frame, 1, sys.exc_info()[1]
        here.token = self.advance()

    @outside_graph
    def end(self, module: torch.nn.Module, args: Any, output: Any) -> None:
        """Hook after the model's forward, also when it raises."""
        here = self._here
        here.depth -= 1
        if here.depth == 0 and here.token is not None:
            if sys.exc_info()[1] is not here.handled:
                self.interrupted.append(here.token)
            here.frame = here.handled = here.token = None


def _is_running(wanted: FrameType, frame: FrameType | None) -> bool:
    while frame is not None and frame is not wanted:
        frame = frame.f_back
    return frame is not None
