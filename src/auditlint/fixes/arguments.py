"""The lambda of deferred code: its parameters, what is passed for them, and its body."""

from __future__ import annotations

import ast
import builtins
import keyword
from collections.abc import Mapping
from typing import Protocol

from auditlint.fixes.flow.changing import may_change, turns_to_text
from auditlint.fixes.flow.tree import FileTree, FunctionNode
from auditlint.fixes.flow.uses import Comprehension, bound_names, free_names, is_index, report_kind
from auditlint.fixes.later import is_lasting

# A name that says what a value is, where the operation's own name is Python's.
_NAMES = {"sum": "total", "max": "largest", "min": "smallest", "abs": "size", "any": "found", "all": "every"}


class Texts(Protocol):
    """Gives the texts of a file's expressions, with the rewrites in them made."""

    def leaf(self, node: ast.expr) -> str: ...
    def argument(self, node: ast.expr) -> str: ...
    def shown(self, node: ast.expr) -> str: ...
    def source(self, node: ast.expr, holes: Mapping[ast.expr, str]) -> str: ...


class Arguments:
    """The parameters of a lambda whose body computes `bodies`, and what is passed for them."""

    def __init__(
        self, file: FileTree, texts: Texts, hook: FunctionNode, leaves: tuple[ast.expr, ...], *bodies: ast.expr
    ) -> None:
        self._file = file
        self._texts = texts
        self._hook = hook
        self._leaves = leaves
        self._held: list[tuple[str, str, bool]] = []  # name, text, whether it stands for all of the same text
        calls = [
            one
            for body in bodies
            for one in ast.walk(body)
            if isinstance(one, ast.Call) and (one is body or self._opened(one))
        ]
        # Parameters must not hide what the body calls by its name.
        self._taken = {name.id for call in calls for name in _names(call) if self._is_free(call, name)}
        for body in bodies:
            for one in ast.walk(body):
                if isinstance(one, Comprehension):
                    self._taken |= bound_names(one)

    def function(self, body: str) -> str:
        """The lambda that computes `body`."""
        names = ", ".join(name for name, _, _ in self._held)
        return f"lambda {names}: {body}" if names else f"lambda: {body}"

    def passed(self) -> list[str]:
        return [text for _, text, _ in self._held]

    def named(self, node: ast.expr, text: str, otherwise: str = "value") -> str:
        """A parameter for the argument `text`, which `node` becomes; the same one for the same variable."""
        same = _is_variable(node)
        for name, held, shared in self._held:
            if held == text and shared and same:
                return name
        hint = hint_of(node, otherwise)
        name, count = hint, 2
        while name in self._taken:
            name, count = f"{hint}_{count}", count + 1
        self._taken.add(name)
        self._held.append((name, text, same))
        return name

    def body(self, node: ast.expr, top: bool = True) -> str:
        """The text of the computation, its leaves and everything that is evaluated in the hook replaced."""
        if node in self._leaves:
            return self._leaf(node)
        holes: dict[ast.expr, str] = {}
        self._collect_parts(node, holes)
        text = self._texts.source(node, holes)
        return text if top or isinstance(node, (ast.Call, ast.Attribute, ast.Subscript)) else f"({text})"

    def _leaf(self, node: ast.expr) -> str:
        return self.named(node, self._texts.leaf(node))

    def _collect(self, node: ast.expr, holes: dict[ast.expr, str]) -> None:
        if node in self._leaves:
            holes[node] = self._leaf(node)
            return
        if _is_literal(node):
            return
        if not isinstance(node, (ast.FormattedValue, ast.Slice, ast.Starred)) and not self._opened(node):
            holes[node] = self.named(node, self._texts.argument(node))
            return
        self._collect_parts(node, holes)

    def _collect_parts(self, node: ast.expr, holes: dict[ast.expr, str]) -> None:
        if isinstance(node, Comprehension):
            self._collect(node.generators[0].iter, holes)
            holes.update({name: self.named(name, self._texts.source(name, {})) for name in free_names(node)})
            return
        for child in _parts(node):
            if isinstance(node, ast.Call) and child is node.func and isinstance(child, ast.Name):
                if not self._is_free(node, child):
                    holes[child] = self.named(child, self._texts.source(child, {}), "function")
            elif turns_to_text(node, child) and may_change(self._file, child, self._hook):
                holes[child] = self.named(child, self._texts.shown(child))
            elif not (_receives(node, child) and self._is_free(node, child)):
                self._collect(child, holes)

    def _is_free(self, call: ast.expr, name: ast.expr) -> bool:
        """Whether what a call calls, or calls a method of, is left to be found by its name."""
        if not isinstance(call, ast.Call) or not isinstance(name, ast.Name) or name in self._leaves:
            return False
        # What others may change meanwhile is passed, but for what reports.
        modules = name is not call.func and not report_kind(call)
        return is_lasting(self._file, name, modules=modules)

    def _opened(self, node: ast.expr) -> bool:
        """Whether an expression is part of the lambda's body, and only its parts may be evaluated in the hook."""
        if any(one in self._leaves for one in ast.walk(node)):
            return True
        if isinstance(node, ast.JoinedStr) or is_index(self._file, node):
            return True
        return isinstance(node, ast.Call) and bool(report_kind(node))


