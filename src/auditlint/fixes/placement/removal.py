"""Where handles are removed, and where a container is read: the points when no run of the model is in sight."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from auditlint.fixes.placement.mentions import mentions
from auditlint.fixes.placement.points import block_of
from auditlint.fixes.placement.scopes import DEFS, Def, Outline, Scope, dotted, last, parameters
from auditlint.project.modules import TRY

_REMOVERS = {"remove_hooks", "remove_hook", "remove_handles", "clear_hooks", "reset_hooks", "unhook", "detach_hooks"}
_ENDS = {
    *("remove", "close", "exit", "release", "detach", "clean", "cleanup", "unhook", "unregister", "stop", "reset"),
    *("finish", "disable", "free", "shutdown", "clear", "teardown", "restore", "delete", "deactivate", "uninstall"),
}
_SILENT = {"__init__", "__new__", "__repr__", "__str__", "__del__", "__getstate__", "__setstate__", "__post_init__"}


def removals(outline: Outline, scope: Scope, behind: ast.AST | None = None) -> Iterator[tuple[str, ast.stmt]]:
    """Where a function removes handles, as ("first", function), ("before", statement), or ("after", a `with` block).

    `behind` is the registering call when it is in this function: what removes handles above it is for those of before.
    """
    found = [call for call in outline.calls_in(scope) if _removes(call)]
    if behind is not None:
        block = next((parent for child, parent in outline.chain(behind) if isinstance(child, ast.withitem)), None)
        if isinstance(block, ast.With):
            yield "after", block
            return
        found = [call for call in found if _position(call) > _position(behind)]
    elif isinstance(scope, DEFS) and found and not _ENDS.isdisjoint(scope.name.lower().split("_")):
        yield "first", scope
        return
    if isinstance(scope, DEFS) and scope.name in _SILENT:
        return
    seen: set[ast.stmt] = set()
    for call in found:
        statement = _removing(outline, call, scope)
        if statement is not None and statement not in seen:
            seen.add(statement)
            yield "before", statement


def is_like_a_hook(function: Def) -> bool:
    """Whether a function has the parameters of a hook: a table may hold it, where no call names it."""
    return not {"module", "output", "outputs", "grad", "grad_output"}.isdisjoint(parameters(function))


def is_about_hooks(outline: Outline, scope: Scope) -> bool:
    """Whether a function names a hook or a handle."""
    return any(part in last(node).lower() for node in outline.nodes(scope) for part in ("hook", "handle"))


def _removes(call: ast.Call) -> bool:
    name = last(call.func)
    if name == "remove" and isinstance(call.func, ast.Attribute):
        return not call.args and not call.keywords
    return name in _REMOVERS


def _removing(outline: Outline, call: ast.Call, scope: Scope) -> ast.stmt | None:
    """The first statement of the `finally` that removes, else the removal, with the loop over handles around it."""
    statement = outline.statement(call)
    handle = dotted(call.func)[:1]
    for child, parent in outline.chain(call):
        if parent is scope:
            break
        if isinstance(parent, TRY) and any(child is each for each in parent.finalbody):
            return parent.finalbody[0]
        if isinstance(parent, ast.For) and dotted(parent.target) == handle:
            statement = parent
    return statement


def _position(node: ast.AST) -> tuple[int, int]:
    return getattr(node, "lineno", 0), getattr(node, "col_offset", 0)


def reads(function: Def, path: tuple[str, ...]) -> bool:
    """Whether a function reads a container, other than to empty it."""
    return function.name not in _SILENT and any(
        mentions(statement, path, any_store=False) and not _only_empties(statement, path) for statement in function.body
    )


def _only_empties(statement: ast.stmt, path: tuple[str, ...]) -> bool:
    call = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(call, ast.Call) and dotted(call.func) in ((*path, "clear"), (*path, "append"))


def after_yield(outline: Outline, function: Scope, statement: ast.stmt) -> bool:
    """Whether a statement of a generator comes after its `yield`."""
    yields = [node for node in outline.nodes(function) if isinstance(node, (ast.Yield, ast.YieldFrom))]
    return not yields or (bool(block_of(outline, statement)) and _position(yields[0]) < _position(statement))
