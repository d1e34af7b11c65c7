"""The recorder: backends say that the host waited, and it notes where, in which hook and on behalf of what call."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import CodeType, FrameType
from typing import Any, NamedTuple

import torch

from auditlint.runtime import policy
from auditlint.runtime.frames import Frames, folder_of
from auditlint.runtime.hooks import Hooks
from auditlint.runtime.modules import Namer, Reference
from auditlint.runtime.progress import Standing
from auditlint.runtime.report import RuntimeHook

# Packages whose frames work on behalf of those that call them: what they read is read by the user's line.
_MACHINERY = ("torch", "numpy", "auditlint", "_pytest", "pluggy", "loguru", "rich", "tqdm")

# "Thread-12 (work)", "ThreadPoolExecutor-0_3", "Dummy-7".
_NUMBERED = re.compile(r"^(Thread|ThreadPoolExecutor|Dummy)-[\d_]+( \(.*\))?$")


class Event(NamedTuple):
    """What events have in common that are counted as one: the instruction, what waited, where, for what and why.

    `code` is the id of the code object, 0 for none, which the tally holds; `module` is a number of the watch's.
    """

    code: int
    offset: int
    op: str
    kind: str
    implicit: bool
    thread: str
    hook: RuntimeHook | None
    module: int
    allowed: str | None


class Tally:
    """How often: calls of the user, waits of the device under them, and microseconds waited (if anybody measured)."""

    __slots__ = ("code", "count", "module", "raw", "waited")

    def __init__(self, code: CodeType | None = None, module: Reference | None = None) -> None:
        self.code = code
        self.module = module
        self.count = 0
        self.raw = 0
        self.waited: float | None = None

    def add(self, count: int, raw: int, waited: float | None) -> None:
        """Add so many calls, waits and microseconds."""
        self.count += count
        self.raw += raw
        if waited is not None:
            self.waited = (self.waited or 0.0) + waited


class Recording:
    """What was counted since it began."""

    def __init__(self) -> None:
        self.tallies: dict[Event, Tally] = {}

    def clear(self) -> None:
        """Begin anew."""
        self.tallies.clear()


class _Call:
    """A call that is under way and may wait; `told` are microseconds that the backend itself knows of."""

    __slots__ = ("kind", "op", "raw", "told")

    def __init__(self, op: str, kind: str) -> None:
        self.op = op
        self.kind = kind
        self.raw = 0
        self.told: float | None = None


class _Local(threading.local):
    def __init__(self) -> None:
        self.call: _Call | None = None
        self.muted = 0
        self.standing: Standing[list[Tally]] = Standing()


class Watch:
    """The recorder of the process. Backends call `read`, `entry` and `muted`; the rest is for `counting`.

    With `measures_time`, the time that the host spends inside a call that waited counts as waiting.
    """

    def __init__(self) -> None:
        self.frames = Frames(_machinery())
        self.hooks = Hooks(self.frames)
        self.recordings: tuple[Recording, ...] = ()
        self.measures_time = False
        self._local = _Local()
        # A signal's handler, or a finaliser, may sync while its own thread holds it.
        self._lock = threading.RLock()
        # id of a module -> the module, and its number: ids are used again.
        self._numbers = itertools.count(1)
        self._modules: dict[int, tuple[Reference, int]] = {}
        self._namer = Namer()

    def read(self, kind: str, op: str, *, waited_us: float | None = None) -> None:
        """The device was waited for, just now, on this thread.

        `op` is one of the facts' operations or a kernel ("aten::nonzero"). `kind` may be "" where the expression in
        the user's code shall decide.
        """
        local = self._local
        if local.muted:
            return
        call = local.call
        if call is not None:
            call.raw += 1
            call.kind = call.kind or kind
            if waited_us is not None:
                call.told = (call.told or 0.0) + waited_us
            return
        self._note(sys._getframe(1), op, kind, True, 1, waited_us)

    @property
    def is_muted(self) -> bool:
        """Whether reads on this thread are no syncs at the moment."""
        return self._local.muted > 0

    @contextlib.contextmanager
    def muted(self) -> Iterator[None]:
        """Within the block, reads on this thread are no syncs: they are of host data."""
        self._local.muted += 1
        try:
            yield
        finally:
            self._local.muted -= 1

    def entry(self, function: Callable[..., Any], op: str, kind: str = "", implicit: bool = False) -> Any:
        """`function` as a call that may wait: what is read under it is one event with this `op`.

        `implicit` says that Python calls it on behalf of an expression (`Tensor.__bool__`).
        """
        local, is_user, hands_on = self._local, self.frames.is_user, self.frames.hands_on

        def entered(*args: Any, **kwargs: Any) -> Any:
            outer = local.call
            caller = sys._getframe(1)
            if outer is not None and (not is_user(caller.f_code) or hands_on(caller)):
                return function(*args, **kwargs)
            call = local.call = _Call(op, kind)
            start = time.perf_counter() if self.measures_time else 0.0
            try:
                return function(*args, **kwargs)
            finally:
                local.call = outer
                if call.raw:
                    self._finish(call, caller, implicit or not is_user(caller.f_code), start)

        return entered

    def _finish(self, call: _Call, caller: FrameType, implicit: bool, start: float) -> None:
        waited = call.told
        if waited is None and self.measures_time:
            waited = (time.perf_counter() - start) * 1e6
        self._note(caller, call.op, call.kind, implicit, call.raw, waited)

    def _note(self, frame: FrameType, op: str, kind: str, implicit: bool, raw: int, waited: float | None) -> None:
        recordings = self.recordings
        if not recordings:
            return
        rules = policy.current()
        user = self.frames.innermost(frame)
        standing = self._local.standing
        if user is None:
            if self.frames.ignores(frame):
                return
        elif implicit and (tallies := standing.get(user)) is not None:
            with self._lock:
                for tally in tallies:
                    tally.add(0, raw, waited)
            return
        code, offset = (user.f_code, user.f_lasti) if user is not None else (None, 0)
        hook, module = self.hooks.running(user or frame) or (None, None)
        with self._lock:
            reference, number = self._numbered(module)
            event = Event(id(code) if code else 0, offset, op, kind, implicit, _thread(), hook, number, rules.allowed)
            tallies = []
            for recording in recordings:
                if event not in recording.tallies:
                    recording.tallies[event] = Tally(code, reference)
                recording.tallies[event].add(1, raw, waited)
                tallies.append(recording.tallies[event])
        if rules.forbidden and rules.allowed is None:
            raise policy.SyncForbiddenError(_forbidden(event, code))
        if implicit and user is not None:
            standing.put(user, tallies)

    def _numbered(self, module: torch.nn.Module | None) -> tuple[Reference | None, int]:
        """A reference to `module`, and a number that no other module has had; 0 for none."""
        if module is None:
            return None, 0
        known = self._modules.get(id(module))
        if known is None or known[0]() is not module:
            known = self._modules[id(module)] = self._namer.meet(module), next(self._numbers)
        return known

    def begin_again(self) -> None:
        """In a process that has just been forked: forget what was counted before, and locks that others held."""
        self._lock = threading.RLock()
        self._local.call = None
        self._local.muted = 0
        self._local.standing.clear()
        for recording in self.recordings:
            recording.tallies = {}

    def forget_thread(self) -> None:
        """Leave nothing of this thread's traces behind."""
        self._local.standing.clear()


def _machinery() -> set[str]:
    """The folders of packages whose frames work on behalf of the user's."""
    found = set()
    for package in _MACHINERY:
        try:
            spec = importlib.util.find_spec(package)
        except (ImportError, ValueError):  # something that only poses as the package
            continue
        if spec is not None and isinstance(spec.origin, str):
            found |= {folder_of(spec.origin), folder_of(os.path.realpath(spec.origin))}
    return found


def _thread() -> str:
    """The name of the running thread, without the number that Python gives to those that nobody has named."""
    return _NUMBERED.sub(r"\1\2", threading.current_thread().name)


def _forbidden(event: Event, code: CodeType | None) -> str:
    from auditlint.runtime.positions import place

    at = place(code, event.offset, event.op, event.kind, event.implicit)
    where = f"{code.co_filename}:{at.row}:{at.column}" if code is not None else "no user code"
    within = f" in hook {event.hook.name}" if event.hook else ""
    return f"{at.op} waits for the device at {where}{within}, where syncs are forbidden"
