"""Values that are wanted where the hook runs, and nowhere later: in a file that it opens, in the record of an error."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TypeGuard

from auditlint.fixes.flow import idioms
from auditlint.fixes.flow.functions import callee, parameter_for
from auditlint.fixes.flow.operands import bindings_of
from auditlint.fixes.flow.tree import FUNCTIONS, FileTree, FunctionNode
from auditlint.fixes.flow.uses import computes, report_kind


def unused(file: FileTree, root: ast.expr) -> str:
    """Why a computation whose result nobody takes is left alone; "" where somebody takes it."""
    current = root
    while (step := computes(file.parents[current], current)) is not None:
        current = step
    return "the result is not used" if current is not root and isinstance(file.parents[current], ast.Expr) else ""


def at_once(file: FileTree, root: ast.expr) -> str:
    """Why the value of `root` is wanted while the hook runs, by the names that it goes under in the file."""
    seen: set[tuple[FunctionNode, str]] = set()
    waiting: list[tuple[FunctionNode, ast.expr | None, str]] = []
    function = file.function(root)
    if function is not None:
        waiting.append((function, root, ""))
    while waiting:
        function, start, parameter = waiting.pop()
        key = (function, parameter or ast.unparse(start or root))
        if key in seen:
            continue
        seen.add(key)
        names = _names(function, start, parameter)
        for node in ast.walk(function):
            if _to_environment(node) and _holds(node.value, start, names):
                return "the environment takes text only, and at once"
            if isinstance(node, ast.Return) and node.value is not None and _holds(node.value, start, names):
                waiting += [(caller, call, "") for caller, call in _calls_of(file, function)]
            if not isinstance(node, ast.Call) or not (node is start or _holds(node, start, names)):
                continue
            reason = _reported(file, function, node) if report_kind(node) else ""
            if reason:
                return reason
            waiting += [(target, None, name) for target, name in _taken(file, node, start, names)]
    return ""


def _taken(
    file: FileTree, call: ast.Call, start: ast.expr | None, names: set[str]
) -> Iterator[tuple[FunctionNode, str]]:
    """The parameters of functions of the file that a call gives the value to."""
    target = callee(file, call)
    if target is None:
        return
    given: list[tuple[ast.AST, ast.expr]] = [(call, one) for one in call.args]
    given += [(one, one.value) for one in call.keywords]
    for above, value in given:
        name = parameter_for(call, target, above, value) if _holds(value, start, names) else None
        if name is not None:
            yield target, name


def _calls_of(file: FileTree, function: FunctionNode) -> Iterator[tuple[FunctionNode, ast.Call]]:
    for node in file.parents:
        if isinstance(node, ast.Call) and callee(file, node) is function:
            caller = file.function(node)
            if caller is not None:
                yield caller, node


def _to_environment(node: ast.AST) -> TypeGuard[ast.Assign]:
    return isinstance(node, ast.Assign) and any(
        isinstance(one, ast.Subscript) and ast.unparse(one.value).endswith("environ") for one in node.targets
    )


def _reported(file: FileTree, function: FunctionNode, call: ast.Call) -> str:
    """Why a report cannot be made after the pass, or may say something else then."""
    method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    named = next((one.value for one in call.keywords if one.arg == "file"), None)
    if isinstance(named, ast.Name) and bindings_of(file, function, named.id):
        return f"`{named.id}` is made in the hook, and the output goes there at once"
    inner: ast.AST = call
    for above in file.above(call):
        if above is function:
            break
        if isinstance(above, ast.ExceptHandler) and method in idioms.LOG_METHODS:
            return "the record tells of the error that is handled there"
        if isinstance(above, (ast.With, ast.AsyncWith)) and inner in above.body:
            for item in above.items:
                entered = ast.unparse(item.context_expr)
                if "open(" in entered:
                    return "the file is open in the hook only"
                if not entered.startswith("torch."):
                    return f"`with {entered}` is over after the pass"
        inner = above
    if isinstance(call.func, ast.Attribute) and method in idioms.SCALAR_WRITERS:
        return _counted(file, function, call.func.value, method)
    return ""


def _counted(file: FileTree, function: FunctionNode, receiver: ast.expr, method: str) -> str:
    """Why a writer's method may do something else after the pass; "" for one that is taken for a library's."""
    text = ast.unparse(receiver)
    for node in file.parents:
        if isinstance(node, FUNCTIONS) and not isinstance(node, ast.Lambda) and node.name == method:
            return f"`{method}()` is a function of this file, which may look at what is so only now"
    for node in ast.walk(function):
        match node:
            case ast.Attribute(value=value, attr=attr) if attr != method and ast.unparse(value) == text:
                return f"the hook does more with `{text}` than to add values"
    return ""


def _names(function: FunctionNode, root: ast.expr | None, parameter: str) -> set[str]:
    """The variables and attributes of a function that the value is bound to, or that are computed from it."""
    found = {parameter} if parameter else set()
    before = -1
    while len(found) > before:
        before = len(found)
        for node in ast.walk(function):
            for target, value in _bindings(node):
                if isinstance(target, (ast.Name, ast.Attribute)) and _holds(value, root, found):
                    found.add(ast.unparse(target))
    return found


def _bindings(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    match node:
        case ast.Assign(targets=targets, value=value):
            for target in targets:
                parts = target.elts if isinstance(target, (ast.Tuple, ast.List)) else [target]
                yield from ((part, value) for part in parts)
        case ast.AnnAssign(target=target, value=ast.expr() as value) | ast.AugAssign(target=target, value=value):
            yield target, value
        case ast.NamedExpr(target=target, value=value):
            yield target, value


def _holds(node: ast.expr, root: ast.expr | None, names: set[str]) -> bool:
    """Whether the value is in an expression, itself or by a name."""
    return any(
        one is root or (isinstance(one, (ast.Name, ast.Attribute)) and ast.unparse(one) in names)
        for one in ast.walk(node)
    )
