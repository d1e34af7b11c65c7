"""Methods of lists, sets and dicts, and what `collections` makes."""

from __future__ import annotations

import ast

from auditlint.analysis import builtins_, calls, expressions, host_calls
from auditlint.analysis.arguments import Arguments
from auditlint.analysis.frame import Frame
from auditlint.analysis.values import (
    INT,
    NEVER,
    NONE,
    SCALAR,
    STR,
    TENSOR,
    UNKNOWN,
    Const,
    DictObj,
    ListObj,
    Mapping,
    ModelOutput,
    Seq,
    Value,
    alternatives,
    any_device,
    const,
    element,
    join,
    join_all,
    settled,
    tup,
)
from auditlint.facts.host import HOST_CALLS


def collection(frame: Frame, node: ast.expr, path: str, given: Arguments) -> Value:
    name = path.rpartition(".")[2]
    if name == "deque":
        return builtins_.sequence(frame, node, given)
    if name == "OrderedDict":
        return builtins_.dictionary(frame, node, given)
    if name == "defaultdict":
        made = builtins_.dictionary(frame, node, Arguments([], []))
        if given.args:
            made.put(SCALAR, calls.apply(frame, node, given.args[0], Arguments([], [])))
        return made
    return UNKNOWN


def list_method(frame: Frame, node: ast.expr, owner: ListObj, name: str, given: Arguments) -> Value:
    if name in ("append", "add", "appendleft") and given.args:
        owner.add(given.args[0])
        return NONE
    if name == "insert" and len(given.args) == 2:
        owner.add(given.args[1])
        return NONE
    if name in ("extend", "update", "extendleft") and given.args:
        owner.add(expressions.iterate(frame, given.args[0], node))
        return NONE
    if name in ("pop", "popleft"):
        return element(owner)
    if name == "copy":
        return owner
    if name in ("index", "count", "remove") and not owner.hashed:
        list_reads(frame, node, owner, name, given)
        return INT
    if name == "sort":
        host_calls.host_call(frame, node, "list.sort", Arguments([owner, *given.args], given.keywords))
    return NONE


def list_reads(frame: Frame, node: ast.expr, owner: Value, name: str, given: Arguments) -> None:
    if given.args and (any_device(element(owner)) or any_device(given.args[0])) and f"list.{name}" in HOST_CALLS:
        frame.site("builtin", f".{name}()", node, "Tensor.__bool__")


def dict_method(frame: Frame, node: ast.expr, owner: Value, name: str, given: Arguments) -> Value:
    if isinstance(owner, DictObj):
        held = owner.values() if owner.items or owner.rest is not NEVER else UNKNOWN
        if given.args and isinstance(given.args[0], Const) and given.args[0].value in owner.items:
            held = owner.items[given.args[0].value]
    else:
        held = owner.element if isinstance(owner, Mapping) else TENSOR
    if name in ("get", "pop"):
        default = given.args[1] if len(given.args) > 1 else (NONE if name == "get" else None)
        return held if default is None else join(held, default)
    if name == "setdefault" and given.args:
        if isinstance(owner, DictObj) and len(given.args) > 1:
            owner.put(given.args[0], given.args[1])
            return owner.values() if not isinstance(given.args[0], Const) else owner.items[given.args[0].value]
        return held
    if name == "items":
        if isinstance(owner, DictObj) and owner.items and owner.rest is NEVER and len(owner.items) <= 8:
            return Seq(
                join_all([tup((const(k) if isinstance(k, (str, int)) else SCALAR, v)) for k, v in owner.items.items()])
            )
        return Seq(tup((_keys(owner), held)))
    if name == "keys":
        return Seq(_keys(owner))
    if name == "values":
        return Seq(held)
    if name == "update" and isinstance(owner, DictObj):
        for key, value in given.keywords:
            owner.put(const(key), value)
        for item in alternatives(settled(given.args[0])) if given.args else ():
            if isinstance(item, DictObj) and item is not owner:
                for held_key, value in item.items.items():
                    owner.put(const(held_key) if isinstance(held_key, (str, int)) else SCALAR, value)
            elif isinstance(item, Mapping):
                owner.put(SCALAR, item.element)
        return NONE
    if name == "copy":
        return owner
    if name == "to_tuple":
        return Seq(TENSOR)
    return UNKNOWN


def _keys(owner: Value) -> Value:
    if (
        isinstance(owner, DictObj)
        and owner.rest is NEVER
        and owner.items
        and all(isinstance(k, str) for k in owner.items)
    ):
        return STR
    return STR if isinstance(owner, ModelOutput) else UNKNOWN
