"""Tests: what they cost, whether their outcome is known, and what they tell about the values tested."""

from __future__ import annotations

import ast
from collections.abc import Callable

from auditlint.analysis import declarations, expressions, interpreter, spelling
from auditlint.analysis.frame import Frame
from auditlint.analysis.values import (
    NONE,
    STR,
    UNKNOWN,
    Array,
    Const,
    Device,
    DictObj,
    ListObj,
    Mapping,
    ModelOutput,
    NNModule,
    Obj,
    Scalar,
    Seq,
    Tensor,
    Tup,
    Value,
    alternatives,
    element,
    join_all,
    settled,
    truth,
)

SEQUENCES = (Seq, Tup, ListObj)
# Names a class may go by in isinstance, and the kinds of values that are instances of it.
INSTANCES: dict[str, tuple[type, ...]] = {
    "Tensor": (Tensor,),
    "Parameter": (Tensor,),
    "tuple": (Seq, Tup),
    "list": (ListObj, Seq, Tup),
    "Sequence": SEQUENCES,
    "Iterable": (*SEQUENCES, Mapping, DictObj),
    "dict": (Mapping, DictObj, ModelOutput),
    "Mapping": (Mapping, DictObj, ModelOutput),
    "MutableMapping": (Mapping, DictObj, ModelOutput),
    "ModelOutput": (ModelOutput,),
    "BaseModelOutput": (ModelOutput,),
    "Module": (NNModule, Obj),
    "ndarray": (Array,),
    "str": (Const, Scalar),
    "int": (Const, Scalar),
    "float": (Const, Scalar),
    "bool": (Const, Scalar),
    "Number": (Const, Scalar),
    "device": (Device,),
}


def test(frame: Frame, node: ast.expr, site_node: ast.expr | None = None) -> bool | None:
    """Evaluate a test: record the sync when it is on a tensor, and say how it comes out where that is known."""
    if frame.lazy:
        # Which hooks are registered does not depend on how a test comes out.
        if not interpreter.idle(frame, node):
            expressions.evaluate(frame, node)
        return None
    if isinstance(node, ast.BoolOp):
        return _bool_op(frame, node)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        inner = test(frame, node.operand)
        return None if inner is None else not inner
    value = expressions.evaluate(frame, node)
    expressions.truth_site(frame, value, node)
    known = _outcome(frame, node, value)
    return truth(value) if known is None else known


def _bool_op(frame: Frame, node: ast.BoolOp) -> bool | None:
    """`and`/`or`: later operands see what earlier ones established, and are not reached past a known outcome."""
    decisive = isinstance(node.op, ast.Or)
    before = dict(frame.env.now)
    unsure = False
    outcome: bool | None = None
    for operand in node.values:
        known = test(frame, operand)
        if known is decisive:
            outcome = None if unsure else decisive
            break
        if known is None:
            unsure = True
        apply(frame, operand, not decisive)
    else:
        outcome = None if unsure else not decisive
    frame.env.now = before
    return outcome


def _outcome(frame: Frame, node: ast.expr, value: Value) -> bool | None:
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], (ast.Is, ast.IsNot)):
        right = node.comparators[0]
        if isinstance(right, ast.Constant) and right.value is None:
            held = expressions.evaluate(frame, node.left)
            outcome = _is_none(held)
            if outcome is not None:
                return outcome if isinstance(node.ops[0], ast.Is) else not outcome
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "isinstance"
        and len(node.args) == 2
    ):
        held = settled(expressions.evaluate(frame, node.args[0]))
        kinds = _kinds(frame, node.args[1])
        if kinds is not None and all(
            item.kind not in ("unknown", "method", "ext", "extinstance") for item in alternatives(held)
        ):
            verdicts = {isinstance(item, kinds) for item in alternatives(held)}
            if len(verdicts) == 1 and not any(
                isinstance(item, (Const, Scalar, NNModule, Obj)) for item in alternatives(held)
            ):
                return verdicts.pop()
    return None


