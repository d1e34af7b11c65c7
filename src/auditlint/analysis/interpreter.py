"""Runs one function over abstract values: statements, branches, loops, and what a test tells about a value."""

from __future__ import annotations

import ast
from collections.abc import Callable
from functools import partial

from auditlint.analysis import calls, captures, declarations, expressions, names, narrowing, spelling, subscripts
from auditlint.analysis.frame import Frame
from auditlint.analysis.session import merged_env
from auditlint.analysis.values import (
    NONE,
    UNKNOWN,
    ClassVal,
    ExtInstance,
    Func,
    Lazy,
    ListObj,
    Obj,
    Seq,
    Tensor,
    Tup,
    Value,
    alternatives,
    element,
    join,
    join_all,
    settled,
    tup,
    waits,
)
from auditlint.project.modules import FunctionInfo, bound_names

TRIVIAL = (ast.Pass, ast.Global, ast.Nonlocal, ast.Import, ast.ImportFrom)


def run(frame: Frame) -> None:
    """Run the body; the result is in `frame.summary.value`."""
    node = frame.info.node
    if isinstance(node, ast.Lambda):
        frame.summary.value = expressions.evaluate(frame, node.body)
        return
    ended = execute_block(frame, node.body)
    if frame.yields:
        frame.summary.value = Seq(join_all(frame.yields))
        return
    if not ended:
        frame.returns.append(NONE)
    frame.summary.value = join_all(frame.returns) if frame.returns else UNKNOWN


def execute_block(frame: Frame, body: list[ast.stmt]) -> bool:
    """Run statements in order; True when none of the paths through them reaches the end."""
    for statement in body:
        frame.statement = statement
        run = STATEMENTS.get(type(statement))
        if run is None:
            if isinstance(statement, TRIVIAL):
                declare(frame, statement)
            continue
        if run(frame, statement):
            return True
    return False


def declare(frame: Frame, statement: ast.stmt) -> None:
    if isinstance(statement, ast.Global):
        frame.globals.update(statement.names)
    elif isinstance(statement, ast.Nonlocal):
        frame.nonlocals.update(statement.names)
    elif isinstance(statement, (ast.Import, ast.ImportFrom)):
        for name in bound_names(statement):
            frame.env.put(name, names.imported(frame.session, frame.module, statement, name))


# Methods that change what a container holds.
MUTATORS = {
    "append", "extend", "insert", "add", "update", "setdefault", "appendleft", "register_buffer", "register_parameter",
}  # fmt: skip

# Calls that a generic run makes although they name no registrar: constructors pass hooks up to the base class.
KEPT_CALLS = MUTATORS | {"__init__"}


def idle(frame: Frame, node: ast.expr) -> bool:
    """Whether a generic run can pass an expression over: it names no registrar, and nobody is looking for callers."""
    return frame.lazy and not frame.session.named(frame.module, node)


def _passed_over(function: ast.expr) -> bool:
    """Whether a generic run need not make a call for what it does, judging by what is called."""
    if isinstance(function, ast.Attribute):
        return function.attr not in KEPT_CALLS
    return isinstance(function, ast.Name) and function.id != "setattr"


def _expr(frame: Frame, statement: ast.Expr) -> bool:
    value = statement.value
    if frame.lazy and isinstance(value, ast.Constant):
        return False
    if isinstance(value, ast.Call) and _passed_over(value.func) and idle(frame, value):
        return _exits(value)
    expressions.evaluate(frame, value)
    return isinstance(value, ast.Call) and _exits(value)


def _exits(call: ast.Call) -> bool:
    """`sys.exit()` and its like."""
    function = call.func
    return (
        isinstance(function, ast.Attribute)
        and function.attr in ("exit", "_exit", "abort")
        and isinstance(function.value, ast.Name)
        and function.value.id in ("sys", "os")
    )


def _assign(frame: Frame, statement: ast.Assign) -> bool:
    value = expressions.evaluate(frame, statement.value)
    for target in statement.targets:
        if not frame.lazy:
            captures.note_store(frame, target, statement.value, value)
        assign(frame, target, value)
    return False


def _ann_assign(frame: Frame, statement: ast.AnnAssign) -> bool:
    declared = declarations.value_of(frame.session, frame.module, statement.annotation, frame.env)
    if statement.value is not None:
        value = expressions.evaluate(frame, statement.value)
        if value.kind == "unknown":
            value = declared
        if not frame.lazy:
            captures.note_store(frame, statement.target, statement.value, value)
        assign(frame, statement.target, value)
    elif declared.kind != "unknown" and isinstance(statement.target, ast.Name):
        frame.env.put(statement.target.id, declared)
    return False


