"""What arithmetic and comparisons make of their operands."""

from __future__ import annotations

import ast

from auditlint.analysis import tensors
from auditlint.analysis.frame import Frame
from auditlint.analysis.values import (
    ARRAY,
    BOOL,
    SCALAR,
    STR,
    UNKNOWN,
    Array,
    Const,
    Device,
    DictObj,
    Mapping,
    ModelOutput,
    Scalar,
    Seq,
    Tensor,
    Tup,
    Value,
    alternatives,
    const,
    element,
    join,
    join_all,
    settled,
    tup,
)


def operands(value: Value) -> tuple[Value, ...]:
    """What an operator may meet; a hook's output that is computed with is the tensor, not the dict it might be."""
    items = alternatives(settled(value))
    if len(items) > 1 and any(isinstance(item, Tensor) for item in items):
        return tuple(item for item in items if not isinstance(item, (ModelOutput, Seq)))
    return items


def is_text(value: Value) -> bool:
    return isinstance(value, (Const, Scalar)) and value.type == "str"


def combined(left: Value, right: Value, op: ast.operator) -> Value:
    if isinstance(left, Tensor) or isinstance(right, Tensor):
        return tensors.combined(left, right, op)
    if isinstance(left, Array) or isinstance(right, Array):
        return ARRAY
    if isinstance(left, Tup) and isinstance(right, Tup) and isinstance(op, ast.Add):
        return tup(left.items + right.items)
    if isinstance(op, ast.Add) and left.kind in SEQUENCE_KINDS and right.kind in SEQUENCE_KINDS:
        return Seq(join(element(left), element(right)))
    if isinstance(op, ast.Mult) and left.kind in SEQUENCE_KINDS:
        return left if left.kind == "listobj" else Seq(element(left))
    if isinstance(left, (Const, Scalar)) and isinstance(right, (Const, Scalar)):
        return STR if is_text(left) or is_text(right) else SCALAR
    if isinstance(left, (DictObj, Mapping)) or isinstance(right, (DictObj, Mapping)):
        return left
    return UNKNOWN


SEQUENCE_KINDS = {"tup", "seq", "listobj"}


def compared(frame: Frame, left: Value, operator: ast.cmpop, right: Value, node: ast.Compare) -> Value:
    if isinstance(operator, (ast.Is, ast.IsNot)):
        return BOOL
    if isinstance(operator, (ast.In, ast.NotIn)):
        tensors.membership(frame, left, right, node)
        return BOOL
    left, right = settled(left), settled(right)
    if isinstance(left, Const) and isinstance(right, Const) and left.type == right.type == "str":
        equal = left.value == right.value
        if isinstance(operator, (ast.Eq, ast.NotEq)):
            return const(equal if isinstance(operator, ast.Eq) else not equal)
    if isinstance(left, Device) and isinstance(right, Const) and isinstance(operator, ast.Eq) and left.host is not None:
        return const((right.value == "cpu") is left.host) if right.value == "cpu" else BOOL
    return join_all([_pair(a, b) for a in operands(left) for b in operands(right)])


def _pair(left: Value, right: Value) -> Value:
    """Comparing one thing with another: elementwise when a tensor takes part, and the other is no plain object."""
    for one, other in ((left, right), (right, left)):
        if isinstance(one, Tensor):
            if _settles(other):
                return BOOL
            return Tensor(one.host and not (isinstance(other, Tensor) and not other.host), "bool", one.single)
    if isinstance(left, Array) or isinstance(right, Array):
        return ARRAY
    plain = isinstance(left, (Const, Scalar, Device)) and isinstance(right, (Const, Scalar, Device))
    return BOOL if plain else UNKNOWN


def _settles(item: Value) -> bool:
    """Values that a tensor is compared with as an object: the result is a bool."""
    return isinstance(item, Const) and (item.value is None or item.type == "str")
