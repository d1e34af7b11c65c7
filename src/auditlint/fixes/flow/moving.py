"""A tensor that a hook moves to the device at each call, as steering vectors are: moved once for each device."""

from __future__ import annotations

import ast
from itertools import pairwise
from typing import NamedTuple

from auditlint.fixes.flow.functions import is_parameter
from auditlint.fixes.flow.operands import bindings_of
from auditlint.fixes.flow.tree import FUNCTIONS, FileTree, FunctionNode


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
            return Move(node, name, definition, _doubts(file, factory, name))
    return f"`{name}` is no variable of a function around the hook, where it could be moved once"


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
    if not is_parameter(factory, name):
        return ()
    assert not isinstance(factory, ast.Lambda)
    given = _given(file, factory, name)
    if not given:
        return (f"whoever gives `{name}` may change it later, and copies on devices do not follow",)
    for function, argument in given:
        if isinstance(argument, ast.Name) and _changed(function or file.tree, argument.id):
            return (f"`{argument.id}` changes, and copies on devices do not follow",)
    return ()


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
