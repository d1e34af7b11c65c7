"""What following a read leads to: what has to be rewritten, where values end, what speaks against it."""

from __future__ import annotations

import ast
from typing import NamedTuple

from auditlint.fixes.flow.functions import Returned
from auditlint.fixes.flow.tree import FileTree, FunctionNode


class Rewrite(NamedTuple):
    """An expression that is to be replaced.

    "read": a read by its deferred form. "derive": a computation from `leaves` by a deferred one. "call": a report or an
    export by a deferred call. Of statements: "add", `x += value`, by an assignment; "guard", a test whose body only
    reports, by a deferred call; "delete" by nothing. "move": a copy to the device by one that is kept; `before` is the
    statement in front of which its cache is made. "detach", "clone": what is kept, by that of it. "mark": a function
    that is marked as one that torch.compile leaves out. "gather": a comprehension of reads that are made all at once.
    """

    kind: str
    file: FileTree
    node: ast.expr | ast.stmt
    leaves: tuple[ast.expr, ...] = ()
    before: ast.stmt | None = None


class Store(NamedTuple):
    """A value ends in a container or an attribute: `target` is the container, or the attribute if `slot`."""

    file: FileTree
    function: FunctionNode
    target: ast.expr
    slot: bool


class Impossible(Exception):
    """The value cannot be deferred; the text says why, and follows "none: "."""


class Flow:
    """What one read's value passes through. `doubts` are reasons why the rewrite is not safe."""

    def __init__(self) -> None:
        self.rewrites: dict[tuple[str, ast.AST], Rewrite] = {}
        self.stores: list[Store] = []
        self.reports: list[tuple[FileTree, ast.AST]] = []
        self.returned: list[Returned] = []
        # Functions on the way that the hook calls: where anything in them is rewritten, other callers get that too.
        self.entered: list[Returned] = []
        self.doubts: list[str] = []
        # Whether it is put into a namespace, in which only `auditlint.defer` looks for it.
        self.namespaces = False

    def rewrite(self, kind: str, file: FileTree, node: ast.expr | ast.stmt, leaf: ast.expr | None = None) -> None:
        key = (file.filename, node)
        held = self.rewrites.get(key)
        leaves = held.leaves if held is not None else ()
        if leaf is not None and leaf not in leaves:
            leaves = (*leaves, leaf)
        self.rewrites[key] = Rewrite(kind, file, node, leaves)

    def doubt(self, reason: str) -> None:
        if reason not in self.doubts:
            self.doubts.append(reason)
