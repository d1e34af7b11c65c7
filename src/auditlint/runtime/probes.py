"""Which findings' expressions were executed: files that have findings are loaded with a probe in front of each."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterable, Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import CodeType, ModuleType
from typing import Any

from auditlint.diagnostics import Diagnostic, Location
from auditlint.runtime.instrument import Probe, instrument
from auditlint.runtime.reconcile import SYNC_CODES

__all__ = ["FindingsFor", "Probes"]

FindingsFor = Callable[[str], Sequence[Diagnostic]]

# Their files are nobody's project: asking the linter about them would cost time and give nothing.
_PASSED_OVER = frozenset({"auditlint", "numpy", "torch"})


class Probes:
    """Puts probes into the files of a program as they are loaded, and tells which were reached.

    `findings_for` gives the findings in the file at an absolute path. It is asked once for each file that is loaded,
    in the thread that loads it. A file for which it fails, or that cannot be instrumented, runs as it is.
    """

    def __init__(self, findings_for: FindingsFor) -> None:
        self._findings_for = findings_for
        self._asking = threading.local()
        self._probes: list[tuple[str, Location, Probe]] = []
        self._instrumented: set[str] = set()
        self._without_findings: set[str] = set()
        self._as_it_is: set[str] = set()
        self._loaders: list[SourceFileLoader] = []

    @property
    def executed(self) -> set[tuple[str, int, int]]:
        """File (absolute), row and column of every finding that the program got to."""
        return {(path, *place) for path, place, probe in self._probes if probe.reached}

    @property
    def loaded(self) -> set[str]:
        """The files (absolute) that the program has loaded."""
        return self._instrumented | self._without_findings | self._as_it_is | _module_files()

    @property
    def uncertain(self) -> set[str]:
        """Loaded files that ran without probes. Some of them may have no findings: they were loaded by others."""
        return self._as_it_is | (_module_files() - self._instrumented - self._without_findings)

    def compile(self, path: str, source: bytes) -> CodeType:
        """The code of the script `path`, with probes; `path` is the file's name in it. Raises what `compile` raises."""
        file = os.path.abspath(path)
        findings = self._ask(file)
        code = self._instrument(file, path, source, findings) if findings else None
        if code is None:
            code = compile(source, path, "exec", dont_inherit=True)
        return code

    def install(self, undo: contextlib.ExitStack) -> None:
        """Put probes into every file that is imported from now on, or loaded by `spec_from_file_location`."""
        self._as_it_is |= _module_files()
        finder = _Finder(self)
        sys.meta_path.insert(0, finder)
        undo.callback(_remove, finder)
        original = importlib.util.spec_from_file_location

        @functools.wraps(original)
        def spec_from_file_location(*args: Any, **kwargs: Any) -> ModuleSpec | None:
            spec = original(*args, **kwargs)
            if spec is not None and finder in sys.meta_path:
                self.take(spec)
            return spec

        importlib.util.spec_from_file_location = spec_from_file_location
        undo.callback(setattr, importlib.util, "spec_from_file_location", original)
        undo.callback(self._release)
        _tell_dynamo()
        undo.callback(_tell_dynamo, False)

    def take(self, spec: ModuleSpec) -> None:
        """Make the file of `spec` run with probes, if it has findings. No other module is touched."""
        loader, origin = spec.loader, spec.origin
        if not spec.has_location or not isinstance(origin, str) or _passed_over(spec.name) or _in_library(origin):
            return
        if not isinstance(loader, SourceFileLoader) and not origin.endswith(".py"):
            return
        file = os.path.abspath(origin)
        findings = self._ask(file)
        if not findings or not isinstance(loader, SourceFileLoader) or not _loads_plainly(loader):
            if findings:
                self._as_it_is.add(file)
            return

        def get_code(name: str) -> CodeType | None:
            with contextlib.suppress(OSError):
                path = loader.get_filename(name)
                code = self._instrument(file, path, loader.get_data(path), findings)
                if code is not None:
                    return code
            return SourceFileLoader.get_code(loader, name)

        # On the object alone: its class, which others may look at or derive from, stays what it was.
        vars(loader)["get_code"] = get_code
        self._loaders.append(loader)

    def _release(self) -> None:
        for loader in self._loaders:
            vars(loader).pop("get_code", None)
        self._loaders.clear()

    def _ask(self, file: str) -> list[Diagnostic]:
        """The findings that counts speak about; the file is noted when it has none or nobody can tell."""
        if getattr(self._asking, "busy", False):
            return []  # the linter itself is importing
        self._asking.busy = True
        try:
            findings = [item for item in self._findings_for(file) if item.code.startswith(SYNC_CODES)]
        except Exception:
            self._as_it_is.add(file)
            return []
        finally:
            self._asking.busy = False
        if not findings:
            self._without_findings.add(file)
        return findings

    def _instrument(self, file: str, name: str, source: bytes, findings: Iterable[Diagnostic]) -> CodeType | None:
        try:
            code, probes = instrument(source, name, findings)
        except Exception:
            # Whatever is wrong, with the file or with the edit, the program must run as it would have.
            self._as_it_is.add(file)
            return None
        self._probes += [(file, place, probe) for place, found in probes.items() for probe in found]
        self._instrumented.add(file)
        return code


