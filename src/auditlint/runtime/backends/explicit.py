"""Calls by which a program tells the host to wait: each is one sync, named after the call."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from auditlint.runtime.patches import Patches
from auditlint.runtime.watch import Watch


def watch_calls(
    watch: Watch, patches: Patches, calls: tuple[tuple[Any, str, str], ...], seen: Callable[[], int] = lambda: 0
) -> None:
    """Count the calls of `owner.name` as waits named `op`, for each `(owner, name, op)`; what is missing is left out.

    `seen` is the number of waits that the backend has reported on this thread so far: where the call made it grow,
    these waits are the call's, otherwise it counts as one.
    """
    for owner, name, op in calls:
        patches.replace(owner, name, functools.partial(_telling, op=op, watch=watch, seen=seen))


def _telling(original: Any, op: str, watch: Watch, seen: Callable[[], int]) -> Any:
    def told(*args: Any, **kwargs: Any) -> Any:
        before = seen()
        result = original(*args, **kwargs)
        if seen() == before:
            watch.read("synchronize", op)
        return result

    return watch.entry(told, op, "synchronize")
