"""What an expression is, and which of its parts make the host wait; calls are in `calls`."""

from __future__ import annotations

import ast
from collections.abc import Callable

from auditlint.analysis import (
    attributes,
    callers,
    calls,
    deferral,
    interpreter,
    names,
    narrowing,
    operators,
    spelling,
    subscripts,
)
from auditlint.analysis.frame import Frame
from auditlint.analysis.values import (
    BOOL,
    SCALAR,
    STR,
    UNKNOWN,
    Array,
    Const,
    DictObj,
    Env,
    Func,
    Lazy,
    Mapping,
    Obj,
    Scalar,
    Seq,
    Tensor,
    Value,
    alternatives,
    const,
    deferred,
    element,
    holds_device,
    join_all,
    settled,
    truth,
    tup,
    waits,
)


def evaluate(frame: Frame, node: ast.expr) -> Value:
    """The value of an expression; sites in it are recorded in the frame."""
    return EXPRESSIONS.get(type(node), _opaque)(frame, node)


def _opaque(frame: Frame, node: ast.expr) -> Value:
    return UNKNOWN


def _constant(frame: Frame, node: ast.Constant) -> Value:
    return const(node.value)


def _name(frame: Frame, node: ast.Name) -> Value:
    return callers.resolved(frame, name_value(frame, node.id))


def name_value(frame: Frame, name: str) -> Value:
    """What a name means here: local, then enclosing functions, then the module, then builtins."""
    env = frame.env
    held = env.now.get(name)
    if held is not None:
        return held
    outer: Env | None = env.parent
    if name in env.ever and name not in frame.globals:
        return env.ever[name]
    while outer is not None:
        held = outer.ever.get(name)
        if held is not None:
            return held
        outer = outer.parent
    if frame.lazy:
        value = names.deferred_import(frame.session, frame.module, name)
        if value is not None:
            return value
    value = names.module_value(frame.session, frame.module, name)
    return names.builtin(name) if value is None else value


def _attribute(frame: Frame, node: ast.Attribute) -> Value:
    path = spelling.dotted(node)
    if path and frame.env.paths:
        held = frame.env.now.get(path)
        if held is not None:
            return held
    return callers.resolved(frame, attributes.attribute(frame, evaluate(frame, node.value), node.attr))


def _subscript(frame: Frame, node: ast.Subscript) -> Value:
    owner = evaluate(frame, node.value)
    index = evaluate(frame, node.slice)
    path = subscripts.path_of(node)
    if path and frame.env.paths:
        held = frame.env.now.get(path)
        if held is not None:
            return held
    if frame.lazy and waits(owner):
        return deferred(owner, lambda value: subscripts.items(frame, value, index, node))
    return subscripts.items(frame, owner, index, node)


def _slice(frame: Frame, node: ast.Slice) -> Value:
    for part in (node.lower, node.upper, node.step):
        if part is not None:
            evaluate(frame, part)
    return Scalar("slice")


def iterate(frame: Frame, value: Value, node: ast.expr) -> Value:
    """What a loop over `value` binds, iterating instances of project classes included."""
    if frame.lazy and waits(value):
        return deferred(value, lambda made: iterate(frame, made, node))
    parts = []
    for item in alternatives(settled(value)):
        if isinstance(item, Obj):
            method = attributes.attribute(frame, item, "__iter__")
            parts.append(element(calls.call(frame, node, method, [], [])) if method.kind == "bound" else UNKNOWN)
        else:
            parts.append(element(item))
    return join_all(parts)


def truth_site(frame: Frame, value: Value, node: ast.expr, operation: str = "") -> None:
    """Record the sync of testing a value, when it is a tensor (or None) and nothing else."""
    if frame.lazy:
        return
    deferral.note_read(frame, node, operation or _test_word(frame.statement), value)
    items = alternatives(settled(value))
    found = False
    for item in items:
        if isinstance(item, Tensor):
            found = found or not item.host
        elif not isinstance(item, (Const, Scalar)):
            return
    if found:
        frame.site("truth", operation or _test_word(frame.statement), node, "Tensor.__bool__")


def _test_word(statement: ast.stmt) -> str:
    return {ast.If: "if", ast.While: "while", ast.Assert: "assert"}.get(type(statement), "truth test")


