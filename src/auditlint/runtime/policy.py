"""Syncs that the running code accepts (`allow_sync`) or forbids (`forbid_syncs`)."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from typing import NamedTuple


class SyncForbiddenError(RuntimeError):
    """A sync happened under `forbid_syncs()`; the message says where and how."""


class Policy(NamedTuple):
    """`allowed` is the reason for which syncs are accepted, None where they are not."""

    allowed: str | None = None
    forbidden: bool = False


_NONE = Policy()
_current: ContextVar[Policy] = ContextVar("auditlint_policy", default=_NONE)
# What holds on threads that Python did not start: the autograd engine's have no context of their own.
_latest: list[Policy] = []


def current() -> Policy:
    """What holds here and now."""
    policy = _current.get()
    if policy is _NONE and _latest and isinstance(threading.current_thread(), threading._DummyThread):
        return _latest[-1]
    return policy


@contextlib.contextmanager
def holding(policy: Policy) -> Iterator[None]:
    """Let `policy` hold in the block, on this thread and in the backward passes that it starts."""
    token = _current.set(policy)
    _latest.append(policy)
    try:
        yield
    finally:
        _latest.remove(policy)
        _current.reset(token)