def _aug_assign(frame: Frame, statement: ast.AugAssign) -> bool:
    target = statement.target
    held = expressions.evaluate(frame, target)
    if frame.lazy and waits(held):
        expressions.evaluate(frame, statement.value)
        return False
    if any(item.kind == "listobj" for item in alternatives(held)):
        added = element(expressions.evaluate(frame, statement.value))
        if not frame.lazy:
            captures.note_growth(frame, statement, held, added)
        for item in alternatives(held):
            if isinstance(item, ListObj):
                item.add(added)
        return False
    if not frame.lazy and isinstance(statement.value, ast.Constant):
        captures.note_growth(frame, statement, held, spelling.literal(statement.value))
    load = ast.BinOp(left=target, op=statement.op, right=statement.value)
    ast.copy_location(load, statement)
    assign(frame, target, expressions.evaluate(frame, load))
    return False


def assign(frame: Frame, target: ast.expr, value: Value) -> None:
    """Bind `value` to a target, unpacking where the target does."""
    if isinstance(target, ast.Name):
        name = target.id
        if name in frame.nonlocals:
            outer = frame.env.parent
            while outer is not None and name not in outer.ever and outer.parent is not None:
                outer = outer.parent
            if outer is not None:
                outer.put(name, value)
        elif name in frame.globals:
            key = (frame.module, name)
            held = frame.session.module_names.get(key)
            frame.session.module_names[key] = value if held is None else join(held, value)
        else:
            frame.env.put(name, value)
            frame.env.forget(name)
    elif isinstance(target, (ast.Tuple, ast.List)):
        unpack(frame, target.elts, value)
    elif isinstance(target, ast.Starred):
        assign(frame, target.value, Seq(element(value)))
    elif isinstance(target, ast.Attribute):
        store_attribute(frame, target, value)
    elif isinstance(target, ast.Subscript):
        subscripts.store_item(frame, target, value)


def unpack(frame: Frame, targets: list[ast.expr], value: Value) -> None:
    """Bind the parts of `value` to several targets."""
    if frame.lazy and isinstance(value, Lazy) and not value.made:
        for position, target in enumerate(targets):
            part = Lazy(partial(_part, value, position, len(targets)))
            assign(frame, target.value if isinstance(target, ast.Starred) else target, part)
        return
    columns: list[list[Value]] = [[] for _ in targets]
    starred = next((i for i, target in enumerate(targets) if isinstance(target, ast.Starred)), None)
    for item in alternatives(settled(value)):
        if isinstance(item, Tup) and (len(item.items) == len(targets) or starred is not None):
            parts = item.items
            for i in range(len(targets)):
                if starred is None or i < starred:
                    columns[i].append(parts[i] if i < len(parts) else UNKNOWN)
                elif i == starred:
                    columns[i].append(tup(parts[i : len(parts) - (len(targets) - 1 - i)]))
                else:
                    at = len(parts) - (len(targets) - i)
                    columns[i].append(parts[at] if at >= 0 else UNKNOWN)
        else:
            # Few unpack a tensor; where one seems to be unpacked, an annotation may well be wrong.
            one = join(item, UNKNOWN) if isinstance(item, Tensor) and len(targets) > 1 else element(item)
            for i in range(len(targets)):
                columns[i].append(Seq(one) if i == starred else one)
    for target, column in zip(targets, columns, strict=True):
        bound = join_all(column) if column else UNKNOWN
        assign(frame, target.value if isinstance(target, ast.Starred) else target, bound)


def _part(value: Value, position: int, count: int) -> Value:
    """One of several parts that a value is unpacked into."""
    parts = [
        item.items[position] if isinstance(item, Tup) and len(item.items) == count else element(item)
        for item in alternatives(settled(value))
    ]
    return join_all(parts)


def store_attribute(frame: Frame, target: ast.Attribute, value: Value) -> None:
    owner = expressions.evaluate(frame, target.value)
    path = spelling.dotted(target)
    if path:
        frame.env.forget(path)
        frame.env.put_path(path, value)
    if frame.lazy and waits(owner):
        return
    for item in alternatives(owner):
        if isinstance(item, Obj):
            item.put(target.attr, value)
        elif isinstance(item, ClassVal):
            names.self_object(frame.session, item.info).put(target.attr, value)


def _return(frame: Frame, statement: ast.Return) -> bool:
    frame.returns.append(NONE if statement.value is None else expressions.evaluate(frame, statement.value))
    return True


def _raise(frame: Frame, statement: ast.Raise) -> bool:
    if statement.exc is not None and not isinstance(statement.exc, ast.Name):
        # What is formatted into an error that ends the pass anyway costs nobody a token.
        sites = dict(frame.summary.sites)
        expressions.evaluate(frame, statement.exc)
        frame.summary.sites = sites
    return True


def _jump(frame: Frame, statement: ast.stmt) -> bool:
    frame.jumps.append(dict(frame.env.now))
    return True


def _if(frame: Frame, statement: ast.If) -> bool:
    known = narrowing.test(frame, statement.test)
    before = dict(frame.env.now)
    if known is not False:
        narrowing.apply(frame, statement.test, True)
        ended = execute_block(frame, statement.body)
    else:
        ended = True
    after = None if ended else frame.env.now
    frame.env.now = before
    if known is not True:
        narrowing.apply(frame, statement.test, False)
        ended = execute_block(frame, statement.orelse)
    else:
        ended = True
    if ended:
        if after is None:
            return True
        frame.env.now = after
    else:
        merged_env(frame.env, after)
    return False