def _bin_op(frame: Frame, node: ast.BinOp) -> Value:
    left, right = evaluate(frame, node.left), evaluate(frame, node.right)
    if frame.lazy and left.kind not in operators.SEQUENCE_KINDS and right.kind not in operators.SEQUENCE_KINDS:
        return UNKNOWN
    if isinstance(node.op, ast.Mod) and all(operators.is_text(item) for item in alternatives(left)):
        if holds_device(right):
            frame.site("format", "%-formatting", node, "Tensor.__format__")
        return STR
    deferral.note_read(frame, node, "arithmetic", left, right)
    pairs = [(a, b) for a in operators.operands(left) for b in operators.operands(right)]
    return join_all([operators.combined(a, b, node.op) for a, b in pairs[:24]])


def _unary_op(frame: Frame, node: ast.UnaryOp) -> Value:
    if isinstance(node.op, ast.Not):
        known = narrowing.test(frame, node.operand)
        return BOOL if known is None else const(not known)
    value = evaluate(frame, node.operand)
    if frame.lazy and isinstance(value, Lazy):
        return UNKNOWN
    value = settled(value)
    if isinstance(value, Const) and isinstance(node.op, ast.USub) and isinstance(value.value, int):
        return const(-value.value)
    return join_all([item if isinstance(item, (Tensor, Array)) else _plain(item) for item in alternatives(value)])


def _plain(item: Value) -> Value:
    return SCALAR if isinstance(item, (Const, Scalar)) else UNKNOWN


def _bool_op(frame: Frame, node: ast.BoolOp) -> Value:
    """As a value: every operand but the last is tested, and any may be the result."""
    decisive = isinstance(node.op, ast.Or)
    before = dict(frame.env.now)
    results: list[Value] = []
    for operand in node.values[:-1]:
        if isinstance(operand, (ast.BoolOp, ast.Compare, ast.UnaryOp)):
            known = narrowing.test(frame, operand)
            value = evaluate(frame, operand)
        else:
            value = evaluate(frame, operand)
            truth_site(frame, value, operand, "or" if decisive else "and")
            known = truth(value)
        if known is decisive:
            results.append(value)
            break
        if known is None:
            results.append(_passing(value, decisive))
        narrowing.apply(frame, operand, not decisive)
    else:
        results.append(evaluate(frame, node.values[-1]))
    frame.env.now = before
    return join_all(results)


def _passing(value: Value, outcome: bool) -> Value:
    """The alternatives for which a test comes out as `outcome`."""
    if waits(value):
        return value
    kept = [item for item in alternatives(value) if truth(item) in (None, outcome)]
    return join_all(kept) if kept else value


def _compare(frame: Frame, node: ast.Compare) -> Value:
    left = evaluate(frame, node.left)
    if frame.lazy:
        for comparator in node.comparators:
            evaluate(frame, comparator)
        return UNKNOWN
    results: list[Value] = []
    for position, (operator, comparator) in enumerate(zip(node.ops, node.comparators, strict=True)):
        right = evaluate(frame, comparator)
        if not isinstance(operator, (ast.Is, ast.IsNot)):
            deferral.note_read(frame, node, "comparison", left, right)
        result = operators.compared(frame, left, operator, right, node)
        if position + 1 < len(node.ops):
            truth_site(frame, result, node, "chained comparison")
        results.append(result)
        left = right
    return results[-1] if len(results) == 1 else join_all(results)


def _if_exp(frame: Frame, node: ast.IfExp) -> Value:
    known = narrowing.test(frame, node.test)
    before = dict(frame.env.now)
    results = []
    for outcome, branch in ((True, node.body), (False, node.orelse)):
        if known is (not outcome):
            continue
        narrowing.apply(frame, node.test, outcome)
        results.append(evaluate(frame, branch))
        frame.env.now = dict(before)
    return join_all(results)


def _tuple(frame: Frame, node: ast.Tuple) -> Value:
    if any(isinstance(part, ast.Starred) for part in node.elts) or len(node.elts) > 64:
        return Seq(join_all([_spread(frame, part) for part in node.elts]))
    return tup(tuple([evaluate(frame, part) for part in node.elts]))


def _spread(frame: Frame, node: ast.expr) -> Value:
    return element(evaluate(frame, node.value)) if isinstance(node, ast.Starred) else evaluate(frame, node)


def _list(frame: Frame, node: ast.List | ast.Set) -> Value:
    made = frame.session.list_at(node, frame.env)
    made.hashed = isinstance(node, ast.Set)
    for part in node.elts[:256]:
        made.add(_spread(frame, part))
    return made