def _names(call: ast.Call) -> list[ast.Name]:
    """The name that a call calls, or calls a method of."""
    called = call.func.value if isinstance(call.func, ast.Attribute) else call.func
    return [called] if isinstance(called, ast.Name) else []


def _parts(node: ast.expr) -> list[ast.expr]:
    """The operands of an expression; what is called is one, or what it is a method of."""
    match node:
        case ast.Call(func=func, args=args, keywords=keywords):
            called = func.value if isinstance(func, ast.Attribute) else func
            return [called, *args, *(one.value for one in keywords)]
        case ast.JoinedStr(values=values):
            return [one for one in values if not isinstance(one, ast.Constant)]
        case ast.FormattedValue(value=value, format_spec=spec):
            return [value, *([spec] if spec is not None else [])]
        case ast.Attribute(value=value):
            return [value]
    return [one for one in ast.iter_child_nodes(node) if isinstance(one, ast.expr)]


def _is_literal(node: ast.expr) -> bool:
    """Whether an expression is the same wherever it stands: a constant, a number with its sign, a display of such."""
    match node:
        case ast.Constant() | ast.UnaryOp(operand=ast.Constant()):
            return True
        case ast.List(elts=elements) | ast.Tuple(elts=elements) | ast.Set(elts=elements):
            return all(map(_is_literal, elements))
        case ast.Dict(keys=keys, values=values):
            return all(key is not None and _is_literal(key) for key in keys) and all(map(_is_literal, values))
    return False


def _receives(call: ast.expr, receiver: ast.expr) -> bool:
    return isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.value is receiver


def _is_variable(node: ast.expr) -> bool:
    """Whether an expression gives the same whenever it is evaluated in one statement: nothing in it is called."""
    match node:
        case ast.Name() | ast.Constant():
            return True
        case ast.Attribute(value=value):
            return _is_variable(value)
        case ast.Subscript(value=value, slice=index):
            return _is_variable(value) and _is_variable(index)
    return False


def hint_of(node: ast.expr, otherwise: str = "value") -> str:
    """A name for the value of an expression: the variable's, the attribute's, the operation's."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            found = name
        case ast.Call(
            func=ast.Attribute(value=value, attr="item" | "cpu" | "detach" | "tolist" | "numpy" | "to" | "float")
        ):
            found = hint_of(value)
        case ast.Call(func=ast.Attribute(attr=name)) | ast.Call(func=ast.Name(id=name)):
            found = name
        case ast.Subscript(value=value):
            found = hint_of(value)
        case _:
            found = otherwise
    found = _NAMES.get(found, found).lstrip("_").lower()
    unusable = not found.isidentifier() or keyword.iskeyword(found) or hasattr(builtins, found) or found == "self"
    return otherwise if unusable else found
