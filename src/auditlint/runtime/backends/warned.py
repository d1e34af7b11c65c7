"""Hearing torch's warnings of one kind, whatever filters the program sets, without touching any other warning.

Python asks the entries of `warnings.filters` one after another, and an entry's pattern is any object with `match`.
An entry whose pattern listens, and whose action is "ignore", hears a warning before anything is printed, recorded or
noted in the once-per-location registries; its `match` runs on the thread and stack that warned, and may raise.
It must come first: `simplefilter("ignore")` puts another one before it, `catch_warnings` (and pytest, between the
phases of a test) puts old lists back. So the module's attribute `filters` becomes a property, which moves the entry to
the head of whatever list is there each time somebody looks; Python's C code looks anew for each warning.
"""

from __future__ import annotations

import contextlib
import re
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable
from typing import Any

NOTHING = "(?!)"
# Lists in which the entry had to be put: the program's own, and those that it has cleared. Where it were forgotten in
# one of the others it would do nothing.
REMEMBERED = 1000

CONTEXT_BLIND_SPOT = (
    "This Python keeps warning filters in contexts: what is warned of under the program's own `catch_warnings` may be "
    "lost."
)


class Listener:
    """Stands in a filter where the message's pattern would stand.

    `heard` gets the text of each warning that reaches the filters; True keeps the warning from going any further.
    """

    pattern = NOTHING

    def __init__(self, heard: Callable[[str], bool]) -> None:
        self.heard: Callable[[str], bool] | None = heard

    def match(self, text: str) -> bool:
        """Whether this warning goes no further."""
        return self.heard is not None and self.heard(text)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        # Libraries send their filters to worker processes; there, nobody listens.
        return re.compile, (NOTHING,)


def listen(heard: Callable[[str], bool], undo: contextlib.ExitStack) -> None:
    """Let `heard` hear each `UserWarning` first, until `undo` is closed. One listener at a time."""
    listener = Listener(heard)
    entry = ("ignore", listener, UserWarning, None, 0)
    changed: deque[list[Any]] = deque(maxlen=REMEMBERED)
    lock = threading.RLock()

    def look(module: Any) -> Any:
        filters = vars(module)["filters"]
        if isinstance(filters, list) and not (filters and filters[0] is entry):
            with lock:
                if not _move_to_head(filters, entry):
                    changed.append(filters)
        return filters

    def put(module: Any, filters: Any) -> None:
        vars(module)["filters"] = filters

    before = type(warnings)
    warnings.__class__ = type(
        before.__name__, (before,), {"__module__": before.__module__, "filters": property(look, put)}
    )

    def stop() -> None:
        listener.heard = None
        warnings.__class__ = before
        for filters in (*changed, vars(warnings)["filters"]):
            _remove(filters, entry)

    undo.callback(stop)
    look(warnings)
    # A location that has warned once under the default filter is not asked again until the filters change.
    mutated = getattr(warnings, "_filters_mutated", None)
    if mutated is not None:
        mutated()


def contexts_hide() -> bool:
    """Whether the program's own `catch_warnings` come first whatever is done (Python 3.14, free-threaded)."""
    return bool(getattr(sys.flags, "context_aware_warnings", False))


def _move_to_head(filters: list[Any], entry: Any) -> bool:
    """Put `entry` first; whether it was there already. At no time is it missing: another thread may be searching."""
    filters.insert(0, entry)
    for index in range(len(filters) - 1, 0, -1):
        if filters[index] is entry:
            del filters[index]
            return True
    return False


def _remove(filters: Any, entry: Any) -> None:
    if isinstance(filters, list):
        for index in range(len(filters) - 1, -1, -1):
            if filters[index] is entry:
                del filters[index]
