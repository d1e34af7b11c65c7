"""A tensor that a hook moves to the device at each call, as steering vectors are: moved once for each device."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from auditlint.fixes.flow import idioms
from auditlint.fixes.flow.bound import is_bound, is_constant, may_be_else
from auditlint.fixes.flow.functions import is_parameter
from auditlint.fixes.flow.operands import SAME_OR_ALIAS, bindings_of
from auditlint.fixes.flow.tree import FUNCTIONS, FileTree, FunctionNode

# Functions whose result has the memory of their argument.
_ALIASES = frozenset(["from_numpy", "as_tensor", "asarray", "frombuffer", "next", "getattr", "get", "pop"])


class Move(NamedTuple):
    """`name.to(...)` in a hook: the call, the variable, and the statement in front of which a cache is made."""

    call: ast.Call
    name: str
    definition: ast.stmt
    doubts: tuple[str, ...]


def move_of(file: FileTree, node: ast.expr) -> Move | str:
    """How to move the tensor of `name.to(device)` once for each device, or why that cannot be done here."""
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="to" | "cuda")):
            pass
        case ast.Call(func=ast.Attribute(value=ast.Attribute() as owner, attr="to" | "cuda")):
            return f"`{ast.unparse(owner)}` is no variable of a function around the hook; keep it on the device"
        case _:
            return "host data is made in the hook; make it on the device once, outside"
    if not all(_is_key(one) for one in (*node.args, *(one.value for one in node.keywords))):
        return "what it is moved to is no device or dtype that a cache could go by"
    around = [one for one in file.above(node) if isinstance(one, FUNCTIONS)]
    for inner, factory in pairwise(around):
        if _binds(file, factory, name) and not isinstance(factory, ast.Lambda):
            if _binds(file, inner, name):
                break
            definition = file.statement(inner)
            if definition is factory or file.function(definition) is not factory:
                break
            if not is_bound(file, factory, name, definition):
                return f"`{name}` may not be bound yet where the hook is made"
            if _may_be_else(file, factory, inner, name, node, definition):
                return f"`{name}` may be None or no tensor where the hook is made; move it there, once"
            return Move(node, name, definition, (*_doubts(file, factory, name), *_changes_copy(file, inner, node)))
    return f"`{name}` is no variable of a function around the hook, where it could be moved once"


def _may_be_else(
    file: FileTree, factory: FunctionNode, hook: FunctionNode, name: str, call: ast.expr, definition: ast.stmt
) -> bool:
    if may_be_else(file, factory, hook, name, call, definition):
        return True
    if isinstance(factory, ast.Lambda) or not is_parameter(factory, name):
        return False
    return any(
        is_constant(given) or (isinstance(given, ast.Name) and _is_constant_in(scope or file.tree, given.id))
        for scope, given in _given(file, factory, name)
    )


def _is_constant_in(scope: ast.AST, name: str) -> bool:
    return any(
        isinstance(one, ast.Assign) and is_constant(one.value) and any(_named(target, name) for target in one.targets)
        for one in ast.walk(scope)
    )


def _is_key(node: ast.expr) -> bool:
    match node:
        case ast.Attribute(attr="device" | "dtype"):
            return True
        case ast.Attribute(value=ast.Name(id="torch")) | ast.Constant():
            return True
    return False


def _binds(file: FileTree, function: FunctionNode, name: str) -> bool:
    return is_parameter(function, name) or bool(bindings_of(file, function, name))


def _doubts(file: FileTree, factory: FunctionNode, name: str) -> tuple[str, ...]:
    """Why the tensor may change after it was moved."""
    bindings = bindings_of(file, factory, name)
    if _changed(factory, name) or len(bindings) > (0 if is_parameter(factory, name) else 1):
        return (f"`{name}` changes, and copies on devices do not follow",)
    if _shared(file, factory, name, None):
        return (f"others have `{name}` too and may change it, and copies on devices do not follow",)
    if not is_parameter(factory, name):
        return () if _made_here(bindings) else (f"others may change `{name}`, and copies on devices do not follow",)
    assert not isinstance(factory, ast.Lambda)
    given = _given(file, factory, name)
    if not given:
        return (f"whoever gives `{name}` may change it later, and copies on devices do not follow",)
    for function, argument in given:
        scope = function or file.tree
        text = ast.unparse(argument)
        if isinstance(argument, ast.Name) and _changed(scope, text):
            return (f"`{text}` changes, and copies on devices do not follow",)
        if not _given_away(file, scope, argument, factory.name):
            return (f"others have `{text}` too and may change it, and copies on devices do not follow",)
    return ()


def _given_away(file: FileTree, scope: FunctionNode | ast.Module, argument: ast.expr, factory: str) -> bool:
    """Whether a factory alone has what it is given: a tensor made for it."""
    if not isinstance(argument, ast.Name):
        return _new(argument)
    bindings = [
        next(one for one in file.above(node) if isinstance(one, ast.stmt))
        for node in ast.walk(scope)
        if isinstance(node, ast.Name) and node.id == argument.id and isinstance(node.ctx, ast.Store)
    ]
    return _made_here(bindings) and not _shared(file, scope, argument.id, factory)


def _made_here(bindings: Sequence[ast.AST]) -> bool:
    """Whether a variable is bound once, to a tensor that nobody else has and nobody trains."""
    match bindings:
        case [ast.Assign(targets=[ast.Name()], value=value) | ast.AnnAssign(value=ast.expr() as value)]:
            return _new(value)
    return False


def _new(value: ast.expr) -> bool:
    """Whether an expression makes a tensor, rather than to give one that is there."""
    while isinstance(value, ast.Subscript):
        value = value.value  # `torch.load(path)["vector"]`
    match value:
        case ast.BinOp():
            return True
        case ast.Call(func=func, keywords=keywords):
            name = ast.unparse(func).rpartition(".")[2]
            trained = name == "Parameter" or any(one.arg in ("requires_grad", None) for one in keywords)
            if isinstance(func, ast.Attribute) and name in SAME_OR_ALIAS | {"cpu", "cuda", "data"}:
                return not trained and _new(func.value)
            return not trained and name not in _ALIASES
    return False


def _shared(file: FileTree, scope: ast.AST, name: str, factory: str | None) -> bool:
    """Whether a tensor gets another name, is kept, returned, or given to a function other than `factory`."""
    for node in ast.walk(scope):
        if not (isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load)):
            continue
        current: ast.AST = node
        above = file.parents[current]
        while isinstance(above, (ast.Tuple, ast.List, ast.Dict, ast.Starred, ast.keyword, ast.IfExp, ast.Set)):
            current, above = above, file.parents[above]
        match above:
            case ast.Return() | ast.Yield() | ast.YieldFrom() | ast.Assign() | ast.AnnAssign() | ast.NamedExpr():
                return True
            case ast.Lambda(body=body) if body is current:
                return True
            case ast.Call(func=func) if func is not current and ast.unparse(func).rpartition(".")[2] != factory:
                return True
            case ast.For(iter=iterated) | ast.comprehension(iter=iterated) if iterated is current:
                return True
    return False


def _changes_copy(file: FileTree, hook: FunctionNode, call: ast.Call) -> tuple[str, ...]:
    """Why the copy itself may change, which is a new one at each call as long as it is not kept."""
    doubt = (f"what `{ast.unparse(call)}` gives may be changed, and then stays so",)
    current: ast.expr = call
    while isinstance(above := file.parents[current], ast.Attribute):
        method = file.parents[above]
        in_place = above.attr.endswith("_") and not above.attr.startswith("_")
        if in_place or above.attr == "data" or not isinstance(above.ctx, ast.Load):
            return doubt
        if above.attr not in SAME_OR_ALIAS | {"unsqueeze", "expand", "transpose", "permute", "T"}:
            return ()
        current = method if isinstance(method, ast.Call) and method.func is above else above
    match above:
        case ast.BinOp() | ast.UnaryOp() | ast.Compare() | ast.AugAssign():
            return ()
        case ast.Call(func=func, keywords=keywords) if current is not func:
            plain = ast.unparse(func).rpartition(".")[0] in idioms.TENSOR_MODULES
            return () if plain and not any(one.arg == "out" for one in keywords) else doubt
        case ast.Assign(targets=[ast.Name(id=name)]):
            return doubt if _changed(hook, name) or _shared(file, hook, name, None) else ()
        case ast.Assign(targets=[ast.Subscript(slice=key)]):
            # A part of a tensor takes a copy of it; a dict keeps it.
            return () if any(isinstance(one, ast.Slice) for one in ast.walk(key)) else doubt
    return doubt


def _given(
    file: FileTree, factory: ast.FunctionDef | ast.AsyncFunctionDef, name: str
) -> list[tuple[FunctionNode | None, ast.expr]]:
    """What calls in this file give for a parameter, with the functions that the calls are in; [] where one hides it."""
    names = [one.arg for one in (*factory.args.posonlyargs, *factory.args.args)]
    found: list[tuple[FunctionNode | None, ast.expr]] = []
    for call in ast.walk(file.tree):
        if not isinstance(call, ast.Call) or ast.unparse(call.func).rpartition(".")[2] != factory.name:
            continue
        shift = 1 if isinstance(call.func, ast.Attribute) and names[:1] in (["self"], ["cls"]) else 0
        position = names.index(name) - shift if name in names else -1
        given = [one.value for one in call.keywords if one.arg == name]
        if not given and 0 <= position < len(call.args) and not any(isinstance(one, ast.Starred) for one in call.args):
            given = [call.args[position]]
        if not given:
            return []
        found.append((file.function(call), given[0]))
    return found


def _changed(scope: ast.AST, name: str) -> bool:
    """Whether anything in a scope writes into the tensor that goes by a name."""
    for node in ast.walk(scope):
        match node:
            case ast.AugAssign(target=target) if _named(target, name):
                return True
            case ast.Subscript(value=value, ctx=ast.Store() | ast.Del()) if _named(value, name):
                return True
            case ast.Attribute(value=value, attr=attr) if _named(value, name):
                in_place = attr.endswith("_") and not attr.startswith("_")
                if in_place or attr == "data" or isinstance(node.ctx, ast.Store):
                    return True
            case ast.Call(func=ast.Attribute(attr="Parameter"), args=[value, *_]) if _named(value, name):
                return True
            case ast.keyword(arg="out", value=value) if _named(value, name):
                return True
    return False


def _named(node: ast.expr, name: str) -> bool:
    while isinstance(node, ast.Subscript):
        node = node.value
    return isinstance(node, ast.Name) and node.id == name
