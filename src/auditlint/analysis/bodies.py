"""What the text of one function says: what its names are bound to, what it calls, where autograd is off."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from auditlint.project.modules import DEFINITIONS, TRY, FunctionInfo

# Contexts and decorators under which no graph is recorded.
WITHOUT_GRAPH = {"no_grad", "inference_mode", "set_grad_enabled"}
# Decorators and contexts whose functions torch.compile leaves to Python.
OUTSIDE_GRAPH = {"outside_graph", "disable", "disallow_in_graph", "allow_in_graph", "assume_constant_result"}


class Binding(NamedTuple):
    """A name bound to an expression; `part` where it is bound to an item of it. `depth` counts the blocks around it."""

    row: int
    value: ast.expr
    part: bool
    depth: int


class Body:
    """The text of one function, nested functions left out."""

    __slots__ = ("_named", "bound", "decorators", "free", "globals", "nodes", "returns")

    def __init__(self, info: FunctionInfo) -> None:
        self.bound: dict[str, list[Binding]] = {}
        self.returns: list[ast.expr] = []
        # First and last rows of the blocks in which autograd is off.
        self.free: list[tuple[int, int]] = []
        self.globals: set[str] = set()
        self.nodes: list[ast.AST] = []
        self._named: dict[str, list[ast.expr]] = {}
        node = info.node
        self.decorators = frozenset(_last_name(part) for part in getattr(node, "decorator_list", ()))
        if isinstance(node, ast.Lambda):
            self.returns.append(node.body)
            self._enter(node.body, 0)
        else:
            for statement in node.body:
                self._enter(statement, 0)
        for bindings in self.bound.values():
            bindings.sort(key=lambda binding: binding.row)

    def named(self, name: str) -> list[ast.expr]:
        """The names and attributes that are called so."""
        return self._named.get(name, [])

    def calls(self, row: int) -> Iterator[ast.Call]:
        """The calls that begin on a row."""
        return (node for node in self.nodes if isinstance(node, ast.Call) and node.lineno == row)

    def without_graph(self, row: int) -> bool:
        """Whether autograd is off on a row: the function's decorator or a `with` around it says so."""
        return bool(self.decorators & WITHOUT_GRAPH) or any(first <= row <= last for first, last in self.free)

    def before(self, name: str, row: int) -> list[Binding]:
        """What a name may be bound to on a row: the last binding above it, and those that it need not replace."""
        found: list[Binding] = []
        for binding in reversed(self.bound.get(name, ())):
            if binding.row < row:
                found.append(binding)
                if binding.depth == 0:
                    break
        return found

    def _enter(self, start: ast.AST, depth: int) -> None:
        pending = [(start, depth)]
        while pending:
            node, depth = pending.pop()
            kind = type(node)
            if kind in SKIPPED:
                continue
            self.nodes.append(node)
            if kind is ast.Name:
                self._named.setdefault(node.id, []).append(node)  # type: ignore[attr-defined,arg-type]
                continue
            if kind is ast.Attribute:
                self._named.setdefault(node.attr, []).append(node)  # type: ignore[attr-defined,arg-type]
            note = NOTES.get(kind)
            if note is not None:
                note(self, node, depth)
            inner = depth + 1 if kind in BRANCHES else depth
            # What `ast.iter_child_nodes` gives, without a generator for each node: this runs for all of a large file.
            for field in kind._fields:
                value = getattr(node, field, None)
                if type(value) is list:
                    pending += [(child, inner) for child in value if isinstance(child, ast.AST)]
                elif isinstance(value, ast.AST):
                    pending.append((value, inner))

    def _assigned(self, node: ast.Assign, depth: int) -> None:
        for target in node.targets:
            self._bind(target, node.value, node.lineno, False, depth)

    def _annotated(self, node: ast.AnnAssign | ast.NamedExpr, depth: int) -> None:
        if node.value is not None:
            self._bind(node.target, node.value, node.lineno, False, depth)

    def _looped(self, node: ast.For | ast.AsyncFor, depth: int) -> None:
        self._bind(node.target, node.iter, node.lineno, True, depth)

    def _comprehended(self, node: ast.comprehension, depth: int) -> None:
        # Above what stands on the same row.
        self._bind(node.target, node.iter, node.target.lineno - 1, True, depth)

    def _returned(self, node: ast.Return, depth: int) -> None:
        if node.value is not None:
            self.returns.append(node.value)

    def _declared(self, node: ast.Global, depth: int) -> None:
        self.globals.update(node.names)

    def _entered(self, node: ast.With | ast.AsyncWith, depth: int) -> None:
        for item in node.items:
            if item.optional_vars is not None:
                self._bind(item.optional_vars, item.context_expr, node.lineno, False, depth)
            if _last_name(item.context_expr) in WITHOUT_GRAPH:
                self.free.append((node.lineno, node.end_lineno or node.lineno))

    def _bind(self, target: ast.expr, value: ast.expr, row: int, part: bool, depth: int) -> None:
        if isinstance(target, ast.Name):
            self.bound.setdefault(target.id, []).append(Binding(row, value, part, depth))
        elif isinstance(target, (ast.Tuple, ast.List)):
            same = isinstance(value, (ast.Tuple, ast.List)) and len(value.elts) == len(target.elts) and not part
            for position, item in enumerate(target.elts):
                if same and isinstance(value, (ast.Tuple, ast.List)):
                    self._bind(item, value.elts[position], row, False, depth)
                else:
                    self._bind(item, value, row, True, depth)
        elif isinstance(target, ast.Starred):
            self._bind(target.value, value, row, True, depth)


def body_of(info: FunctionInfo) -> Body:
    """The one body of a function."""
    if info.body is None:
        info.body = Body(info)
    return info.body


def _last_name(node: ast.expr) -> str:
    inner = node.func if isinstance(node, ast.Call) else node
    return inner.attr if isinstance(inner, ast.Attribute) else getattr(inner, "id", "")


def called(node: ast.Call) -> str:
    """The last part of the name of what is called."""
    return _last_name(node)


# Nested scopes have bodies of their own; what says nothing is passed over.
SKIPPED = {*DEFINITIONS, ast.Lambda, ast.Load, ast.Store, ast.Constant}
BRANCHES = {ast.If, ast.For, ast.AsyncFor, ast.While, *TRY, ast.Match}
NOTES: dict[type[ast.AST], Callable[[Body, Any, int], None]] = {
    ast.Assign: Body._assigned,
    ast.AnnAssign: Body._annotated,
    ast.NamedExpr: Body._annotated,
    ast.For: Body._looped,
    ast.AsyncFor: Body._looped,
    ast.comprehension: Body._comprehended,
    ast.Return: Body._returned,
    ast.Global: Body._declared,
    ast.With: Body._entered,
    ast.AsyncWith: Body._entered,
}
