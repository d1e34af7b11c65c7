"""Whether a container is sure to be there where a statement would finalize it, and that is sure to run."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator, Sequence

from auditlint.fixes.placement import models
from auditlint.fixes.placement.mentions import looking, looks
from auditlint.fixes.placement.origins import Named
from auditlint.fixes.placement.points import FLUSH, Point, block_of, container_of, inside_of
from auditlint.fixes.placement.scopes import Outline, Scope, last
from auditlint.project.modules import TRY

_LOOPS = (ast.For, ast.AsyncFor)
_WITHS = (ast.With, ast.AsyncWith)


def is_there(home: Named | None) -> bool:
    """Whether an instance has the container from the start, where it is an attribute."""
    if home is None:
        return True
    file, where = home
    if not isinstance(where.scope, ast.ClassDef) or not where.path:
        return True
    outline, name = file.outline, where.path[0]
    if any(_in_body(outline, cls, name) for cls in outline.family(where.scope)):
        return True
    begin = [each for each in outline.methods(where.scope) if each.name == "__init__"]
    for method in begin:
        for call in outline.calls_in(method):
            function = models.called(outline, call, method)
            if function is not None and function not in begin and len(begin) < 20 and _always(outline, call, method):
                begin.append(function)
    return any(
        method in begin and name == each and _always(outline, value, method)
        for method, each, value in outline.set_attributes(where.scope)
    )


def _in_body(outline: Outline, cls: ast.ClassDef, name: str) -> bool:
    """Whether a class's body gives a name a value, or declares it for what makes the constructor."""
    for binding in outline.names(cls).bound.get(name, ()):
        declared = isinstance(binding.node, ast.AnnAssign) and binding.value is None
        if _always(outline, binding.node, cls) and not (declared and not cls.decorator_list and not cls.bases):
            return True
    return False


def _always(outline: Outline, node: ast.AST, scope: Scope) -> bool:
    """Whether a node of a scope's own code is under no condition: in no branch, no loop, no `try` that handles."""
    statement = outline.statement(node)
    if statement is None or isinstance(statement, (*_LOOPS, ast.If, ast.While)):
        return False
    for child, parent in outline.chain(statement):
        if parent is scope:
            return True
        plain = isinstance(parent, TRY) and not parent.handlers and not any(child is each for each in parent.orelse)
        if not plain and not isinstance(parent, _WITHS):
            return False
    return False


def is_bound(outline: Outline, scope: Scope, path: tuple[str, ...], point: Point) -> bool:
    """Whether the first name of `path` is sure to be bound where a point is, as far as the file tells."""
    name = path[0]
    binder = outline.binder(name, scope)
    if binder is None:  # a builtin, or what a star import brings, unless some function makes a global of it
        return not any(name in outline.names(each).module for each in outline.functions)
    if _bound_above(outline, scope, name, point.node):
        return True
    if binder is scope:
        return False
    # Functions run later than the code around them: what that binds in any case is there, before or below.
    if any(_always(outline, each.node, binder) for each in outline.names(binder).bound.get(name, ())):
        return True
    around = next((child for child, parent in outline.chain(scope) if outline.function(child) is binder), None)
    return _bound_above(outline, binder, name, around)


def _bound_above(outline: Outline, scope: Scope, name: str, node: ast.AST | None) -> bool:
    """Whether a scope binds a name in a parameter, or in a statement that stands above a node or around it."""
    bindings = [each.node for each in outline.names(scope).bound.get(name, ())]
    if any(isinstance(each, ast.arguments) for each in bindings):
        return True
    if node is None:
        return False
    return any(each is not None and _precedes(outline, each, node, scope) for each in map(outline.statement, bindings))


def _precedes(outline: Outline, first: ast.stmt, node: ast.AST, scope: Scope) -> bool:
    """Whether a statement is done (or, a loop, on its way) whenever a node below it in its block is reached."""
    for each in (node, *(parent for _, parent in outline.chain(node))):
        if each is scope:
            return False
        if each is first:
            return True
        block = block_of(outline, each)
        if any(other is first for other in block):
            at = next(number for number, other in enumerate(block) if other is first)
            here = next(number for number, other in enumerate(block) if other is each)
            return at < here and not isinstance(first, _LOOPS)
    return False


def is_registered(outline: Outline, scope: Scope, sites: Sequence[ast.AST], point: Point) -> bool:
    """Whether hooks are registered above a point whenever it is reached; a loop counts as run."""
    return any(_is_before(outline, site, point.node, scope) for site in sites)


def _is_before(outline: Outline, site: ast.AST, node: ast.AST, scope: Scope) -> bool:
    outer: ast.AST | None = outline.statement(site)
    branch = False
    for _, parent in outline.chain(site):
        if parent is scope:
            break
        if isinstance(parent, _LOOPS):
            outer, branch = parent, False  # `for layer in model: if ...: register`: for some layers it will
        elif isinstance(parent, (*_WITHS, *TRY)) and not branch:
            outer = parent
        elif isinstance(parent, ast.stmt) and parent is not outer:
            branch = True
    around = {node, *(parent for _, parent in outline.chain(node))}
    return outer is not None and (outer in around or any(each in around for each in block_of(outline, outer)))


