"""Who may look at a container before it is finalized, besides the code around the place: what is called back or around.

What is found here makes a fix unsafe; it does not move the place.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Sequence

from auditlint.fixes.placement.mentions import EVERYWHERE, looking, looks, name_of
from auditlint.fixes.placement.origins import File, Named
from auditlint.fixes.placement.points import Point
from auditlint.fixes.placement.scopes import DEFS, Def, Outline, Scope, dotted, last, own

# Special methods that run when an object is made, which is before the pass; any other may run anywhere.
_MAKING = {"__init__", "__new__", "__post_init__", "__init_subclass__", "__set_name__"}
# Decorators that leave it to callers when a function runs.
_PLAIN = {"staticmethod", "classmethod", "property", "cached_property", "contextmanager", "asynccontextmanager"}
_PLAIN |= {"no_grad", "inference_mode", "enable_grad", "wraps", "lru_cache", "cache", "override", "final", "audit_hook"}

Paths = frozenset[tuple[str, ...]]


def paths_in(file: File, home: Named | None) -> Paths:
    """How a container may be written in a file, whatever the objects are called that it belongs to."""
    if home is None or not home.place.path:
        return frozenset()
    name = home.place.path[0]
    if isinstance(home.place.scope, ast.ClassDef):
        return frozenset([("", name)])
    if isinstance(home.place.scope, ast.Module):
        return frozenset([(name,), ("", name)] if file is not home.file else [(name,)])
    return frozenset([home.place.path]) if file is home.file else frozenset()


def readers_elsewhere(files: Sequence[File], file: File, home: Named | None) -> frozenset[str]:
    """The functions of the other files that look at the values in a container."""
    return frozenset().union(*(looking(one.outline, paths_in(one, home)) for one in files if one is not file))


def exposed(files: Sequence[File], home: Named | None, inner: Collection[ast.AST], points: Sequence[Point]) -> str:
    """Why a container may be looked at before `points` have finalized it; "" when nothing speaks for that.

    `inner` are the functions that run in the pass anyway.
    """
    for file in files:
        paths = paths_in(file, home)
        if not paths:
            continue
        here = [point for point in points if point.filename == file.filename]
        scopes = {scope for point in here for scope in _around(file.outline, point)}
        for function in file.outline.functions:
            goes_on = _is_generator(function) and not _is_called_at(file.outline, function, here)
            if function in inner or function in scopes or not (_is_special(function) or goes_on):
                continue
            if any(looks(file.outline, ast.walk(function), path) for path in paths):
                return f"`{name_of(file.outline, function)}` reads it, and may go on in between"
        for function in _handed_on(file.outline, paths, here):
            if function not in inner and function not in scopes:
                said = name_of(file.outline, function) or "a lambda"
                return f"`{said}` is handed on, and may read it before"
        for scope in scopes:
            for decorator in scope.decorator_list if isinstance(scope, DEFS) else ():
                called = decorator.func if isinstance(decorator, ast.Call) else decorator
                if last(called) in looking(file.outline, paths):
                    return f"`{ast.unparse(called)}` is around it, and reads it"
    return ""


def _around(outline: Outline, point: Point) -> Iterator[Scope]:
    node: ast.AST = point.node
    if point.where == "first" and isinstance(node, DEFS):
        yield node
    while not isinstance(node, ast.Module):
        node = outline.scope(node)
        assert isinstance(node, (*DEFS, ast.Lambda, ast.ClassDef, ast.Module))
        yield node


def given_away(files: Sequence[File], home: Named | None) -> bool:
    """Whether a function returns the container itself: others may have it under any name then."""
    for file in files:
        paths = paths_in(file, home)
        for node in file.outline.parents if paths else ():
            if isinstance(node, ast.Return) and node.value is not None:
                path = dotted(node.value)
                if path in paths or ("", *path[-1:]) in paths:
                    return True
    return False


def _is_generator(function: Def | ast.Lambda) -> bool:
    decorators = function.decorator_list if isinstance(function, DEFS) else ()
    if any(last(each).endswith("contextmanager") for each in decorators):
        return False
    return any(isinstance(node, (ast.Yield, ast.YieldFrom)) for node in own(function))


def _is_called_at(outline: Outline, function: Def | ast.Lambda, points: Sequence[Point]) -> bool:
    """Whether a generator is called where a point is: what goes on with it there has been seen."""
    scopes = [outline.function(point.node) for point in points]
    return any(outline.function(call) in scopes for call in outline.calls.get(name_of(outline, function), ()))


def _is_special(function: Def | ast.Lambda) -> bool:
    name = function.name if isinstance(function, DEFS) else ""
    return name.startswith("__") and name.endswith("__") and name not in _MAKING


def _handed_on(outline: Outline, paths: Paths, points: Sequence[Point]) -> Iterator[Def | ast.Lambda]:
    """The functions that look at the container and that somebody calls at some time: arguments, entries of tables."""
    names = looking(outline, paths) - EVERYWHERE
    by_name = {name_of(outline, each): each for each in outline.functions if name_of(outline, each) in names}
    for function in by_name.values():
        decorators = function.decorator_list if isinstance(function, DEFS) else ()
        if any(last(each.func if isinstance(each, ast.Call) else each) not in _PLAIN for each in decorators):
            yield function
    for node, parent in outline.parents.items() if by_name else ():
        if not isinstance(parent, (ast.Dict, ast.List, ast.Tuple, ast.Set)) or not isinstance(node, ast.expr):
            continue
        read = isinstance(getattr(node, "ctx", None), ast.Load) and last(node) in by_name
        if read and not _is_behind(outline, node, points):
            yield by_name[last(node)]
    for calls in outline.calls.values():
        for call in calls:
            if "hook" in last(call.func) or _is_behind(outline, call, points):
                continue
            for given in _given(call):
                if isinstance(given, ast.Lambda):
                    if any(looks(outline, ast.walk(given), path) for path in paths):
                        yield given
                elif last(given) in by_name:
                    yield by_name[last(given)]


def _is_behind(outline: Outline, node: ast.expr, points: Sequence[Point]) -> bool:
    """Whether an expression stands below all the places of its function."""
    scope = outline.function(node)
    here = [point for point in points if outline.function(point.node) is scope]
    return bool(here) and all((point.node.end_lineno or 0) < node.lineno for point in here)


def _given(call: ast.Call) -> Iterator[ast.expr]:
    stack: list[ast.expr] = [*call.args, *(keyword.value for keyword in call.keywords)]
    while stack:
        node = stack.pop()
        if isinstance(node, (ast.Tuple, ast.List)):
            stack.extend(node.elts)
        elif isinstance(node, ast.Call) and last(node.func) == "partial":
            stack.extend(node.args[:1])
        elif isinstance(node, (ast.Name, ast.Attribute, ast.Lambda)):
            yield node
