"""Who may look at a container before it is finalized, besides the code around the place: what is called back or around.

What is found here makes a fix unsafe; it does not move the place.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Sequence

from auditlint.fixes.placement.mentions import EVERYWHERE, looking, looks, name_of
from auditlint.fixes.placement.origins import File, Named
from auditlint.fixes.placement.points import Point
from auditlint.fixes.placement.scopes import DEFS, Def, Outline, Scope, dotted, last

# What calls a function when the program ends.
_AT_EXIT = (("atexit", "register"), ("weakref", "finalize"))

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


def _handed_on(outline: Outline, paths: Paths, points: Sequence[Point]) -> Iterator[Def | ast.Lambda]:
    """The functions that look at the container and are arguments of a call: somebody calls them at some time."""
    names = looking(outline, paths) - EVERYWHERE
    by_name = {name_of(outline, each): each for each in outline.functions if name_of(outline, each) in names}
    for calls in outline.calls.values():
        for call in calls:
            if dotted(call.func) in _AT_EXIT or "hook" in last(call.func) or _is_behind(outline, call, points):
                continue
            for given in _given(call):
                if isinstance(given, ast.Lambda):
                    if any(looks(outline, ast.walk(given), path) for path in paths):
                        yield given
                elif last(given) in by_name:
                    yield by_name[last(given)]


def _is_behind(outline: Outline, call: ast.Call, points: Sequence[Point]) -> bool:
    """Whether a call stands below all the places of its function."""
    scope = outline.function(call)
    here = [point for point in points if outline.function(point.node) is scope]
    return bool(here) and all((point.node.end_lineno or 0) < call.lineno for point in here)


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
