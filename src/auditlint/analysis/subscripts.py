"""What `owner[index]` is, and storing into it."""

from __future__ import annotations

import ast

from auditlint.analysis import attributes, calls, expressions, names, spelling, tensors
from auditlint.analysis.frame import Frame
from auditlint.analysis.values import (
    ARRAY,
    MODULE,
    NEVER,
    SCALAR,
    TENSOR,
    UNKNOWN,
    Array,
    ClassVal,
    Const,
    DictObj,
    Ext,
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
    waits,
)


def items(frame: Frame, owner: Value, index: Value, node: ast.Subscript) -> Value:
    items = alternatives(settled(owner))
    if len(items) > 1 and _indexes_tensor(index) and any(isinstance(item, Tensor) for item in items):
        items = tuple(item for item in items if isinstance(item, Tensor))
    return join_all([_item(frame, item, index, node) for item in items])


def _indexes_tensor(index: Value) -> bool:
    """Only tensors (and arrays) take tensors and tuples between the brackets."""
    return isinstance(index, Tup) or all(isinstance(item, Tensor) for item in alternatives(settled(index)))


def path_of(node: ast.Subscript) -> str:
    """`name["key"]` as text, to remember what was stored there; "" when the key is no literal."""
    base = spelling.dotted(node.value)
    if base and isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, (str, int)):
        return f"{base}.[{node.slice.value!r}]"
    return ""


def _item(frame: Frame, owner: Value, index: Value, node: ast.Subscript) -> Value:
    if isinstance(owner, Tensor):
        return tensors.tensor_item(frame, owner, index, node)
    if isinstance(owner, (Tup, Seq, ListObj)):
        if all(isinstance(item, Tensor) and not item.host for item in alternatives(settled(index))):
            frame.site("index", "list index", node, "Tensor.__index__")
        if _holds_device_bound(frame, node.slice):
            frame.site("index", "slice bound", node, "Tensor.__index__")
        if isinstance(owner, Tup):
            if isinstance(index, Const) and isinstance(index.value, int) and not isinstance(index.value, bool):
                at = index.value
                if -len(owner.items) <= at < len(owner.items):
                    return owner.items[at]
            if isinstance(node.slice, ast.Slice):
                return Seq(element(owner)) if owner.items else owner
        if isinstance(node.slice, ast.Slice):
            return owner if isinstance(owner, (Seq, ListObj)) else Seq(element(owner))
        return element(owner)
    if isinstance(owner, DictObj):
        if isinstance(index, Const) and index.value in owner.items:
            return owner.items[index.value]
        return owner.values() if owner.items or owner.rest is not NEVER else UNKNOWN
    if isinstance(owner, Mapping):
        return owner.element
    if isinstance(owner, ModelOutput):
        return TENSOR
    if isinstance(owner, Array):
        return ARRAY
    if isinstance(owner, NNModule):
        return MODULE
    if isinstance(owner, (Const, Scalar)):
        return SCALAR
    if isinstance(owner, (ClassVal, Ext)):
        return owner
    if isinstance(owner, Obj):
        method = attributes.attribute(frame, owner, "__getitem__")
        if method.kind == "bound":
            return calls.call(frame, node, method, [index], [])
        if names.is_nn_module(frame.session, owner.cls):
            return MODULE
    return UNKNOWN


def _holds_device_bound(frame: Frame, node: ast.expr) -> bool:
    if not isinstance(node, ast.Slice):
        return False
    bounds = [part for part in (node.lower, node.upper, node.step) if part is not None]
    return any(
        isinstance(item, Tensor) and not item.host
        for part in bounds
        for item in alternatives(settled(expressions.evaluate(frame, part)))
    )


def store_item(frame: Frame, target: ast.Subscript, value: Value) -> None:
    """`owner[index] = value`."""
    owner = expressions.evaluate(frame, target.value)
    index = expressions.evaluate(frame, target.slice)
    path = path_of(target)
    if path:
        frame.env.put_path(path, value)
    if frame.lazy and waits(owner) and value.kind not in calls.WORTH_KEEPING:
        return
    for item in alternatives(settled(owner)):
        if isinstance(item, DictObj):
            item.put(index, value)
        elif isinstance(item, ListObj):
            item.add(value)
        elif isinstance(item, Tensor):
            tensors.store_tensor_item(frame, item, index, value, target)
