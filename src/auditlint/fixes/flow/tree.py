"""One file as the planner sees it: its syntax tree, who stands in what, and places as findings give them."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import cached_property
from typing import TypeAlias

from auditlint.diagnostics import Location
from auditlint.project.project import Broken, parse
from auditlint.source.source_file import SourceFile, parse_source

FunctionNode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


class FileTree:
    """The tree of one file that parses."""

    def __init__(self, filename: str, source: SourceFile, tree: ast.Module) -> None:
        self.filename = filename
        self.source = source
        self.tree = tree

    @cached_property
    def parents(self) -> dict[ast.AST, ast.AST]:
        """Each node's parent; parents come before their children."""
        # Half of what a fix costs is this walk: `ast.iter_child_nodes` takes twice the time.
        found: dict[ast.AST, ast.AST] = {}
        waiting: list[ast.AST] = [self.tree]
        for node in waiting:
            for field in node._fields:
                value = getattr(node, field, None)
                if isinstance(value, list):
                    children = [one for one in value if isinstance(one, ast.AST)]
                elif isinstance(value, ast.AST) and value._fields:
                    children = [value]
                else:
                    continue
                waiting += children
                found.update(dict.fromkeys(children, node))
        return found

    def above(self, node: ast.AST) -> Iterator[ast.AST]:
        """What `node` stands in, from the inside outwards."""
        current = self.parents.get(node)
        while current is not None:
            yield current
            current = self.parents.get(current)

    def function(self, node: ast.AST) -> FunctionNode | None:
        """The function whose body `node` is in (for a function: the one around it)."""
        return next((one for one in self.above(node) if isinstance(one, FUNCTIONS)), None)

    def class_of(self, function: FunctionNode) -> ast.ClassDef | None:
        """The class that a method is in, and a function nested in a method."""
        return next((one for one in self.above(function) if isinstance(one, ast.ClassDef)), None)

    def statement(self, node: ast.AST) -> ast.stmt:
        """The statement that an expression is part of."""
        return next(one for one in (node, *self.above(node)) if isinstance(one, ast.stmt))

    def text(self, node: ast.expr) -> str:
        """The expression in one line, for messages and comparisons."""
        return ast.unparse(node)

    def start(self, node: ast.expr | ast.stmt) -> Location:
        return self._location(node.lineno, node.col_offset)

    def end(self, node: ast.expr | ast.stmt) -> Location:
        return self._location(node.end_lineno or node.lineno, node.end_col_offset or node.col_offset)

    def at(self, location: Location, end: Location) -> ast.expr | None:
        """The expression that a finding marks: it ends there, and it, or the method's name in it, begins there."""
        for node in self._ending.get(end.row, ()):
            if self.end(node) != end:
                continue
            if self.start(node) == location:
                return node
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                name = self.end(node.func)
                if Location(name.row, name.column - len(node.func.attr)) == location:
                    return node
        return None

    def named(self, name: str, row: int) -> FunctionNode | None:
        """The innermost function or lambda that ends the qualified name `name` and holds `row`."""
        last = name.rpartition(".")[2]
        found: FunctionNode | None = None
        for node in self._functions:
            called = "<lambda>" if isinstance(node, ast.Lambda) else node.name
            if called == last and _first_row(node) <= row <= (node.end_lineno or node.lineno):
                found = node  # the innermost comes last
        return found

    @cached_property
    def _functions(self) -> list[FunctionNode]:
        return [node for node in self.parents if isinstance(node, FUNCTIONS)]

    @cached_property
    def _ending(self) -> dict[int, list[ast.expr]]:
        """Expressions by the row that they end in."""
        found: dict[int, list[ast.expr]] = {}
        for node in self.parents:
            if isinstance(node, ast.expr):
                found.setdefault(node.end_lineno or node.lineno, []).append(node)
        return found

    def _location(self, row: int, offset: int) -> Location:
        line = self.source.lines[row - 1] if row <= len(self.source.lines) else ""
        if line.isascii():
            return Location(row, offset + 1)
        return Location(row, len(line.encode("utf-8", "surrogatepass")[:offset].decode("utf-8", "replace")) + 1)


class Trees:
    """The trees of files, parsed when somebody asks for them and kept."""

    def __init__(self, read: Callable[[str], bytes], files: Callable[[], Iterable[str]]) -> None:
        self._read = read
        self._files = files
        self._known: dict[str, FileTree | None] = {}
        self._sources: dict[str, bytes] | None = None
        self._importers: dict[str, list[tuple[str, bytes]]] = {}

    def file(self, filename: str) -> FileTree | None:
        """The tree of a file; None for one that cannot be read or parsed."""
        if filename not in self._known:
            self._known[filename] = self._parsed(filename)
        return self._known[filename]

    def tree(self, filename: str) -> ast.Module | None:
        """The bare tree of a file."""
        found = self.file(filename)
        return found.tree if found is not None else None

    def used(self, name: str, home: str, apart: Collection[str]) -> bool:
        """Whether a file that is not in `apart` seems to use what is called `name` in the file `home`."""
        return any(filename not in apart for filename in self.users(name, home))

    def users(self, name: str, home: str) -> list[str]:
        """The files that seem to use what is called `name` in the file `home`: they have the name, and import it."""
        word = re.compile(rb"\b" + re.escape(name.encode()) + rb"\b")
        return [filename for filename, data in self._importing(home) if word.search(data)]

    def _importing(self, home: str) -> list[tuple[str, bytes]]:
        """The files that seem to import the file `home`, and their text."""
        if home not in self._importers:
            if self._sources is None:
                self._sources = {filename: self._read(filename) for filename in self._files()}
            module = os.path.basename(home).removesuffix(".py")
            if module == "__init__":
                module = os.path.basename(os.path.dirname(home))
            name = os.fsencode(module)
            line = re.compile(rb"^[ \t]*(from|import)\b.*\b" + re.escape(name) + rb"\b", re.MULTILINE)
            self._importers[home] = [
                (filename, data)
                for filename, data in self._sources.items()
                if filename != home and name in data and line.search(data)
            ]
        return self._importers[home]

    def _parsed(self, filename: str) -> FileTree | None:
        try:
            data = self._read(filename)
        except OSError:
            return None
        tree = parse(filename, data)
        return None if isinstance(tree, Broken) else FileTree(filename, parse_source(data), tree)


def _first_row(function: FunctionNode) -> int:
    decorators = [] if isinstance(function, ast.Lambda) else function.decorator_list
    return min([function.lineno, *(one.lineno for one in decorators)])
