"""One project: which module a dotted name stands for, and parsed modules on demand."""

from __future__ import annotations

import ast
import gc
import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from auditlint.project.modules import Module

HEADER = re.compile(rb"^[ \t]*class[ \t]+(\w+)[ \t]*\(([^)]*)\)", re.MULTILINE)
WORD = re.compile(rb"\w+")
# Deep enough for real code; past it the parser's own limits and the interpreter's stack end the file as broken.
_PARSE_ERRORS = (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError)


class Broken(NamedTuple):
    """A file that cannot be analysed, and why; row and column are 1-based."""

    filename: str
    row: int
    column: int
    message: str


class Project:
    """The files beneath `root` (posix names relative to it); `overlays` holds unsaved contents."""

    def __init__(self, root: str, files: Sequence[str], overlays: Mapping[str, bytes] | None = None) -> None:
        self.root = root
        self.overlays = overlays or {}
        self.files = sorted({*files, *self.overlays})
        self.broken: dict[str, Broken] = {}
        self.known = frozenset(self.files)
        self._sources: dict[str, bytes] = {}
        self._modules: dict[str, Module | None] = {}
        self._found: dict[tuple[str, str], str | None] = {}
        self._import_roots: list[str] | None = None
        self._headers: dict[str, list[tuple[str, str]]] | None = None

    def read(self, filename: str) -> bytes:
        """The bytes of a file. Raises OSError."""
        held = self.overlays.get(filename)
        if held is not None:
            return held
        with open(os.path.join(self.root, filename), "rb", buffering=0) as file:
            return file.read()

    def read_into(self, filename: str, buffer: bytearray) -> int:
        """Read a file into a buffer, which grows as needed; the number of bytes. Raises OSError."""
        held = self.overlays.get(filename)
        if held is not None:
            buffer[: len(held)] = held
            return len(held)
        descriptor = os.open(f"{self.root}/{filename}", os.O_RDONLY | getattr(os, "O_BINARY", 0))
        try:
            view, size = memoryview(buffer), 0
            while count := os.readv(descriptor, [view[size:]]) if hasattr(os, "readv") else 0:
                size += count
                if size == len(buffer):
                    view.release()
                    buffer.extend(bytes(len(buffer)))
                    view = memoryview(buffer)
            view.release()
            return size
        finally:
            os.close(descriptor)

    def source(self, filename: str) -> bytes:
        """The bytes of a file that is asked for again and again; empty when it cannot be read."""
        held = self._sources.get(filename)
        if held is None:
            try:
                held = self._sources[filename] = self.read(filename)
            except OSError:
                held = self._sources[filename] = b""
        return held

    def module(self, filename: str, source: bytes | None = None) -> Module | None:
        """The parsed module of a file; None when it is broken (see `broken`)."""
        if filename in self._modules:
            return self._modules[filename]
        self._modules[filename] = None
        try:
            source = self.read(filename) if source is None else source
        except OSError as error:
            self.broken[filename] = Broken(filename, 1, 1, f"cannot be read: {error.strerror or error}")
            return None
        parsed = parse(filename, source)
        if isinstance(parsed, Broken):
            self.broken[filename] = parsed
            return None
        name, package = self.dotted(filename)
        module = self._modules[filename] = Module(filename, name, package, source, parsed)
        return module

    def class_headers(self) -> dict[str, list[tuple[str, str]]]:
        """By the last part of a base's name: the (file, class) pairs whose header names it. Reads every file, once."""
        if self._headers is None:
            self._headers = {}
            for filename in self.files:
                try:
                    source = self.read(filename)
                except OSError:
                    continue
                for match in HEADER.finditer(source):
                    name = match[1].decode("utf-8", "replace")
                    for base in set(WORD.findall(match[2])):
                        self._headers.setdefault(base.decode("utf-8", "replace"), []).append((filename, name))
        return self._headers

    def dotted(self, filename: str) -> tuple[str, str]:
        """(module name, package for relative imports) of a file, seen from the folder above its top package."""
        parts = filename[:-3].split("/") if filename.endswith(".py") else filename.split("/")
        top = len(parts) - 1
        while top > 0 and "/".join([*parts[:top], "__init__.py"]) in self.known:
            top -= 1
        inner = parts[top:]
        if inner[-1] == "__init__":
            name = ".".join(inner[:-1])
            return name, name
        return ".".join(inner), ".".join(inner[:-1])

    def find(self, dotted: str, importer: str) -> str | None:
        """The file that an absolute import of `dotted` in file `importer` reaches, if it is in this project."""
        above = os.path.dirname(importer)
        key = (dotted, above)
        if key not in self._found:
            path = dotted.replace(".", "/")
            self._found[key] = None
            for base in self._bases(importer):
                prefix = f"{base}/{path}" if base else path
                for candidate in (f"{prefix}/__init__.py", f"{prefix}.py"):
                    if candidate in self.known:
                        self._found[key] = candidate
                        return candidate
        return self._found[key]

    def _bases(self, importer: str) -> Iterator[str]:
        """Folders that absolute imports may start from: above the importer's package, beside it, then everyone's."""
        name, _ = self.dotted(importer)
        depth = name.count(".") + (2 if importer.endswith("/__init__.py") else 1)
        parts = importer.split("/")
        yield "/".join(parts[: max(0, len(parts) - depth)])
        yield "/".join(parts[:-1])
        if self._import_roots is None:
            packages = {os.path.dirname(f) for f in self.files if f.endswith("__init__.py")}
            roots = {os.path.dirname(p) for p in packages if os.path.dirname(p) not in packages or not p}
            self._import_roots = sorted({"", "src", *roots}, key=lambda r: (r.count("/"), r))
        yield from self._import_roots


def parse(filename: str, source: bytes) -> ast.Module | Broken:
    """The tree of a file, or why there is none. Whatever the bytes, it never raises."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source, filename)
    except SyntaxError as error:
        return Broken(filename, max(1, error.lineno or 1), max(1, error.offset or 1), f"syntax error: {error.msg}")
    except _PARSE_ERRORS as error:
        reason = "nested too deeply" if isinstance(error, (RecursionError, MemoryError)) else str(error)
        return Broken(filename, 1, 1, reason)
    finally:
        if enabled:
            gc.enable()
