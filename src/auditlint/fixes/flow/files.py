"""Files that a hook writes to and somebody else has opened: they are written after the pass, if still open then."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from auditlint.fixes.flow.functions import is_outer
from auditlint.fixes.flow.holders import values_of
from auditlint.fixes.flow.result import Flow, Impossible
from auditlint.fixes.flow.tree import FileTree, FunctionNode

_WRITES = frozenset(["write", "writelines", "writerow", "writerows"])
# Functions that give an open file, or what writes to one.
_OPENS = frozenset(["open", "fdopen", "StringIO", "NamedTemporaryFile", "TemporaryFile", "writer", "DictWriter"])
_WITH = (ast.With, ast.AsyncWith)
_DEEPEST = 3


def is_written(file: FileTree, function: FunctionNode, call: ast.Call) -> bool:
    """Whether a statement writes to a file that was opened in front of the hook.

    Raises:
        Impossible: when the hook opens it, or does more with it.
    """
    if not isinstance(call.func, ast.Attribute) or call.func.attr not in _WRITES:
        return False
    if not isinstance(file.parents[call], ast.Expr):
        return False
    written = call.func.value
    if not any(_opens(value) for _, value in _sources(file, function, written, 0)):
        return False
    text = ast.unparse(written)
    if isinstance(written, ast.Name) and not is_outer(file, function, written.id):
        raise Impossible(f"`{text}` is made in the hook, and is not open any more after the pass")
    for node in ast.walk(function):
        match node:
            case ast.Attribute(value=value, attr=attr) if node is not call.func and ast.unparse(value) == text:
                if attr != "flush":
                    raise Impossible(f"the hook does more with `{text}` than to write this, in this order")
    return True


def is_closed(flow: Flow, points: Sequence[tuple[str, ast.stmt]]) -> str:
    """Why a file that is written at `points`, statements of files, would not be open any more; "" where it would."""
    for file, report in flow.reports:
        function = file.function(report)
        names = [node for node in ast.walk(report) if isinstance(node, (ast.Name, ast.Attribute))]
        for name in names if function is not None else []:
            for end in _ends(file, function, name):
                if not all(where == file.filename and _is_before(file, point, end) for where, point in points):
                    return f"`{ast.unparse(name)}` is closed before the values are read"
    return ""


def _ends(file: FileTree, function: FunctionNode | None, name: ast.expr) -> Iterator[ast.AST]:
    """What closes the files behind a name: the `with` statements that opened them, calls of `close`."""
    for opened, value in _sources(file, function, name, 0):
        if not _opens(value):
            continue
        above = file.parents[value]
        if isinstance(above, ast.withitem):
            yield file.parents[above]
        elif isinstance(above, ast.Assign):
            for target in above.targets:
                yield from _closings(opened or file.tree, target)


def _closings(scope: ast.AST, target: ast.expr) -> Iterator[ast.Call]:
    for node in ast.walk(scope):
        match node:
            case ast.Call(func=ast.Attribute(value=value, attr="close")) if ast.unparse(value) == ast.unparse(target):
                yield node


def _is_before(file: FileTree, point: ast.AST, end: ast.AST) -> bool:
    """Whether a point is inside a `with` statement, or above a call."""
    if isinstance(end, _WITH):
        return end in file.above(point)
    return _line(point) < _line(end) or file.function(point) is not file.function(end)


def _line(node: ast.AST) -> int:
    return getattr(node, "lineno", 0)


def _sources(
    file: FileTree, function: FunctionNode | None, name: ast.expr, depth: int
) -> Iterator[tuple[FunctionNode | None, ast.expr]]:
    """What a variable or attribute is bound to, and what a writer of rows writes to, with the functions they are in."""
    if depth > _DEEPEST or not isinstance(name, (ast.Name, ast.Attribute)):
        return
    yield from _entered(file, function, name)
    for where, value in values_of(file, function, name):
        yield where, value
        if isinstance(value, ast.Call) and _opens(value):
            inner: list[ast.expr] = value.args[:1]
        else:
            inner = [value]
        for one in inner:
            if one is not name:
                yield from _sources(file, where, one, depth + 1)


def _entered(
    file: FileTree, function: FunctionNode | None, name: ast.expr
) -> Iterator[tuple[FunctionNode | None, ast.expr]]:
    """What `with` statements of the functions around, or of the module, bind a variable to."""
    while isinstance(name, ast.Name) and function is not None and is_outer(file, function, name.id):
        function = file.function(function)
    for node in ast.walk(function or file.tree):
        match node:
            case ast.withitem(context_expr=value, optional_vars=ast.Name(id=bound)) if bound == ast.unparse(name):
                if file.function(value) is function:
                    yield function, value


def _opens(value: ast.expr) -> bool:
    return isinstance(value, ast.Call) and ast.unparse(value.func).rpartition(".")[2] in _OPENS
