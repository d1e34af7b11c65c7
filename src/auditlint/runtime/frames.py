"""Which frames of a stack are the user's code, and which are machinery that works on their behalf."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Iterable
from types import CodeType, FrameType

from auditlint.runtime import positions

# Code that libraries write; what a user hands to `exec`, or types into a notebook, has other names. The methods that
# dataclasses and named tuples write begin with two underscores.
_GENERATED = ("<frozen", "<attrs", "<eval_with_key", "<__array_function__", "<decorator-gen", "<lambdify")
# Methods by which tensor subclasses and modes see each operation, and hand it on (their second argument) to torch.
_INTERCEPTORS = frozenset({"__torch_function__", "__torch_dispatch__"})
# Code of auditlint's own that is a program to be counted, and works for nobody else.
_PROGRAMS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "bench", "")


def folder_of(module_file: str | None) -> str:
    """The folder of a package, with a separator at its end, from its `__file__`."""
    return os.path.join(os.path.dirname(os.path.abspath(module_file or "")), "")


class Frames:
    """Tells user code from machinery by its file: torch, numpy, the standard library and auditlint are machinery,
    but for the programs of `auditlint bench`.

    `ignored` are parts of files' paths; a read beneath a frame of such a file is no sync.

    Code objects are told apart by `id`: Python compares them by value, in which their files have no part, and hashes
    all of their instructions each time. Every code object that was asked about is kept, so that its id stays its own.
    """

    def __init__(self, machinery: Iterable[str]) -> None:
        paths = sysconfig.get_paths()
        self._library = tuple({os.path.join(os.path.realpath(paths[key]), "") for key in ("stdlib", "platstdlib")})
        self._library += tuple({os.path.join(paths[key], "") for key in ("stdlib", "platstdlib")})
        self._packages = tuple({os.path.join(paths[key], "") for key in ("purelib", "platlib")})
        self._machinery = tuple(machinery)
        self._known: dict[int, bool] = {}
        self._kept: list[CodeType] = []
        # Instruction of an interceptor -> whether it hands on.
        self._handing_on: dict[tuple[int, int], bool] = {}
        self.ignored: tuple[str, ...] = ()

    def is_user(self, code: CodeType) -> bool:
        """Whether `code` was written by somebody who would look for a sync in it."""
        known = self._known.get(id(code))
        if known is None:
            self._kept.append(code)
            known = self._known[id(code)] = self._look(code.co_filename, code.co_name)
        return known

    def innermost(self, frame: FrameType | None) -> FrameType | None:
        """The innermost user frame from `frame` outwards; None where there is none, or an ignored one lies within."""
        while frame is not None:
            code = frame.f_code
            if self.is_user(code) and not self.hands_on(frame):
                return frame
            if self._is_ignored(code):
                return None
            frame = frame.f_back
        return None

    def ignores(self, frame: FrameType | None) -> bool:
        """Whether an ignored frame lies on the stack of `frame`."""
        while frame is not None:
            if self._is_ignored(frame.f_code):
                return True
            frame = frame.f_back
        return False

    def _is_ignored(self, code: CodeType) -> bool:
        return bool(self.ignored) and any(part in code.co_filename for part in self.ignored)

    def hands_on(self, frame: FrameType) -> bool:
        """Whether `frame` does at the moment what its caller asked for: `func(*args, **kwargs)` in an interceptor."""
        code = frame.f_code
        if code.co_name not in _INTERCEPTORS or code.co_argcount < 2:
            return False
        at = id(code), frame.f_lasti
        if at not in self._handing_on:
            said = positions.text(code, frame.f_lasti)
            self._handing_on[at] = f"{code.co_varnames[1]}(" in said or any(name in said for name in _INTERCEPTORS)
        return self._handing_on[at]

    def _look(self, filename: str, name: str) -> bool:
        if filename.startswith("<"):
            return not (filename.startswith(_GENERATED) or (filename == "<string>" and name.startswith("__")))
        if filename.startswith(self._machinery):
            return filename.startswith(_PROGRAMS)
        if filename.startswith(self._library):
            return filename.startswith(self._packages) or "site-packages" in filename or "dist-packages" in filename
        return True
