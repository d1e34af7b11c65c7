"""What may be put off: names that mean the same when a lambda runs later, and computations that must not wait."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Collection, Iterator
from functools import lru_cache

from auditlint.fixes.flow import idioms
from auditlint.fixes.flow.result import Rewrite
from auditlint.fixes.flow.tree import FileTree
from auditlint.fixes.placement.scopes import outline

_ONCE = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign)
# Functions of numpy and of `operator` that call one of their arguments.
_CALLERS = frozenset(
    ["apply_along_axis", "apply_over_axes", "call", "frompyfunc", "fromfunction", "piecewise", "vectorize"]
)

# Python's functions that do nothing but look at what they are given.
_LOOKING = frozenset(["abs", "bool", "float", "int", "len", "round", "str", "type"])


def is_builtin(file: FileTree, name: ast.Name) -> bool:
    """Whether a name is Python's own: no scope around it binds it, and no star import may."""
    names = outline(file.tree)
    unbound = names.binder(name.id, names.scope(name)) is None
    return unbound and hasattr(builtins, name.id) and not _has_star(file.tree)


def is_lasting(file: FileTree, name: ast.Name, *, modules: bool = False) -> bool:
    """Whether a lambda finds the same under a name whenever it runs; with `modules`, an import and nothing else."""
    if is_builtin(file, name):
        return not modules
    names = outline(file.tree)
    if names.binder(name.id, names.scope(name)) is not file.tree or name.id in _declared(file.tree):
        return False
    bound = names.names(file.tree).bound.get(name.id, ())
    if len(bound) != 1 or bound[0].node not in file.tree.body:
        return False
    return isinstance(bound[0].node, (ast.Import, ast.ImportFrom) if modules else _ONCE)


@lru_cache(maxsize=8)
def _has_star(tree: ast.Module) -> bool:
    return any(isinstance(node, ast.ImportFrom) and node.names[0].name == "*" for node in ast.walk(tree))


@lru_cache(maxsize=8)
def _declared(tree: ast.Module) -> frozenset[str]:
    """The module's names that functions may bind."""
    return frozenset(name for node in ast.walk(tree) if isinstance(node, ast.Global) for name in node.names)


def unready(rewrite: Rewrite) -> str:
    """Why what a rewrite puts off would not be the same later, or not at all; "" when it would."""
    if isinstance(rewrite.node, ast.If) and not _reports_plainly(rewrite.node, rewrite.leaves):
        return "what it reports is computed by calls, which would be made in each call of the hook"
    opened = {one for leaf in rewrite.leaves for one in rewrite.file.above(leaf)}
    for node in ast.walk(rewrite.node):
        if node is not rewrite.node and node not in opened:
            continue  # it is evaluated in the hook
        if isinstance(node, ast.Call):
            for said, function in _called_back(node):
                if not _closed(rewrite.file, function):
                    return f"{said} would run later"
        if isinstance(node, ast.Compare) and not all(map(_harmless, node.comparators[1:])):
            return "the comparison may stop before its last part in the hook"
    return ""


def may_raise(node: ast.AST) -> bool:
    """Whether a computation with numbers may raise: it divides by one that may be zero, or asks `math` for a value."""
    for one in ast.walk(node):
        match one:
            case ast.BinOp(op=ast.Div() | ast.FloorDiv() | ast.Mod() | ast.Pow(), right=right):
                if not (isinstance(right, ast.Constant) and right.value):
                    return True
            case ast.Call(func=ast.Attribute(value=ast.Name(id="math" | "cmath" | "statistics"))):
                return True
    return False


def _reports_plainly(guard: ast.If, leaves: Collection[ast.expr]) -> bool:
    """Whether a report can be prepared whatever the test says: no call in its arguments does anything else."""
    match guard.body[0]:
        case ast.Expr(value=ast.Call(args=args, keywords=keywords)):
            parts = [*args, *(one.value for one in keywords)]
            calls = [one for part in parts for one in ast.walk(part) if isinstance(one, ast.Call)]
            return all(one in leaves or _harmless(one) for one in calls)
    return False


def _called_back(call: ast.Call) -> Iterator[tuple[str, ast.expr]]:
    """The arguments that a call calls itself, with what to say of them."""
    name = ast.unparse(call.func)
    hooks = ("key", "cls", "default", "object_hook") if name == "json.dumps" else ("key",)
    for keyword in call.keywords:
        if keyword.arg in hooks:
            yield f"`{keyword.arg}=`", keyword.value
        elif isinstance(keyword.value, ast.Lambda):
            yield f"the function in `{name}()`", keyword.value
    for place, argument in enumerate(call.args):
        first = place == 0 and name.rpartition(".")[2] in _CALLERS
        if isinstance(argument, ast.Lambda) or first:
            yield f"the function in `{name}()`", argument


def _closed(file: FileTree, function: ast.expr) -> bool:
    """Whether a function uses nothing but its parameters, constants and Python's own functions."""
    match function:
        case ast.Constant():
            return True
        case ast.Name():
            return is_builtin(file, function)
        case ast.Attribute(value=ast.Name(id=owner) as module):
            return owner in idioms.PURE_MODULES and is_lasting(file, module, modules=True)
        case ast.Call(func=func, args=args, keywords=[]):
            return _closed(file, func) and all(isinstance(one, ast.Constant) for one in args)
        case ast.Lambda(args=arguments, body=body):
            names = [one for one in ast.walk(body) if isinstance(one, ast.Name)]
            return not arguments.defaults and not any(arguments.kw_defaults) and all(_own(file, one) for one in names)
    return False


def _own(file: FileTree, name: ast.Name) -> bool:
    """Whether a name in an inner lambda is that lambda's, or one that says the same everywhere."""
    if is_builtin(file, name):
        return True
    if name.id in idioms.PURE_MODULES and is_lasting(file, name, modules=True):
        return True
    names = outline(file.tree)
    return names.binder(name.id, names.scope(name)) is file.function(name)


def _harmless(node: ast.expr) -> bool:
    """Whether nothing tells that an expression was evaluated: names, constants, reads and methods of tensors."""
    match node:
        case ast.Name() | ast.Constant():
            return True
        case ast.Attribute(value=value) | ast.UnaryOp(operand=value):
            return _harmless(value)
        case ast.Subscript(value=value, slice=index):
            return _harmless(value) and _harmless(index)
        case ast.BinOp(left=left, right=right):
            return _harmless(left) and _harmless(right)
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
            return name in _LOOKING and all(map(_harmless, args))
        case ast.Call(func=ast.Attribute(value=value, attr=attr), args=args, keywords=[]):
            known = attr in idioms.FRESH or attr in idioms.HOST_METHODS or attr in idioms.PURE_METHODS
            return known and _harmless(value) and all(map(_harmless, args))
    return False