def is_skipped(outline: Outline, point: Point) -> bool:
    """Whether an error that is handled further out leaves out what finalizes, and what is stored is used after it."""
    if point.code == FLUSH or point.where == "first":
        return False
    path = tuple(container_of(point.code).split("."))
    name = path[0]
    scope = outline.function(point.node)
    around = [*_around(outline, point.node, scope)]
    if any(_catches(outline, *each) and _is_known_outside(outline, scope, name, each[1]) for each in around):
        return True
    guards = [guard for each in around if (guard := _guarding(*each)) is not None]
    if any(_looks_behind(outline, guard, path) for guard in guards):
        return True
    return not _is_own(outline, scope, name) and _is_caught(outline, scope)


def is_handled(outline: Outline, point: Point) -> bool:
    """Whether the file handles errors that what a point puts there may raise."""
    scope = outline.function(point.node)
    return any(_catches(outline, *each) for each in _around(outline, point.node, scope)) or _is_caught(outline, scope)


def _is_own(outline: Outline, scope: Scope, name: str) -> bool:
    """Whether a function makes what it has under a name, rather than to be given it or to find it outside."""
    bound = outline.names(scope).bound.get(name, ())
    return outline.binder(name, scope) is scope and not any(isinstance(each.node, ast.arguments) for each in bound)


def _looks_behind(outline: Outline, statement: ast.Try, path: tuple[str, ...]) -> bool:
    """Whether what runs after an error looks at a container, itself or in a function that it calls."""
    after = [*statement.handlers, *statement.finalbody]
    nodes = [node for each in after for node in ast.walk(each)]
    names = looking(outline, frozenset([path]))
    return looks(outline, nodes, path) or any(isinstance(n, ast.Call) and last(n.func) in names for n in nodes)


def _catches(outline: Outline, child: ast.AST, parent: ast.AST) -> bool:
    """Whether errors in `child` are handled by the statement around it."""
    guard = _guarding(child, parent)
    return _suppresses(outline, parent) or (guard is not None and _handles(guard))


def _guarding(child: ast.AST, parent: ast.AST) -> ast.Try | None:
    """The `try` around a statement of its body."""
    return parent if isinstance(parent, TRY) and any(child is each for each in parent.body) else None


def _around(outline: Outline, node: ast.AST, scope: Scope) -> Iterator[tuple[ast.AST, ast.AST]]:
    """What is around a node in its function, from the inside, each with the part of it that the node is in."""
    return itertools.takewhile(lambda pair: pair[1] is not scope, outline.chain(node))


def _is_caught(outline: Outline, scope: Scope, depth: int = 3) -> bool:
    """Whether errors in a function are handled by one of the file that calls it."""
    name = getattr(scope, "name", "")
    for call in outline.calls.get(name, ()) if name and depth else ():
        caller = outline.function(call)
        if any(_catches(outline, *each) for each in _around(outline, call, caller)):
            return True
        if caller is not scope and _is_caught(outline, caller, depth - 1):
            return True
    return False


def _handles(statement: ast.Try) -> bool:
    return any(not isinstance(each.body[-1], ast.Raise) for each in statement.handlers)


def _suppresses(outline: Outline, statement: ast.AST) -> bool:
    """Whether a `with` block may go on after an error: by its name, or by what the file defines under it."""
    items = statement.items if isinstance(statement, (ast.With, ast.AsyncWith)) else []
    for item in items:
        name = last(item.context_expr.func if isinstance(item.context_expr, ast.Call) else item.context_expr)
        if name in ("suppress", "raises"):
            return True
        if any(_is_named(each, name) and any(map(_handles, _tries(each))) for each in outline.functions):
            return True
        methods = outline.methods(outline.classes[name]) if name in outline.classes else []
        if any(method.name in ("__exit__", "__aexit__") and _gives(method) for method in methods):
            return True
    return False


def _is_named(function: ast.AST, name: str) -> bool:
    return bool(name) and getattr(function, "name", "") == name


def _tries(function: ast.AST) -> Iterator[ast.Try]:
    return (node for node in ast.walk(function) if isinstance(node, TRY) and node.handlers)


def _gives(method: ast.AST) -> bool:
    """Whether a method may return something that is true."""
    values = (node.value for node in ast.walk(method) if isinstance(node, ast.Return))
    return any(value is not None and not (isinstance(value, ast.Constant) and not value.value) for value in values)


def _is_known_outside(outline: Outline, scope: Scope, name: str, statement: ast.AST) -> bool:
    """Whether a variable is seen by more than one statement of the function that binds it."""
    if not _is_own(outline, scope, name):
        return True
    inside = {*inside_of(statement)}
    return any(isinstance(each, ast.Name) and each.id == name and each not in inside for each in outline.nodes(scope))