def _is_none(value: Value) -> bool | None:
    verdicts = set()
    for item in alternatives(value):
        if item == NONE:
            verdicts.add(True)
        elif item.kind in ("unknown", "param", "method", "scalar", "extinstance"):
            return None
        else:
            verdicts.add(False)
    return verdicts.pop() if len(verdicts) == 1 else None


def apply(frame: Frame, node: ast.expr, outcome: bool) -> None:
    """Narrow the variables that a test speaks about, given how it came out."""
    if frame.lazy:
        return
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        apply(frame, node.operand, not outcome)
    elif isinstance(node, ast.BoolOp):
        # All operands are known only when `and` holds or `or` fails.
        if isinstance(node.op, ast.And) is outcome:
            for operand in node.values:
                apply(frame, operand, outcome)
    elif isinstance(node, ast.Call):
        _narrow_call(frame, node, outcome)
    elif isinstance(node, ast.Compare) and len(node.ops) == 1:
        _narrow_compare(frame, node, outcome)
    elif isinstance(node, (ast.Name, ast.Attribute)):
        _narrow_truth(frame, node, outcome)
    elif isinstance(node, ast.NamedExpr):
        _narrow_truth(frame, node.target, outcome)


def _narrow_truth(frame: Frame, node: ast.expr, outcome: bool) -> None:
    """`if x.is_cuda`, and `if x`: what is None does not pass."""
    if isinstance(node, ast.Attribute) and node.attr in ("is_cuda", "is_cpu"):
        on_host = (node.attr == "is_cpu") is outcome
        _keep(frame, node.value, lambda item: Tensor(on_host, item.dtype) if isinstance(item, Tensor) else item)
        return
    if outcome:
        _keep(frame, node, lambda item: None if item == NONE else item)


def _narrow_call(frame: Frame, node: ast.Call, outcome: bool) -> None:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if name == "isinstance" and len(node.args) == 2:
        kinds = _kinds(frame, node.args[1])
        if kinds is None:
            if outcome:
                _become(frame, node.args[0], node.args[1])
            return
        if outcome:
            kept = _keep(frame, node.args[0], lambda item: item if isinstance(item, kinds) else None)
            if not kept:
                _become(frame, node.args[0], node.args[1])
        else:
            _keep(frame, node.args[0], lambda item: None if isinstance(item, kinds) else item)
    elif name == "is_tensor" and node.args:
        kept = _keep(frame, node.args[0], lambda item: item if isinstance(item, Tensor) is outcome else None)
        if outcome and not kept:
            _bind(frame, node.args[0], Tensor())


def _narrow_compare(frame: Frame, node: ast.Compare, outcome: bool) -> None:
    operator, right = node.ops[0], node.comparators[0]
    if isinstance(operator, (ast.Is, ast.IsNot)) and isinstance(right, ast.Constant) and right.value is None:
        absent = isinstance(operator, ast.Is) is outcome
        _keep(
            frame,
            node.left,
            lambda item: item if (item == NONE) is absent or (absent and item.kind in ("unknown", "param")) else None,
        )
    elif isinstance(operator, (ast.Eq, ast.NotEq)) and isinstance(node.left, ast.Attribute):
        # `x.device.type == "cpu"`.
        left = node.left
        if (
            left.attr == "type"
            and isinstance(left.value, ast.Attribute)
            and left.value.attr == "device"
            and isinstance(right, ast.Constant)
            and right.value == "cpu"
            and isinstance(operator, ast.Eq) is outcome
        ):
            _keep(frame, left.value.value, lambda item: Tensor(True, item.dtype) if isinstance(item, Tensor) else item)


def _kinds(frame: Frame, node: ast.expr) -> tuple[type, ...] | None:
    """The kinds of values that are instances of a class expression; None when it names other classes too."""
    kinds: list[type] = []
    parts = node.elts if isinstance(node, ast.Tuple) else _either(node)
    for part in parts:
        name = part.attr if isinstance(part, ast.Attribute) else getattr(part, "id", "")
        if name not in INSTANCES:
            return None
        kinds.extend(INSTANCES[name])
    return tuple(kinds)


