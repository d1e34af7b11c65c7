"""Replacing attributes of torch while syncs are counted, and putting them back."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import Any


class Patches:
    """Replaced attributes; closing `undo` puts each one back: the same object where its owner held it itself.

    What somebody else has replaced in the meantime stays as they left it.
    """

    def __init__(self, undo: contextlib.ExitStack) -> None:
        self._undo = undo

    def replace(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        """Set `owner.name` to `make(original)`, dressed as the original; nothing happens where there is none."""
        original = getattr(owner, name, None)
        if original is None:
            return
        before = vars(owner).get(name)
        new = make(original)
        if callable(new) and not isinstance(new, type):
            functools.update_wrapper(getattr(new, "__func__", new), original)
        setattr(owner, name, new)
        self._undo.callback(_restore, owner, name, before, new)


def _restore(owner: Any, name: str, before: Any, new: Any) -> None:
    if vars(owner).get(name) is not new:
        return
    if before is None:
        delattr(owner, name)
    else:
        setattr(owner, name, before)
