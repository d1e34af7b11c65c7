"""Functions that a value passes through: which one a call runs, what its parameters are given, whose a name is."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from auditlint.diagnostics import Step
from auditlint.fixes.flow.operands import bindings_of
from auditlint.fixes.flow.tree import FUNCTIONS, FileTree, FunctionNode, Trees


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
            scopes = _scopes(file, call, name)
        case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=attr) if function is not None:
            cls = file.class_of(function)
            scopes = [cls.body] if cls is not None and not _replaced(file, cls, attr) else []
            name = attr
        case _:
            return None
    for body in scopes:
        found = [one for one in body if isinstance(one, ast.FunctionDef) and one.name == name]
        if found:
            return found[-1] if is_plain(found[-1]) and len(found) == 1 else None
    return None


def _scopes(file: FileTree, call: ast.Call, name: str) -> list[list[ast.stmt]]:
    """The bodies in which a name that is called may be defined; none where something else has that name."""
    found: list[list[ast.stmt]] = []
    for one in file.above(call):
        if isinstance(one, FUNCTIONS) and (is_parameter(one, name) or bindings_of(file, one, name)):
            return found
        if isinstance(one, (ast.FunctionDef, ast.Module)):
            found.append(one.body)
    bound = (node for node in file.parents if isinstance(node, ast.Name) and node.id == name)
    for node in bound:
        if isinstance(node.ctx, ast.Store):
            around = file.function(node)
            if around is None or is_outer(file, around, name):
                return found[:-1]
    return found


def _replaced(file: FileTree, cls: ast.ClassDef, name: str) -> bool:
    """Whether a method may be another one on the object at hand: a subclass has its own, or it is assigned."""
    kin = [cls]
    for one in kin:
        kin += [
            node
            for node in file.parents
            if isinstance(node, ast.ClassDef)
            and node not in kin
            and any(ast.unparse(base).rpartition(".")[2] == one.name for base in node.bases)
        ]
    return any(
        isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef)) and item.name == name
        for one in kin[1:]
        for item in one.body
    ) or any(
        isinstance(node, ast.Attribute) and node.attr == name and isinstance(node.ctx, ast.Store)
        for node in file.parents
    )


def is_plain(function: ast.FunctionDef) -> bool:
    """Whether no decorator changes what calling a function does."""
    return all(ast.unparse(one) in ("staticmethod", "classmethod") for one in function.decorator_list)


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
            for one in calls_of(where.tree, function.name)
            if one.lineno <= above.row <= (one.end_lineno or one.lineno)
        ]
        return (where, calls[0]) if len(calls) == 1 else None
    return None


def calls_of(scope: ast.AST, name: str) -> list[ast.Call]:
    """The calls, anywhere in a scope, of what goes by the name of a function or method."""
    return [
        one for one in ast.walk(scope) if isinstance(one, ast.Call) and ast.unparse(one.func).rpartition(".")[2] == name
    ]


class Returned(NamedTuple):
    """A function of `file` that gives the value back to `call` in the file `where` (None: it is not known)."""

    name: str
    file: FileTree
    where: FileTree
    call: ast.Call | None


def named_elsewhere(trees: Trees, returned: Returned, apart: ast.AST | None = None) -> bool:
    """Whether anything but that call names the function, what stands in `apart` left out."""
    name, file, where, call = returned
    inside = set() if apart is None else {id(node) for node in ast.walk(apart)}
    for one in {file.filename: file, where.filename: where}.values():
        for node in ast.walk(one.tree):
            named = (
                (isinstance(node, ast.Name) and node.id == name)
                or (isinstance(node, ast.Attribute) and node.attr == name)
                or (isinstance(node, ast.Constant) and node.value == name and _looked_up(one.parents[node]))
            )
            if named and (call is None or node is not call.func) and id(node) not in inside:
                return True
    return trees.used(name, file.filename, {file.filename, where.filename})


def _looked_up(above: ast.AST) -> bool:
    """Whether a string in `above` names an attribute: `getattr(recorder, "stat")`."""
    return isinstance(above, ast.Call) and ast.unparse(above.func).rpartition(".")[2] in ("getattr", "methodcaller")


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
                case ast.Call(func=ast.Attribute(attr="setdefault" | "get")):
                    return value
    return None


def reaches(file: FileTree, function: FunctionNode, name: str, since: ast.stmt | None, use: ast.expr) -> bool:
    """Whether what a statement binds to a local name may still be there where the name is read."""
    statement = file.statement(use)
    here = _start(statement)
    bound = [file.statement(one) if isinstance(one, ast.expr) else one for one in bindings_of(file, function, name)]
    others = [one for one in bound if isinstance(one, ast.stmt) and one is not since]
    before = (-1, -1) if since is None else _end(since)
    if since is None or here >= before:
        between = [one for one in others if before <= _start(one) and _end(one) <= here]
        return not any(_dominates(file, one, statement) for one in between)
    for loop in file.above(since):
        if loop is function:
            return False
        if isinstance(loop, (ast.For, ast.AsyncFor, ast.While)) and loop in file.above(use):
            # From one round to the next, unless the name is bound anew in between.
            above = [one for one in others if loop in file.above(one) and _end(one) <= here]
            return loop not in others and not any(_dominates(file, one, statement) for one in above)
    return False


def _start(statement: ast.stmt) -> tuple[int, int]:
    return statement.lineno, statement.col_offset


def _end(statement: ast.stmt) -> tuple[int, int]:
    return statement.end_lineno or statement.lineno, statement.end_col_offset or 0


def _dominates(file: FileTree, first: ast.stmt, second: ast.stmt) -> bool:
    """Whether a statement has run whenever another one below it runs: it stands in a block around that one."""
    if isinstance(first, (ast.AugAssign, ast.For, ast.AsyncFor, ast.With, ast.AsyncWith)):
        return False
    return file.parents[first] in file.above(second)