class _Finder:
    """Stands before the other finders, and finds what they find."""

    def __init__(self, probes: Probes) -> None:
        self._probes = probes

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if _passed_over(name):
            if name.startswith("torch._dynamo."):
                _tell_dynamo()
            return None
        finders = list(sys.meta_path)
        # Those after this one: a finder that was put before it later may be asking on its own behalf.
        for finder in finders[finders.index(self) + 1 :] if self in finders else []:
            find = getattr(finder, "find_spec", None)
            if find is None:
                return None  # of the kind that only Python 3.11 and older know how to ask
            spec: ModuleSpec | None = find(name, path, target)
            if spec is not None:
                self._probes.take(spec)
                return spec
        return None


def _tell_dynamo(probes_are_constants: bool = True) -> None:
    """Let torch's compiler, once it is imported, trace code with probes (or no longer).

    It gives up on a constant of a type that it does not know: `ConstantVariable.is_base_literal` in torch 2.13.0's
    _dynamo/variables/constant.py. It evaluates attributes of those that it knows.
    """
    types = getattr(sys.modules.get("torch._dynamo.utils"), "common_constant_types", None)
    if isinstance(types, set):
        (types.add if probes_are_constants else types.discard)(Probe)


def _remove(finder: _Finder) -> None:
    with contextlib.suppress(ValueError):
        sys.meta_path.remove(finder)


def _passed_over(name: str) -> bool:
    return name.partition(".")[0] in _PASSED_OVER


@functools.cache
def _library() -> tuple[str, ...]:
    folders = [sysconfig.get_path(key) for key in ("stdlib", "platstdlib")]
    return tuple({os.path.join(each, "") for folder in folders for each in (folder, os.path.realpath(folder))})


def _in_library(path: str) -> bool:
    return path.startswith(_library()) and "site-packages" not in path and "dist-packages" not in path


def _loads_plainly(loader: SourceFileLoader) -> bool:
    """Whether the loader compiles what is in the file, and nothing that it makes of it (as import hooks do)."""
    return all(
        getattr(type(loader), name) is getattr(SourceFileLoader, name)
        for name in ("get_code", "source_to_code", "get_data", "get_filename")
    )


def _module_files() -> set[str]:
    """The files (absolute) of the modules that are loaded."""
    files = set()
    for module in list(sys.modules.values()):
        if isinstance(module, ModuleType):
            # Not by `module.__file__`: modules that load themselves when they are looked at would.
            file = ModuleType.__getattribute__(module, "__dict__").get("__file__")
            if isinstance(file, str):
                files.add(os.path.abspath(file))
    return files