def _dict(frame: Frame, node: ast.Dict) -> Value:
    made = frame.session.dict_at(node, frame.env)
    for key, part in list(zip(node.keys, node.values, strict=True))[:256]:
        value = evaluate(frame, part)
        if key is not None:
            made.put(evaluate(frame, key), value)
            continue
        for item in alternatives(settled(value)):
            if isinstance(item, DictObj):
                for name, held in item.items.items():
                    made.put(const(name) if isinstance(name, (str, int)) else SCALAR, held)
            elif isinstance(item, Mapping):
                made.put(SCALAR, item.element)
    return made


def _comprehension(frame: Frame, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> Value:
    before = dict(frame.env.now)
    for generator in node.generators:
        interpreter.assign(frame, generator.target, iterate(frame, evaluate(frame, generator.iter), generator.iter))
        for condition in generator.ifs:
            narrowing.test(frame, condition)
            narrowing.apply(frame, condition, True)
    if isinstance(node, ast.DictComp):
        made = frame.session.dict_at(node, frame.env)
        made.put(evaluate(frame, node.key), evaluate(frame, node.value))
        result: Value = made
    else:
        inner = evaluate(frame, node.elt)
        result = Seq(inner)
        if isinstance(node, ast.ListComp):
            held = frame.session.list_at(node, frame.env)
            held.add(inner)
            result = held
    frame.env.now = before
    return result


def _lambda(frame: Frame, node: ast.Lambda) -> Value:
    outer = frame.info.qualname
    qualname = "<lambda>" if outer == "<module>" else f"{outer}.<locals>.<lambda>"
    info = frame.module.function(node, qualname, None, frame.info)
    info.statement = frame.statement
    function = Func(info, frame.env)
    if frame.session.registers(info):
        frame.session.pending.setdefault((info, frame.env), function)
    return function


def _joined_str(frame: Frame, node: ast.JoinedStr) -> Value:
    for part in node.values:
        if isinstance(part, ast.FormattedValue):
            value = evaluate(frame, part.value)
            if part.format_spec is not None:
                evaluate(frame, part.format_spec)
            if not frame.lazy and holds_device(value):
                frame.site("format", "f-string", node, "Tensor.__format__")
            deferral.note_read(frame, node, "f-string", value)
    if len(node.values) == 1 and isinstance(node.values[0], ast.Constant):
        return const(node.values[0].value)
    pattern = _pattern(node)
    return Const(pattern, "str") if pattern else STR


def _pattern(node: ast.JoinedStr) -> str:
    """`f"register_{kind}_hook"` is as good as any registrar's name."""
    text = "".join(str(part.value) if isinstance(part, ast.Constant) else "*" for part in node.values)
    return text if text.startswith("register_") and text.endswith("_hook") else ""


def _named(frame: Frame, node: ast.NamedExpr) -> Value:
    value = evaluate(frame, node.value)
    interpreter.assign(frame, node.target, value)
    return value


def _inner(frame: Frame, node: ast.Starred | ast.Await) -> Value:
    return evaluate(frame, node.value)


def _yield(frame: Frame, node: ast.Yield) -> Value:
    frame.yields.append(evaluate(frame, node.value) if node.value is not None else SCALAR)
    return UNKNOWN


def _yield_from(frame: Frame, node: ast.YieldFrom) -> Value:
    frame.yields.append(element(evaluate(frame, node.value)))
    return UNKNOWN


def _call(frame: Frame, node: ast.Call) -> Value:
    return calls.evaluate_call(frame, node)


EXPRESSIONS: dict[type[ast.expr], Callable[..., Value]] = {
    ast.Constant: _constant,
    ast.Name: _name,
    ast.Attribute: _attribute,
    ast.Call: _call,
    ast.BinOp: _bin_op,
    ast.UnaryOp: _unary_op,
    ast.BoolOp: _bool_op,
    ast.Compare: _compare,
    ast.Subscript: _subscript,
    ast.Slice: _slice,
    ast.Tuple: _tuple,
    ast.List: _list,
    ast.Set: _list,
    ast.Dict: _dict,
    ast.ListComp: _comprehension,
    ast.SetComp: _comprehension,
    ast.GeneratorExp: _comprehension,
    ast.DictComp: _comprehension,
    ast.Lambda: _lambda,
    ast.JoinedStr: _joined_str,
    ast.IfExp: _if_exp,
    ast.NamedExpr: _named,
    ast.Starred: _inner,
    ast.Await: _inner,
    ast.Yield: _yield,
    ast.YieldFrom: _yield_from,
}
