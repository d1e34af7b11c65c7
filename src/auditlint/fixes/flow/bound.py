"""Whether a variable is sure to have a value, and to be a tensor, where a function that uses it is made."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from auditlint.fixes.flow.functions import is_parameter
from auditlint.fixes.flow.operands import bindings_of
from auditlint.fixes.flow.tree import FileTree, FunctionNode
from auditlint.fixes.flow.uses import caught
from auditlint.project.modules import TRY

# What asks what a value is, rather than what is in it.
_ASKING = frozenset(["isinstance", "hasattr", "getattr", "callable", "type", "is_tensor", "bool"])


def is_bound(file: FileTree, factory: FunctionNode, name: str, definition: ast.stmt) -> bool:
    """Whether a name of `factory` is sure to be bound wherever its statement `definition` is reached."""
    if any(isinstance(one, ast.Name) and one.id == name and isinstance(one.ctx, ast.Del) for one in ast.walk(factory)):
        return False
    if is_parameter(factory, name):
        return True
    return any(_binds(one, name) for one in _before(file, factory, definition))


def may_be_else(
    file: FileTree, factory: FunctionNode, hook: FunctionNode, name: str, call: ast.expr, definition: ast.stmt
) -> bool:
    """Whether a name may be None, or no tensor, where the hook is made: the hook asks, or somebody sets it to that."""
    if caught(file, call) or any(_asks(one, name) for one in ast.walk(hook)):
        return True
    if any(_settles(one, name) for one in _before(file, factory, definition)):
        return False
    if is_parameter(factory, name) and _optional(factory, name):
        return True
    return any(
        isinstance(one, (ast.Assign, ast.AnnAssign)) and one.value is not None and is_constant(one.value)
        for one in bindings_of(file, factory, name)
    )


def is_constant(value: ast.expr) -> bool:
    """Whether an expression may give a constant, which is no tensor: `None`, `vector if on else None`."""
    match value:
        case ast.Constant() | ast.UnaryOp(operand=ast.Constant()):
            return True
        case ast.IfExp(body=left, orelse=right):
            return is_constant(left) or is_constant(right)
        case ast.BoolOp(values=values):
            return is_constant(values[-1])
    return False


def _before(file: FileTree, factory: FunctionNode, definition: ast.stmt) -> Iterator[ast.AST]:
    """The statements of a function that are begun or done whenever `definition` is reached."""
    current: ast.AST = definition
    for above in file.above(definition):
        for block in _blocks(above):
            if current in block:
                yield from block[: block.index(current)]
        if above is factory:
            return
        if isinstance(above, (ast.If, ast.For, ast.AsyncFor, ast.With, ast.AsyncWith)):
            yield _head(above, current)
        current = above


def _head(statement: ast.If | ast.For | ast.AsyncFor | ast.With | ast.AsyncWith, child: ast.AST) -> ast.AST:
    """The part of a statement around `child` that has run before it: without its blocks."""
    if isinstance(statement, ast.If):
        return statement.test if child in statement.body else ast.Pass()
    if isinstance(statement, (ast.With, ast.AsyncWith)):
        return ast.With(statement.items, [], lineno=statement.lineno)
    return statement.target if child in statement.body else ast.Pass()


def _blocks(node: ast.AST) -> Iterator[Sequence[ast.AST]]:
    for field in ("body", "orelse", "finalbody"):
        block = getattr(node, field, None)
        if isinstance(block, list):
            yield block


def _binds(node: ast.AST, name: str) -> bool:
    """Whether a statement, or what is evaluated of one, binds a name or else leaves the function."""
    match node:
        case ast.Return() | ast.Raise():
            return True
        case ast.Assign(targets=targets):
            return any(_names(one, name) for one in targets)
        case ast.AnnAssign(target=target, value=value):
            return value is not None and _names(target, name)
        case ast.If(body=body, orelse=orelse):
            return _any_binds(body, name) and _any_binds(orelse, name)
        case ast.With(items=items, body=body) | ast.AsyncWith(items=items, body=body):
            bound = [one.optional_vars for one in items if one.optional_vars is not None]
            return any(_names(one, name) for one in bound) or _any_binds(body, name)
        case ast.Name() | ast.Tuple() | ast.List():
            return _names(node, name)
    if isinstance(node, TRY):
        handled = all(_any_binds(one.body, name) for one in node.handlers)
        return _any_binds(node.finalbody, name) or (_any_binds([*node.body, *node.orelse], name) and handled)
    return False


def _any_binds(block: Sequence[ast.stmt], name: str) -> bool:
    return any(_binds(one, name) for one in block)


def _names(target: ast.expr, name: str) -> bool:
    """Whether a name is what is bound, or a part of what is unpacked."""
    match target:
        case ast.Name(id=found, ctx=ast.Store()):
            return found == name
        case ast.Tuple(elts=elements) | ast.List(elts=elements):
            return any(_names(one, name) for one in elements)
        case ast.Starred(value=value):
            return _names(value, name)
    return False


def _settles(node: ast.AST, name: str) -> bool:
    """Whether what comes before the hook sees to it that a name is no None: `if vector is None: vector = ...`."""
    match node:
        case ast.If(test=test, body=body):
            return _asks_any(test, name) and _any_binds(body, name)
        case ast.Assert(test=test):
            return _asks_any(test, name)
        case ast.expr():  # the test of an `if` around the hook
            return _asks_any(node, name)
    return False


def _asks_any(test: ast.expr, name: str) -> bool:
    return _is(test, name) or any(_asks(one, name) for one in ast.walk(test))


def _asks(node: ast.AST, name: str) -> bool:
    """Whether a name is compared to None, asked for its type, or taken for true."""
    match node:
        case ast.Compare(left=left, comparators=[right], ops=[ast.Is() | ast.IsNot() | ast.Eq() | ast.NotEq()]):
            sides = (left, right)
            return any(_is(one, name) for one in sides) and any(isinstance(one, ast.Constant) for one in sides)
        case ast.Call(func=func, args=[argument, *_]):
            return _is(argument, name) and ast.unparse(func).rpartition(".")[2] in _ASKING
        case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test) | ast.Assert(test=test):
            return _is(test, name)
        case ast.BoolOp(values=values):
            return any(_is(one, name) for one in values)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return _is(operand, name)
        case ast.Match(subject=subject):
            return _is(subject, name)
    return False


def _is(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _optional(function: FunctionNode, name: str) -> bool:
    """Whether a parameter need not be given a tensor, by its default or its annotation."""
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults)) + [*arguments.defaults]
    for one, default in zip((*positional, *arguments.kwonlyargs), (*defaults, *arguments.kw_defaults), strict=True):
        if one.arg == name:
            said = ast.unparse(one.annotation) if one.annotation is not None else ""
            several = any(word in said for word in ("None", "Optional", "Union", "|"))
            return several or (default is not None and is_constant(default))
    return False
