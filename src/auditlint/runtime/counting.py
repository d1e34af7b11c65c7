"""Counting syncs while a block of code runs: installing a backend, checking that it sees, taking it out again."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

import torch

from auditlint.runtime import entries, policy, relocated
from auditlint.runtime.backends import Backend, Unavailable, choose
from auditlint.runtime.patches import Patches
from auditlint.runtime.report import SyncReport, Totals
from auditlint.runtime.summary import summary, totals
from auditlint.runtime.watch import Recording, Watch


class SyncCounter:
    """What has been counted in a block so far; it can be asked during the block and after it."""

    def __init__(self, recording: Recording, backend: Backend) -> None:
        self._recording = recording
        self._backend = backend
        self._folder = os.getcwd()

    def report(self) -> SyncReport:
        """Everything that was counted up to now."""
        return summary(self._recording, self._backend, self._folder)

    @property
    def totals(self) -> Totals:
        """Calls that synced in hooks and outside them, waits under them, and accepted calls."""
        return totals(self._recording, self._backend, self._folder)

    @property
    def in_hooks(self) -> int:
        """Calls that synced in hooks and that nobody accepted."""
        return self.totals.in_hooks

    def reset(self) -> None:
        """Begin anew."""
        self._recording.clear()


class _Installed:
    """The backend that counts in this process at the moment, and for how many blocks."""

    def __init__(self, backend: Backend, watch: Watch, undo: contextlib.ExitStack) -> None:
        self.backend = backend
        self.watch = watch
        self.undo = undo
        self.blocks = 0


_lock = threading.RLock()
_installed: list[_Installed] = []


@contextlib.contextmanager
def count_syncs(backend: str | Backend = "auto") -> Iterator[SyncCounter]:
    """Count the syncs of everything that runs in the block, on all threads.

    `backend` is "auto", "cuda", "mps", "cpu" or "simulated". Blocks may be nested; all count on one backend.

    Raises:
        Unavailable: the backend cannot count here, or does not see a sync that it is shown.
        ValueError: there is no such backend, or a block with another one is open.
    """
    recording = Recording()
    with _lock:
        installed = _enter(backend)
        installed.blocks += 1
        installed.watch.recordings += (recording,)
    try:
        yield SyncCounter(recording, installed.backend)
    finally:
        with _lock:
            watch = installed.watch
            watch.recordings = tuple(it for it in watch.recordings if it is not recording)
            installed.blocks -= 1
            if not installed.blocks:
                _installed.remove(installed)
                watch.forget_thread()
                installed.undo.close()


def current_watch() -> Watch | None:
    """The recorder that is installed at the moment, if one is."""
    return _installed[-1].watch if _installed else None


def allow_sync(reason: str) -> contextlib.AbstractContextManager[None]:
    """Accept the syncs of the block, for this reason: they are reported, and do not count against anybody.

    Raises:
        ValueError: no reason is given.
    """
    if not reason.strip():
        raise ValueError("allow_sync() wants a reason")
    return policy.holding(policy.Policy(allowed=reason))


@contextlib.contextmanager
def forbid_syncs(backend: str = "auto") -> Iterator[SyncCounter]:
    """Raise `SyncForbiddenError` where the block syncs, unless `allow_sync` accepts it there."""
    chosen = _installed[-1].backend if _installed else backend
    with count_syncs(chosen) as counter, policy.holding(policy.Policy(forbidden=True)):
        yield counter


def _enter(backend: str | Backend) -> _Installed:
    if _installed:
        wanted = backend if isinstance(backend, str) else backend.name
        there = _installed[-1]
        if wanted not in ("auto", there.backend.name):
            raise ValueError(f"syncs are being counted on the {there.backend.name} backend; {wanted} has to wait")
        return there
    chosen = choose(backend) if isinstance(backend, str) else backend
    installed = _Installed(chosen, Watch(), contextlib.ExitStack())
    try:
        _install(chosen, installed.watch, installed.undo)
        _check(chosen, installed.watch)
    except BaseException:
        installed.undo.close()
        raise
    _installed.append(installed)
    return installed


def _install(backend: Backend, watch: Watch, undo: contextlib.ExitStack) -> None:
    patches = Patches(undo)
    backend.install(watch, patches, undo)
    entries.install(watch, patches, (torch.Tensor, *backend.tensor_classes))
    relocated.install(watch.frames, patches)
    watch.hooks.watch_registrations(patches)
    watch.hooks.note_existing()
    _run_compiled_code_eagerly(patches, undo)


def _check(backend: Backend, watch: Watch) -> None:
    """Show the counter one sync: if it does not see that one, its silence means nothing."""
    planted = Recording()
    watch.recordings = (planted,)
    try:
        backend.plant()
    finally:
        watch.recordings = ()
        watch.forget_thread()  # or what the same line of the user's reads next would be taken for a part of this
    if not planted.tallies:
        raise Unavailable(f"the {backend.name} backend does not see a sync that was planted for it; nothing is counted")


def _run_compiled_code_eagerly(patches: Patches, undo: contextlib.ExitStack) -> None:
    """Let what `torch.compile` has compiled run uncompiled: compiled code has no lines to name, and drops copies."""
    stances: list[Any] = []
    over = False

    def force_eager() -> None:
        if not stances and not over:
            stances.append(torch.compiler.set_stance("force_eager"))

    def put_back() -> None:
        nonlocal over
        over = True  # somebody may still hold on to what `torch.compile` was
        while stances:
            stances.pop().__exit__(None, None, None)

    undo.callback(put_back)

    def make(original: Any) -> Any:
        def compile(*args: Any, **kwargs: Any) -> Any:
            force_eager()
            return original(*args, **kwargs)

        return compile

    patches.replace(torch, "compile", make)
    # Setting the stance imports the compiler, which takes seconds: only where it may be needed.
    if "torch._dynamo" in sys.modules:
        force_eager()