def _loop(frame: Frame, enter: Callable[[], None], body: list[ast.stmt], orelse: list[ast.stmt]) -> bool:
    """Two rounds of a loop's body reach the fixed point of a lattice this flat, as near as matters."""
    before = dict(frame.env.now)
    outer, frame.jumps = frame.jumps, []
    for _ in range(2):
        enter()
        execute_block(frame, body)
        merged_env(frame.env, before)
        for jump in frame.jumps:
            merged_env(frame.env, jump)
        before = dict(frame.env.now)
    frame.jumps = outer
    return execute_block(frame, orelse)


def _for(frame: Frame, statement: ast.For) -> bool:
    iterated = expressions.iterate(frame, expressions.evaluate(frame, statement.iter), statement.iter)
    return _loop(frame, lambda: assign(frame, statement.target, iterated), statement.body, statement.orelse)


def _while(frame: Frame, statement: ast.While) -> bool:
    def enter() -> None:
        frame.statement = statement
        narrowing.test(frame, statement.test)
        narrowing.apply(frame, statement.test, True)

    if narrowing.test(frame, statement.test) is False:
        return execute_block(frame, statement.orelse)
    return _loop(frame, enter, statement.body, statement.orelse)


def _try(frame: Frame, statement: ast.Try) -> bool:
    before = dict(frame.env.now)
    ended = execute_block(frame, statement.body)
    if not ended:
        ended = execute_block(frame, statement.orelse)
    after = None if ended else frame.env.now
    for handler in statement.handlers:
        frame.env.now = dict(before)
        merged_env(frame.env, after)
        if handler.name:
            frame.env.put(handler.name, ExtInstance("builtins.Exception"))
        if not execute_block(frame, handler.body):
            merged_env(frame.env, after)
            after = frame.env.now
    frame.env.now = before if after is None else after
    return execute_block(frame, statement.finalbody) or after is None


def _with(frame: Frame, statement: ast.With) -> bool:
    for item in statement.items:
        frame.statement = statement
        manager = expressions.evaluate(frame, item.context_expr)
        entered = calls.enter_context(frame, item.context_expr, manager)
        if item.optional_vars is not None:
            assign(frame, item.optional_vars, entered)
    return execute_block(frame, statement.body)


def _assert(frame: Frame, statement: ast.Assert) -> bool:
    narrowing.test(frame, statement.test)
    narrowing.apply(frame, statement.test, True)
    return False


def _match(frame: Frame, statement: ast.Match) -> bool:
    subject = expressions.evaluate(frame, statement.subject)
    before = dict(frame.env.now)
    after: dict[str, Value] | None = dict(before)
    for case in statement.cases:
        frame.env.now = dict(before)
        narrowing.bind_pattern(frame, case.pattern, subject)
        if case.guard is not None:
            narrowing.test(frame, case.guard)
        if not execute_block(frame, case.body):
            merged_env(frame.env, after)
            after = frame.env.now
    frame.env.now = before if after is None else after
    return False


def _delete(frame: Frame, statement: ast.Delete) -> bool:
    for target in statement.targets:
        if isinstance(target, ast.Name):
            frame.env.now.pop(target.id, None)
    return False


def _function(frame: Frame, statement: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    qualname = _nested_name(frame, statement.name)
    info = frame.module.function(statement, qualname, None, _parent(frame))
    function = Func(info, None if isinstance(frame.info.node, ast.Module) else frame.env)
    frame.env.put(statement.name, calls.decorated(frame, statement, function))
    if frame.session.registers(info):
        frame.session.pending.setdefault((info, frame.env), function)
    return False


def _class(frame: Frame, statement: ast.ClassDef) -> bool:
    info = frame.module.class_(statement, _nested_name(frame, statement.name), _parent(frame))
    frame.session.class_envs[info] = frame.env
    frame.env.put(statement.name, ClassVal(info))
    return False


def _parent(frame: Frame) -> FunctionInfo | None:
    return None if isinstance(frame.info.node, ast.Module) else frame.info


def _nested_name(frame: Frame, name: str) -> str:
    outer = frame.info.qualname
    return name if outer == "<module>" else f"{outer}.<locals>.{name}"


STATEMENTS: dict[type[ast.stmt], Callable[..., bool]] = {
    ast.Expr: _expr,
    ast.Assign: _assign,
    ast.AnnAssign: _ann_assign,
    ast.AugAssign: _aug_assign,
    ast.Return: _return,
    ast.Raise: _raise,
    ast.Break: _jump,
    ast.Continue: _jump,
    ast.If: _if,
    ast.For: _for,
    ast.AsyncFor: _for,
    ast.While: _while,
    ast.Try: _try,
    ast.With: _with,
    ast.AsyncWith: _with,
    ast.Assert: _assert,
    ast.Match: _match,
    ast.Delete: _delete,
    ast.FunctionDef: _function,
    ast.AsyncFunctionDef: _function,
    ast.ClassDef: _class,
}
if hasattr(ast, "TryStar"):
    STATEMENTS[ast.TryStar] = _try
