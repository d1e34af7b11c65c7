"""What hooks keep: each place where a reached function stores, appends, counts, or copies without waiting."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

from auditlint.analysis import conditions
from auditlint.analysis.arguments import Arguments
from auditlint.analysis.frame import Frame
from auditlint.analysis.values import (
    NEVER,
    Array,
    Bound,
    Const,
    DictObj,
    Env,
    ListObj,
    Mapping,
    Method,
    Scalar,
    Seq,
    Tensor,
    Tup,
    Unknown,
    Value,
    alternatives,
    any_device,
    settled,
)

# Methods that make a container longer, and which of their arguments they keep.
GROWING = {"append": 0, "appendleft": 0, "add": 0, "insert": 1, "extend": 0, "extendleft": 0}
NOTED = frozenset({*GROWING, "to", "copy_"})
MAX_DEPTH = 3


class Capture(NamedTuple):
    """Something that one run of a function keeps beyond it.

    `how` is "append", "store" (an item or an attribute), "count" (`n += 1`) or "copy" (a copy to the host that does not
    wait). `node` is the call, or the target of the assignment; `container` what it is kept in, as written; `stored` the
    expression that is kept, and `value` what that is. `env` are the variables where it happens.
    """

    how: str
    node: ast.expr
    container: ast.expr
    stored: ast.expr
    value: Value
    env: Env
    statement: ast.stmt


def note_call(frame: Frame, node: ast.Call, function: Value, given: Arguments) -> None:
    """Record a call that makes a container longer, or that copies to the host without waiting."""
    method = node.func
    assert isinstance(method, ast.Attribute)
    # A method of the project's own is followed instead.
    if not all(isinstance(item, (Method, Bound)) for item in alternatives(function)) or function.kind == "bound":
        return
    position = GROWING.get(method.attr)
    if position is not None and not all(_is_container(item) for item in alternatives(function)):
        return
    if position is None:
        if _unwaited(function, method.attr, given):
            _note(frame, "copy", node, method.value, node, given.all()[0] if given.all() else function)
    elif position < len(node.args) == len(given.args):
        _note(frame, "append", node, method.value, node.args[position], given.args[position])


def _is_container(method: Value) -> bool:
    """Whether a method's receiver may be a list, a set or their like."""
    if not isinstance(method, Method):
        return False
    return any(isinstance(item, (ListObj, Unknown, Method, Seq)) for item in alternatives(settled(method.receiver)))


def note_store(frame: Frame, target: ast.expr, stored: ast.expr, value: Value) -> None:
    """Record `owner[key] = stored`, `owner.name = stored`, and stores into variables of other functions."""
    outer = isinstance(target, ast.Name) and (target.id in frame.nonlocals or target.id in frame.globals)
    if outer or isinstance(target, (ast.Subscript, ast.Attribute)):
        _note(frame, "store", target, target, stored, value)


def note_growth(frame: Frame, statement: ast.AugAssign, held: Value, value: Value) -> None:
    """Record `owner += [...]` and `counter += 1`."""
    target = statement.target
    outer = not isinstance(target, ast.Name) or target.id in frame.nonlocals or target.id in frame.globals
    if any(isinstance(item, ListObj) for item in alternatives(held)):
        _note(frame, "append", target, target, statement.value, value)
    elif outer and isinstance(statement.op, (ast.Add, ast.Sub)) and _is_number(value) and not _may_be_tensor(held):
        _note(frame, "count", target, target, statement.value, value)


def _note(frame: Frame, how: str, node: ast.expr, container: ast.expr, stored: ast.expr, value: Value) -> None:
    frame.summary.captures[node] = Capture(how, node, container, stored, value, frame.env, frame.statement)


def _unwaited(function: Value, name: str, given: Arguments) -> bool:
    """Whether a copy goes from the device to the host and says that nobody shall wait for it."""
    if not any(key == "non_blocking" and isinstance(v, Const) and v.value is True for key, v in given.keywords):
        return False
    receivers = [item.receiver for item in alternatives(function) if isinstance(item, Method)]
    if name == "copy_":
        return any(_host_tensor(value) for value in receivers) and bool(given.args) and any_device(given.args[0])
    host, device, stays = conditions.destination(Arguments([receivers[0], *given.args], given.keywords))
    return host and not device and not stays and any(any_device(value) for value in receivers)


def _host_tensor(value: Value) -> bool:
    return any(isinstance(item, Tensor) and item.host for item in alternatives(settled(value)))


def _is_number(value: Value) -> bool:
    return all(isinstance(item, (Const, Scalar)) and item.type in ("int", "float") for item in alternatives(value))


def _may_be_tensor(value: Value) -> bool:
    return any(isinstance(item, (Tensor, Array)) for item in alternatives(settled(value)))


def tensors_in(value: Value, depth: int = 0) -> Iterator[Tensor]:
    """The tensors that a value is or holds."""
    if depth > MAX_DEPTH:
        return
    for item in alternatives(settled(value)):
        if isinstance(item, Tensor):
            yield item
        elif isinstance(item, Tup):
            for part in item.items:
                yield from tensors_in(part, depth + 1)
        elif isinstance(item, (Seq, ListObj, Mapping)):
            if item.element is not NEVER:
                yield from tensors_in(item.element, depth + 1)
        elif isinstance(item, DictObj):
            for part in (*item.items.values(), item.rest):
                yield from tensors_in(part, depth + 1)
