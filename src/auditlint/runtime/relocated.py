"""Warnings that C code issues beneath a watched method name the line that called the method, not our own.

Without this, a script under `--runtime-check` would print other warnings than it does by itself, and the first of
them would hide the others: Python shows a warning once for each line.
"""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any

from auditlint.runtime.frames import Frames, folder_of
from auditlint.runtime.patches import Patches

_OURS = folder_of(__file__)


def install(frames: Frames, patches: Patches) -> None:
    """Hand on warnings that name a file of this package as warnings of the user's line that led there."""

    def make(original: Any) -> Any:
        def show(message: warnings.WarningMessage) -> None:
            ours = message.filename.startswith(_OURS)
            if ours:
                _forget_shown(message.filename)
            user = frames.innermost(sys._getframe(1)) if ours else None
            if user is None:
                original(message)
                return
            warnings.warn_explicit(
                message.message,
                message.category,
                user.f_code.co_filename,
                user.f_lineno,
                user.f_globals.get("__name__"),
                user.f_globals.setdefault("__warningregistry__", {}),
                source=message.source,
            )

        return show

    # Both the C code and the Python code of `warnings` look this function up each time.
    patches.replace(warnings, "_showwarnmsg", make)


def _forget_shown(filename: str) -> None:
    """Let the next warning from the same line of ours through: it will be another line of the user's."""
    inner = os.path.splitext(filename.removeprefix(_OURS))[0].replace(os.sep, ".")
    module = sys.modules.get(f"auditlint.runtime.{inner}")
    if module is not None:
        module.__dict__.pop("__warningregistry__", None)
