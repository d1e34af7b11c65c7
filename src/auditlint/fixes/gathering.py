"""Entries that are read one by one after the pass (AUD305): read in one transfer, where they are put.

A comprehension becomes `finalize([defer(...) for ...])`. A loop that only puts values into containers puts what is
deferred there, and the containers are finalized behind it. Nothing runs in between, so nothing is copied first.
"""

from __future__ import annotations

import ast
from typing import NamedTuple

from auditlint.diagnostics import Diagnostic
from auditlint.fixes.flow import idioms
from auditlint.fixes.flow.holders import unsure_of, watched
from auditlint.fixes.flow.operands import SAME_OR_ALIAS
from auditlint.fixes.flow.reads import Read, Unreadable, read_of
from auditlint.fixes.flow.result import Impossible, Rewrite
from auditlint.fixes.flow.tree import FileTree
from auditlint.fixes.flow.uses import caught, computes, passes, root_of
from auditlint.fixes.later import is_builtin
from auditlint.fixes.placement.points import Point

BY_HAND = "read all entries in one transfer, or defer the value in the hook"
# Rules by which a read is told to be one, by the name of what reads.
_RULES = {"item": "AUD101", "tolist": "AUD103", "cpu": "AUD102", "numpy": "AUD106"}
# Functions that take what a generator gives and look at its values only.
_TAKERS = frozenset(["sum", "max", "min", "sorted", "list", "tuple"])
_COMPREHENSIONS = (ast.ListComp, ast.DictComp, ast.GeneratorExp)
_DISPLAYS = (ast.List, ast.Tuple, ast.Dict)
# Methods that may stand in a loop beside the reads: they change nothing that is read there.
_QUIET = idioms.PURE_METHODS | idioms.FRESH | SAME_OR_ALIAS | {"append", "get", "keys", "items", "values"}


class Gathered(NamedTuple):
    """What puts the reads together; `doubts` are reasons why that is not safe."""

    read: Read
    rewrites: tuple[Rewrite, ...]
    points: tuple[Point, ...]
    doubts: tuple[str, ...]
    words: str


def gathered(file: FileTree, node: ast.expr, diagnostic: Diagnostic) -> Gathered | str:
    """How the read at `node` is put together with those of the other entries, or why it is not."""
    name = node.func.attr if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else ""
    read = read_of(file, diagnostic._replace(code=_RULES.get(name, "AUD104")), node)
    if isinstance(read, Unreadable) or read.operand is None:
        return BY_HAND
    read = read._replace(diagnostic=diagnostic, alone=True)
    current: ast.expr = read.root
    region: ast.expr | None = None
    while (step := computes(file.parents[current], current)) is not None:
        current = region = step
    rewrites = [Rewrite("read", file, read.root)]
    if region is not None:
        if caught(file, region):
            return BY_HAND
        rewrites.append(Rewrite("derive", file, region, (read.root,)))
    doubts = () if name in _RULES else ("entries may be numbers already, and `defer` takes tensors only",)
    whole = _comprehension(file, current)
    if whole is not None:
        rewrites.append(Rewrite("gather", file, whole))
        return Gathered(read, tuple(rewrites), (), doubts, "read all entries in one transfer")
    filled = _filled(file, current)
    if filled is None:
        return BY_HAND
    point = Point(file.filename, "after", filled.loop, f"finalize({filled.container})")
    words = f"read all entries in one transfer, behind the loop in line {filled.loop.lineno}"
    return Gathered(read, tuple(rewrites), (point,), (*doubts, *filled.doubts), words)


def _comprehension(file: FileTree, value: ast.expr) -> ast.expr | None:
    """The outermost comprehension whose elements have `value` in them."""
    found: ast.expr | None = None
    current = value
    while isinstance(around := passes(file.parents[current], current), (*_COMPREHENSIONS, *_DISPLAYS)):
        if isinstance(around, _COMPREHENSIONS):
            if _waits(around):
                return None
            found = around
        current = around
    if found is not current or (isinstance(found, ast.GeneratorExp) and not _taken_whole(file, found)):
        return None
    return found


def _waits(node: ast.AST) -> bool:
    return any(
        isinstance(one, (ast.Await, ast.NamedExpr, ast.Yield, ast.YieldFrom))
        or (isinstance(one, ast.comprehension) and one.is_async)
        for one in ast.walk(node)
    )


def _taken_whole(file: FileTree, generator: ast.GeneratorExp) -> bool:
    """Whether a generator is the argument of a function that takes all of it at once."""
    match file.parents[generator]:
        case ast.Call(func=ast.Name(id=name) as func, args=[argument, *_]) if argument is generator:
            return name in _TAKERS and is_builtin(file, func)
        case ast.Call(func=ast.Attribute(value=ast.Constant(value=str()), attr="join")):
            return True
    return False


class _Filled(NamedTuple):
    """The loop that puts values into a container, what that is called behind the loop, and what speaks against it."""

    loop: ast.For
    container: str
    doubts: tuple[str, ...]