def _either(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return [*_either(node.left), *_either(node.right)]
    return [node]


def _become(frame: Frame, node: ast.expr, classes: ast.expr) -> None:
    """After a passed isinstance test on something unknown, it is what the test says."""
    parts = classes.elts if isinstance(classes, ast.Tuple) else _either(classes)
    values = [declarations.value_of(frame.session, frame.module, part, frame.env) for part in parts]
    value = join_all(values)
    held = _held(frame, node)
    if held is None or value.kind == "unknown":
        return
    names = {part.attr if isinstance(part, ast.Attribute) else getattr(part, "id", "") for part in parts}
    if names <= {"tuple", "list", "Sequence", "Iterable"}:
        value = Seq(element(held) if held.kind not in ("unknown", "param") else UNKNOWN)
    _bind(frame, node, value)


def _held(frame: Frame, node: ast.expr) -> Value | None:
    path = node.id if isinstance(node, ast.Name) else spelling.dotted(node)
    if not path:
        return None
    if isinstance(node, ast.Name):
        return expressions.name_value(frame, path)
    return frame.env.now.get(path) or expressions.evaluate(frame, node)


def _bind(frame: Frame, node: ast.expr, value: Value) -> None:
    if isinstance(node, ast.Name):
        frame.env.now[node.id] = value
    else:
        path = spelling.dotted(node)
        if path:
            frame.env.put_path(path, value)


def _keep(frame: Frame, node: ast.expr, keep: Callable[[Value], Value | None]) -> bool:
    """Rebind a tested variable to the alternatives that pass; False when none is left."""
    held = _held(frame, node)
    if held is None:
        return True
    items = alternatives(held)
    if any(item.kind == "param" for item in items):
        items = alternatives(settled(held))
    kept = [part for part in (keep(item) for item in items) if part is not None]
    if not kept:
        return False
    if len(kept) != len(items) or any(a is not b for a, b in zip(kept, items, strict=True)):
        _bind(frame, node, join_all(kept))
    return True


def bind_pattern(frame: Frame, pattern: ast.pattern, subject: Value) -> None:
    """Bind the names that a `case` captures."""
    if isinstance(pattern, ast.MatchAs):
        if pattern.pattern is not None:
            bind_pattern(frame, pattern.pattern, subject)
        if pattern.name:
            interpreter.assign(
                frame, ast.Name(id=pattern.name, ctx=ast.Store()), _matched(frame, pattern.pattern, subject)
            )
    elif isinstance(pattern, ast.MatchSequence):
        for part in pattern.patterns:
            bind_pattern(frame, part, element(subject))
    elif isinstance(pattern, ast.MatchStar):
        if pattern.name:
            interpreter.assign(frame, ast.Name(id=pattern.name, ctx=ast.Store()), Seq(subject))
    elif isinstance(pattern, ast.MatchClass):
        matched = _matched(frame, pattern, subject)
        for part in (*pattern.patterns, *pattern.kwd_patterns):
            bind_pattern(frame, part, matched if len(pattern.patterns) == 1 else UNKNOWN)
    elif isinstance(pattern, ast.MatchMapping):
        for part in pattern.patterns:
            bind_pattern(frame, part, UNKNOWN)
        if pattern.rest:
            interpreter.assign(frame, ast.Name(id=pattern.rest, ctx=ast.Store()), Mapping(UNKNOWN))
    elif isinstance(pattern, ast.MatchOr):
        for part in pattern.patterns:
            bind_pattern(frame, part, subject)
    elif isinstance(pattern, ast.MatchValue):
        value = expressions.evaluate(frame, pattern.value)
        if any(isinstance(item, Tensor) and not item.host for item in alternatives(settled(subject))) and value != STR:
            frame.site("truth", "match", pattern.value, "Tensor.__bool__")


def _matched(frame: Frame, pattern: ast.pattern | None, subject: Value) -> Value:
    if isinstance(pattern, ast.MatchClass):
        kinds = _kinds(frame, pattern.cls)
        if kinds is not None:
            kept = [item for item in alternatives(settled(subject)) if isinstance(item, kinds)]
            if kept:
                return join_all(kept)
        return declarations.value_of(frame.session, frame.module, pattern.cls, frame.env)
    return subject
