"""Functions that a value passes through: which one a call runs, what its parameters are given, whose a name is."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from auditlint.diagnostics import Step
from auditlint.fixes.flow.operands import bindings_of
from auditlint.fixes.flow.tree import FileTree, FunctionNode, Trees


def is_outer(file: FileTree, function: FunctionNode, name: str) -> bool:
    """Whether a name that a function uses belongs to a scope around it."""
    for node in ast.walk(function):
        if isinstance(node, (ast.Global, ast.Nonlocal)) and name in node.names and file.function(node) is function:
            return True
    return not is_parameter(function, name) and not bindings_of(file, function, name)


def is_parameter(function: FunctionNode, name: str) -> bool:
    arguments = function.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    return any(one is not None and one.arg == name for one in every)


def parameter_for(call: ast.Call, function: FunctionNode, above: ast.AST, node: ast.expr) -> str | None:
    """The parameter that takes an argument of a call."""
    if isinstance(above, ast.keyword):
        names = [one.arg for one in (*function.args.args, *function.args.kwonlyargs)]
        return above.arg if above.arg in names else None
    if node not in call.args or any(isinstance(one, ast.Starred) for one in call.args):
        return None
    positional = _positional(call, function)
    position = call.args.index(node)
    return positional[position] if position < len(positional) else None


def argument_for(call: ast.Call, function: FunctionNode, name: str) -> ast.expr | None:
    """The argument of a call that a parameter takes."""
    for one in call.keywords:
        if one.arg == name:
            return one.value
    positional = _positional(call, function)
    if name not in positional or any(isinstance(one, ast.Starred) for one in call.args):
        return None
    position = positional.index(name)
    return call.args[position] if position < len(call.args) else None


def _positional(call: ast.Call, function: FunctionNode) -> list[str]:
    names = [one.arg for one in (*function.args.posonlyargs, *function.args.args)]
    bound = isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name)
    if bound and names[:1] in (["self"], ["cls"]):
        del names[0]
    return names


def callee(file: FileTree, call: ast.Call) -> ast.FunctionDef | None:
    """The function of this file that a call runs: a method of the same class, or a plain function."""
    function = file.function(call)
    match call.func:
        case ast.Name(id=name):
            scopes = [one.body for one in file.above(call) if isinstance(one, (ast.FunctionDef, ast.Module))]
        case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name) if function is not None:
            cls = file.class_of(function)
            scopes = [cls.body] if cls is not None else []
        case _:
            return None
    for body in scopes:
        found = [one for one in body if isinstance(one, ast.FunctionDef) and one.name == name]
        if found:
            return found[-1] if is_plain(found[-1]) and len(found) == 1 else None
    return None


def is_plain(function: ast.FunctionDef) -> bool:
    """Whether no decorator changes what calling a function does."""
    return all(ast.unparse(one) in ("staticmethod", "classmethod") for one in function.decorator_list)


def only_keeps(file: FileTree, name: str) -> bool:
    """Whether calling `name` only puts its arguments into an object: a dataclass or a named tuple of this file."""
    for one in file.tree.body:
        if isinstance(one, ast.ClassDef) and one.name == name:
            methods = {item.name for item in one.body if isinstance(item, ast.FunctionDef)}
            bases = {ast.unparse(base).rpartition(".")[2] for base in one.bases}
            made = any("dataclass" in ast.unparse(item) for item in one.decorator_list)
            return not methods & {"__init__", "__post_init__", "__new__"} and (made or bool(bases & {"NamedTuple"}))
    return False


def call_on_path(
    trees: Trees, path: Sequence[Step], file: FileTree, function: ast.FunctionDef
) -> tuple[FileTree, ast.Call] | None:
    """The call, in the step before, that leads to `function` on the way from the hook."""
    for above, step in pairwise(path):
        if step.filename != file.filename or step.name.rpartition(".")[2] != function.name:
            continue
        where = trees.file(above.filename)
        if where is None:
            return None
        calls = [
            one
            for one in ast.walk(where.tree)
            if isinstance(one, ast.Call)
            and one.lineno <= above.row <= (one.end_lineno or one.lineno)
            and ast.unparse(one.func).rpartition(".")[2] == function.name
        ]
        return (where, calls[0]) if len(calls) == 1 else None
    return None


class Returned(NamedTuple):
    """A function of `file` that gives the value back to `call` in the file `where`."""

    name: str
    file: FileTree
    where: FileTree
    call: ast.Call


def named_elsewhere(trees: Trees, returned: Returned) -> bool:
    """Whether anything but that call names the function."""
    name, file, where, call = returned
    for one in {file.filename: file, where.filename: where}.values():
        for node in ast.walk(one.tree):
            named = (isinstance(node, ast.Name) and node.id == name) or (
                isinstance(node, ast.Attribute) and node.attr == name
            )
            if named and node is not call.func:
                return True
    return trees.used(name, file.filename, {file.filename, where.filename})


def origin(file: FileTree, function: FunctionNode, name: str) -> ast.expr | None:
    """What a local name is another name for: `entry = self.stats[key]`; None for a container made here."""
    bindings = bindings_of(file, function, name)
    if len(bindings) != 1:
        return None
    match bindings[0]:
        case ast.Assign(targets=[ast.Name()], value=value) | ast.AnnAssign(value=ast.expr() as value):
            match value:
                case ast.Attribute() | ast.Subscript() | ast.Name():
                    return value
                case ast.Call(func=ast.Attribute(value=owner, attr="setdefault" | "get")):
                    return owner
    return None


def reaches(file: FileTree, function: FunctionNode, name: str, since: ast.stmt | None, use: ast.expr) -> bool:
    """Whether what a statement binds to a local name may still be there where the name is read."""
    statement = file.statement(use)
    bound = [file.statement(one) if isinstance(one, ast.expr) else one for one in bindings_of(file, function, name)]
    others = [one for one in bound if isinstance(one, ast.stmt) and one is not since]
    before = -1 if since is None else since.end_lineno or since.lineno
    if since is None or statement.lineno > before:
        between = [one for one in others if before < one.lineno and (one.end_lineno or 0) < statement.lineno]
        return not any(_dominates(file, one, statement) for one in between)
    for loop in file.above(since):
        if loop is function:
            return False
        if isinstance(loop, (ast.For, ast.AsyncFor, ast.While)) and loop in file.above(use):
            # From one round to the next, unless the name is bound anew in between.
            above = [one for one in others if loop in file.above(one) and (one.end_lineno or 0) < statement.lineno]
            return loop not in others and not any(_dominates(file, one, statement) for one in above)
    return False


def _dominates(file: FileTree, first: ast.stmt, second: ast.stmt) -> bool:
    """Whether a statement has run whenever another one below it runs: it stands in a block around that one."""
    if isinstance(first, (ast.AugAssign, ast.For, ast.AsyncFor, ast.With, ast.AsyncWith)):
        return False
    return file.parents[first] in file.above(second)