def _filled(file: FileTree, value: ast.expr) -> _Filled | None:
    """What is filled with such values by a loop that does nothing else."""
    current = value
    while isinstance(above := file.parents[current], _DISPLAYS) and passes(above, current):
        current = above
    statement = file.statement(value)
    loop = file.parents[statement]
    if not isinstance(loop, ast.For) or statement not in loop.body or loop.orelse:
        return None
    target = _target(statement, current)
    if target is None or not all(_puts(one, file) for one in loop.body) or _read_again(loop, target):
        return None
    root = target
    while isinstance(root, (ast.Attribute, ast.Subscript)):
        root = root.value
    if not isinstance(root, ast.Name) or any(_binds(one, root.id) for one in loop.body):
        return None
    if _binds(loop.target, root.id):
        container = _iterated(loop, root.id)
    else:
        container = _holder(target) if isinstance(target, ast.Subscript) or _appended_to(statement) else None
    try:
        doubts = _kept_as_it_is(file, target, _appended_to(statement) is not None)
    except Impossible:
        return None
    return None if container is None else _Filled(loop, container, doubts)


def _kept_as_it_is(file: FileTree, target: ast.expr, appended: bool) -> tuple[str, ...]:
    """Why what is filled may not keep a value as it is.

    Raises:
        Impossible: it reads or converts the value.
    """
    function = file.function(target)
    assert function is not None
    holder = target
    match target:
        case ast.Attribute() if not appended:
            if watched(file, function, target):
                raise Impossible("setting the attribute runs code")
            return ()
        case ast.Subscript(slice=ast.Constant(value=str())) if not appended:
            return ()  # only mappings have such keys
        case ast.Subscript(value=inner) if not appended:
            holder = inner
    root = root_of(holder)
    if unsure_of(file, function, holder, root):
        return (f"`{ast.unparse(root)}` may be no list or dict",)
    return ()


def _target(statement: ast.stmt, value: ast.expr) -> ast.expr | None:
    """Where a statement puts a value: `entry["norm"]`, or the container that it is appended to."""
    match statement:
        case ast.Assign(targets=[ast.Subscript() | ast.Attribute() as target], value=whole) if whole is value:
            return target
        case ast.Expr(value=ast.Call(args=[whole], keywords=[])) if whole is value:
            return _appended_to(statement)
    return None


def _appended_to(statement: ast.stmt) -> ast.expr | None:
    match statement:
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=container, attr="append"))):
            return container
    return None


def _puts(statement: ast.stmt, file: FileTree) -> bool:
    """Whether a statement in a loop puts something somewhere, or takes it away, and does nothing else."""
    if isinstance(statement, (ast.Pass, ast.Delete)):
        return True
    if not isinstance(statement, (ast.Assign, ast.AnnAssign)) and _appended_to(statement) is None:
        return False
    return not _waits(statement) and all(_quiet(one, file) for one in ast.walk(statement))


def _quiet(node: ast.AST, file: FileTree) -> bool:
    match node:
        case ast.Call(func=ast.Attribute(attr=attr)):
            return attr in _QUIET
        case ast.Call(func=ast.Name(id=name) as func):
            return name in idioms.PURE_BUILTINS and is_builtin(file, func)
        case ast.Call():
            return False
    return True


def _read_again(loop: ast.For, target: ast.expr) -> bool:
    """Whether a loop looks at what it has put into a place, or into one that may be the same."""
    place = ast.unparse(target)
    around = ast.unparse(target.value) if isinstance(target, ast.Subscript) else ""
    known = isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant)
    for statement in loop.body:
        for node in ast.walk(statement):
            if not isinstance(node, ast.expr) or not isinstance(getattr(node, "ctx", None), ast.Load):
                continue
            if ast.unparse(node) == place and node is not _appended_to(statement):
                return True
            if isinstance(node, ast.Subscript) and ast.unparse(node.value) == around:
                known = known and isinstance(node.slice, ast.Constant)
                if not known:
                    return True
    return False


def _binds(node: ast.AST, name: str) -> bool:
    return any(
        isinstance(one, ast.Name) and one.id == name and not isinstance(one.ctx, ast.Load) for one in ast.walk(node)
    )


def _iterated(loop: ast.For, name: str) -> str | None:
    """What a loop's variable is an element of, where that has a name: `log` of `for index, entry in enumerate(log)`."""
    iterable, target = loop.iter, loop.target
    while True:
        match iterable, target:
            case ast.Call(func=ast.Name(id="enumerate"), args=[inner, *_]), ast.Tuple(elts=[_, part]):
                iterable, target = inner, part
            case ast.Call(func=ast.Name(id="reversed" | "list" | "tuple"), args=[inner], keywords=[]), _:
                iterable = inner
            case ast.Call(func=ast.Attribute(value=inner, attr="items"), args=[]), ast.Tuple(elts=[_, part]):
                iterable, target = inner, part
            case ast.Call(func=ast.Attribute(value=inner, attr="values"), args=[]), ast.Name():
                iterable = inner
            case _:
                break
    if not (isinstance(target, ast.Name) and target.id == name):
        return None
    return ast.unparse(iterable) if _is_place(iterable) else None


def _holder(target: ast.expr) -> str | None:
    """The container that a value is put into: `self.norms` of `self.norms[name]`."""
    while isinstance(target, ast.Subscript):
        target = target.value
    return ast.unparse(target) if _is_place(target) else None


def _is_place(node: ast.expr) -> bool:
    while isinstance(node, ast.Attribute):
        node = node.value
    return isinstance(node, ast.Name)
