"""Objects that read differently later: what a hook formats of them has to be formatted in the hook."""

from __future__ import annotations

import ast

from auditlint.fixes.flow.functions import is_outer
from auditlint.fixes.flow.holders import class_named, values_of
from auditlint.fixes.flow.operands import given_tensor
from auditlint.fixes.flow.tree import FileTree, FunctionNode

# Classes of libraries whose instances never change, or whose containers a deferred call copies.
_LASTING = frozenset(
    [
        "ChainMap", "Counter", "Decimal", "Fraction", "OrderedDict", "Path", "PurePath", "Tensor", "UserDict",
        "UserList", "UUID",
    ]
)  # fmt: skip
_DEEPEST = 4


def may_change(file: FileTree, node: ast.AST, hook: FunctionNode | None) -> bool:
    """Whether the variable or attribute `node` is known to be an object that others change: of a class, a module."""
    if not isinstance(node, (ast.Name, ast.Attribute)):
        return False
    return _may_change(file, file.function(node), node, hook, 0)


def turns_to_text(above: ast.AST, node: ast.expr) -> bool:
    """Whether `above` makes of `node` the text that an f-string makes of it, which can be made before."""
    match above:
        case ast.FormattedValue(value=value, conversion=-1 | 115, format_spec=None):
            return value is node
        case ast.Call(func=ast.Name(id="print"), args=args):
            return node in args
    return False


def _may_change(
    file: FileTree, function: FunctionNode | None, node: ast.expr, hook: FunctionNode | None, depth: int
) -> bool:
    match node:
        case ast.Name(id="self"):
            return True
        case ast.Name(id=name) if function is not None and function is hook and not is_outer(file, function, name):
            if _is_module(function, name):
                return True
        case ast.Call(func=ast.Name() | ast.Attribute() as func):
            return _is_class(file, func)
        case ast.Name() | ast.Attribute():
            pass
        case _:
            return False
    if depth > _DEEPEST:
        return False
    found = values_of(file, function, node)
    return any(_may_change(file, where, value, hook, depth + 1) for where, value in found if value is not node)


def _is_module(hook: FunctionNode, name: str) -> bool:
    """Whether a name is the first of several that torch gives to a hook: the module."""
    positional = [one.arg for one in (*hook.args.posonlyargs, *hook.args.args)]
    positional = positional[: len(positional) - len(hook.args.defaults)]
    if positional[:1] in (["self"], ["cls"]):
        del positional[0]
    return len(positional) > 1 and positional[0] == name and not given_tensor(hook, name)


def _is_class(file: FileTree, func: ast.expr) -> bool:
    """Whether a call makes an instance that may change: of a class, by its name."""
    name = ast.unparse(func).rpartition(".")[2]
    if class_named(file, func) is None and not (name[:1].isupper() and not name.isupper()):
        return False
    return name not in _LASTING
