"""Which code names a container, itself or in functions that it calls."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from auditlint.fixes.placement.scopes import DEFS, SCOPES, Def, Outline, dotted, last

# Methods that everything has: their names say nothing about whose they are.
EVERYWHERE = {"append", "extend", "update", "add", "get", "items", "keys", "values", "pop", "copy", "clear", "close"}
FINALIZERS = ("finalize", "finalize_reads")
# What only stores: `rows.append(x)`, `stats.setdefault(name, []).append(x)`.
_STORES = {"append", "extend", "add", "update", "insert", "clear", "appendleft", "pop", "popleft"}
_DEPTH = 3  # callers of callers that count
_BENIGN = (ast.In, ast.NotIn, ast.Is, ast.IsNot)


def mentions(
    statement: ast.AST, path: tuple[str, ...], but: set[ast.AST] | None = None, any_store: bool = True
) -> bool:
    """Whether a statement names `path` outside the calls `but` and outside what finalizes it.

    Without `any_store`, binding it anew does not count.
    """
    stack = [statement]
    while stack:
        node = stack.pop()
        if (but and node in but) or (isinstance(node, ast.stmt) and finalizing(node) is not None):
            continue
        if isinstance(node, (ast.Name, ast.Attribute)) and dotted(node) == path:
            found = any_store or isinstance(node.ctx, ast.Load)
            if found:
                return True
        if isinstance(node, SCOPES) and not isinstance(node, ast.Module):
            continue
        stack.extend(ast.iter_child_nodes(node))
    return False


def finalizing(statement: ast.AST) -> ast.Call | None:
    """The call of a statement that does nothing but finalize or flush."""
    call = statement.value if isinstance(statement, (ast.Expr, ast.Assign)) else None
    if isinstance(call, ast.Call) and last(call.func) in (*FINALIZERS, "flush"):
        return call if len(dotted(call.func)) < 3 else None
    return None


def is_given(node: ast.AST, owners: set[tuple[str, ...]]) -> bool:
    """Whether a call is handed an object that has a container."""
    given = [*node.args, *(each.value for each in node.keywords)] if isinstance(node, ast.Call) else []
    return any(dotted(each) in owners for each in given)


def reading(outline: Outline, paths: frozenset[tuple[str, ...]]) -> frozenset[str]:
    """The names of the functions of the file that name a container, or call one that does."""
    key = ("names", paths)
    if key not in outline.readers:
        functions = [each for each in outline.functions if any(_names(each, path) for path in paths)]
        outline.readers[key] = _with_callers(outline, functions)
    return outline.readers[key]


def looking(outline: Outline, paths: frozenset[tuple[str, ...]]) -> frozenset[str]:
    """The names of the functions of the file that look at the values in a container, or call one that does."""
    key = ("values", paths)
    if key not in outline.readers:
        functions = [each for each in outline.functions if any(looks(outline, ast.walk(each), path) for path in paths)]
        outline.readers[key] = _with_callers(outline, functions)
    return outline.readers[key]


def _with_callers(outline: Outline, functions: Iterable[Def | ast.Lambda]) -> frozenset[str]:
    found = {name_of(outline, each) for each in functions}
    for _ in range(_DEPTH):
        known = found - EVERYWHERE - {""}
        callers = {
            name_of(outline, each)
            for each in outline.functions
            if any(last(call.func) in known for call in outline.calls_in(each))
        }
        if callers <= found:
            break
        found |= callers
    return frozenset(found - {""})


def name_of(outline: Outline, function: Def | ast.Lambda) -> str:
    """The name of a function; of a lambda, the variable or attribute that it is assigned to."""
    if isinstance(function, DEFS):
        return function.name
    parent = outline.parents.get(function)
    return last(parent.targets[0]) if isinstance(parent, ast.Assign) else ""


def looks(outline: Outline, nodes: Iterable[ast.AST], path: tuple[str, ...]) -> bool:
    """As `reads`, for the nodes of a function, and for an attribute under whatever name its object has."""
    for node in nodes:
        meant = isinstance(node, ast.Attribute) and len(path) > 1 and node.attr == path[-1]
        if meant or (isinstance(node, ast.Name) and (node.id,) == path):
            assert isinstance(node, (ast.Name, ast.Attribute))
            if _looks_at(outline, node):
                return True
    return False


def _names(function: Def | ast.Lambda, path: tuple[str, ...]) -> bool:
    """Whether a function names a variable, or an attribute of an object under whatever name, but to finalize it."""
    stack: list[ast.AST] = [function]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.stmt) and finalizing(node) is not None:
            continue
        if isinstance(node, ast.Attribute) and len(path) > 1 and node.attr == path[-1]:
            return True
        if isinstance(node, ast.Name) and (node.id,) == path:
            return True
        stack.extend(ast.iter_child_nodes(node))
    return False


def reads(outline: Outline, function: ast.AST, path: tuple[str, ...]) -> bool:
    """Whether a function does more with a container than to store in it or to ask what keys it has."""
    for node in ast.walk(function):
        if isinstance(node, (ast.Name, ast.Attribute)) and dotted(node) == path and _looks_at(outline, node):
            return True
    return False


def _looks_at(outline: Outline, node: ast.Name | ast.Attribute) -> bool:
    if isinstance(outline.parents.get(node), ast.AugAssign):
        return True
    return isinstance(node.ctx, ast.Load) and not _only_stores(outline, node)


def _only_stores(outline: Outline, node: ast.AST) -> bool:
    for child, parent in outline.chain(node):
        above = outline.parents.get(parent)
        if isinstance(parent, ast.Subscript) and parent.value is child:
            if not isinstance(parent.ctx, ast.Load):
                return not isinstance(above, ast.AugAssign)
        elif isinstance(parent, ast.Attribute):
            called = isinstance(above, ast.Call) and above.func is parent
            if not called or parent.attr != "setdefault":
                stores = parent.attr in _STORES and isinstance(outline.parents.get(above or parent), ast.Expr)
                return called and stores
        elif isinstance(parent, ast.Compare):
            return all(isinstance(each, _BENIGN) for each in parent.ops)
        elif not (isinstance(parent, ast.Call) and parent.func is child):
            return isinstance(parent, ast.Call) and last(parent.func) in ("len", *FINALIZERS)
    return False
