"""`@audit_hook`: says that a function is a hook, where no registration tells."""

from __future__ import annotations

from collections.abc import Callable
from types import CodeType
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

# Code of the marked functions by its id; the runtime check looks here.
MARKED: dict[int, CodeType] = {}


def audit_hook(function: F) -> F:
    """Mark `function` as a hook for the linter and for the runtime check, and return it unchanged."""
    inner: Any = function
    while (wrapped := getattr(inner, "__wrapped__", None)) is not None:
        inner = wrapped
    code = getattr(getattr(inner, "__func__", inner), "__code__", None)
    if isinstance(code, CodeType):
        MARKED[id(code)] = code
    return function
