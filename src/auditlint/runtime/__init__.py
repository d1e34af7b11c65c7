"""Counting the syncs that really happen: `count_syncs`, `allow_sync`, `forbid_syncs`. Needs torch.

The words of reports (`auditlint.runtime.report`) and their renderers do not need torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from auditlint.runtime.backends import Unavailable as Unavailable
    from auditlint.runtime.counting import SyncCounter as SyncCounter
    from auditlint.runtime.counting import allow_sync as allow_sync
    from auditlint.runtime.counting import count_syncs as count_syncs
    from auditlint.runtime.counting import forbid_syncs as forbid_syncs
    from auditlint.runtime.policy import SyncForbiddenError as SyncForbiddenError
    from auditlint.runtime.report import SyncReport as SyncReport

__all__ = [
    "SyncCounter",
    "SyncForbiddenError",
    "SyncReport",
    "Unavailable",
    "allow_sync",
    "count_syncs",
    "forbid_syncs",
]

_HOMES = {
    "SyncCounter": "counting",
    "SyncForbiddenError": "policy",
    "SyncReport": "report",
    "Unavailable": "backends",
    "allow_sync": "counting",
    "count_syncs": "counting",
    "forbid_syncs": "counting",
}


def __getattr__(name: str) -> Any:
    # Looked up late: reports are read and rendered where torch is not installed.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"auditlint.runtime.{_HOMES[name]}"), name)
