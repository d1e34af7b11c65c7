"""Calls of Python's builtins."""

from __future__ import annotations

import ast
from collections.abc import Callable

from auditlint.analysis import attributes, calls, expressions, host_calls
from auditlint.analysis.arguments import Arguments
from auditlint.analysis.frame import Frame
from auditlint.analysis.values import (
    BOOL,
    INT,
    NONE,
    SCALAR,
    STR,
    UNKNOWN,
    Array,
    ClassVal,
    Const,
    DictObj,
    ListObj,
    Mapping,
    Method,
    Obj,
    Seq,
    Tensor,
    Tup,
    Value,
    alternatives,
    any_device,
    const,
    join,
    join_all,
    settled,
    tup,
)
from auditlint.facts.registrars import REGISTRARS


def plain(frame: Frame, node: ast.expr, name: str, given: Arguments) -> Value:
    host_calls.host_call(frame, node, name, given)
    if name in ("len", "hash", "id", "ord"):
        return INT
    if name in ("isinstance", "issubclass", "callable", "hasattr", "any", "all", "bool"):
        return BOOL
    if name in ("str", "repr", "format", "ascii", "input"):
        return STR
    if name in ("float", "int", "complex", "chr", "hex", "bin", "oct", "pow", "divmod"):
        return SCALAR
    if name in ("print", "delattr"):
        return NONE
    return UNKNOWN


def _getattr(frame: Frame, node: ast.expr, given: Arguments) -> Value:
    if len(given.args) < 2:
        return UNKNOWN
    owner, found = given.args[0], list[Value]()
    for item in alternatives(settled(given.args[1])):
        if isinstance(item, Const) and item.value in REGISTRARS:
            found.append(Method(owner, str(item.value)))
        elif isinstance(item, Const) and isinstance(item.value, str):
            found.append(
                Method(owner, item.value) if "*" in item.value else attributes.attribute(frame, owner, item.value)
            )
        else:
            found.append(UNKNOWN)
    value = join_all(found)
    if len(given.args) > 2:
        if isinstance(value, Method) and value.receiver.kind in ("unknown", "param", "obj", "nnmodule"):
            return join(value, given.args[2])
        return join(value, given.args[2]) if value.kind == "unknown" else value
    return value


def _setattr(frame: Frame, node: ast.expr, given: Arguments) -> Value:
    if len(given.args) == 3:
        for owner in alternatives(given.args[0]):
            for name in alternatives(settled(given.args[1])):
                if isinstance(owner, Obj) and isinstance(name, Const) and isinstance(name.value, str):
                    owner.put(name.value, given.args[2])
    return NONE


def sequence(frame: Frame, node: ast.expr, given: Arguments) -> ListObj:
    made = frame.session.list_at(node, frame.env)
    if given.args:
        value = settled(given.args[0])
        if isinstance(value, Tup):
            for part in value.items:
                made.add(part)
        else:
            made.add(expressions.iterate(frame, value, node))
    return made


def _tuple(frame: Frame, node: ast.expr, given: Arguments) -> Value:
    if not given.args:
        return tup(())
    value = settled(given.args[0])
    return value if isinstance(value, Tup) else Seq(expressions.iterate(frame, value, node))


def _set(frame: Frame, node: ast.expr, given: Arguments) -> Value:
    made = sequence(frame, node, given)
    made.hashed = True
    return made


def dictionary(frame: Frame, node: ast.expr, given: Arguments) -> DictObj:
    made = frame.session.dict_at(node, frame.env)
    for name, value in given.keywords:
        made.put(const(name), value)
    if given.args:
        for item in alternatives(settled(given.args[0])):
            if isinstance(item, DictObj):
                return item
            if isinstance(item, Mapping):
                made.put(SCALAR, item.element)
            elif isinstance(item, (Seq, ListObj)):
                pair = settled(item.element)
                made.put(SCALAR, pair.items[1] if isinstance(pair, Tup) and len(pair.items) == 2 else UNKNOWN)
    return made


def _zip(frame: Frame, node: ast.expr, given: Arguments) -> Value:
    return Seq(tup(tuple(expressions.iterate(frame, value, node) for value in given.args)))


def _enumerate(frame: Frame, node: ast.expr, given: Arguments) -> Value:
    return Seq(tup((INT, expressions.iterate(frame, given.args[0], node) if given.args else UNKNOWN)))


def _iterated(frame: Frame, node: ast.expr, given: Arguments) -> Value:
    return Seq(expressions.iterate(frame, given.args[0], node)) if given.args else UNKNOWN


def _next(frame: Frame, node: ast.expr, given: Arguments) -> Value:
    if not given.args:
        return UNKNOWN
    one = expressions.iterate(frame, given.args[0], node)
    return join(one, given.args[1]) if len(given.args) > 1 else one


def _map(frame: Frame, node: ast.expr, given: Arguments) -> Value:
    if len(given.args) < 2:
        return UNKNOWN
    parts = [expressions.iterate(frame, value, node) for value in given.args[1:]]
    return Seq(calls.apply(frame, node, given.args[0], Arguments(parts, [])))


def _filter(frame: Frame, node: ast.expr, given: Arguments) -> Value:
    if len(given.args) < 2:
        return UNKNOWN
    one = expressions.iterate(frame, given.args[1], node)
    kept = calls.apply(frame, node, given.args[0], Arguments([one], []))
    expressions.truth_site(frame, kept, node, "filter()")
    return Seq(one)


def _extreme(frame: Frame, node: ast.expr, given: Arguments) -> Value:
    name = "sorted" if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "sorted" else "max"
    key = given.get(-1, "key")
    items = [expressions.iterate(frame, given.args[0], node)] if len(given.args) == 1 else list(given.args)
    if key is not None and items:
        result = calls.apply(frame, node, key, Arguments([join_all(items)], []))
        if any_device(result):
            frame.site("builtin", f"{getattr(getattr(node, 'func', None), 'id', name)}()", node, "Tensor.__bool__")
    else:
        host_calls.host_call(frame, node, getattr(getattr(node, "func", None), "id", name), given)
    one = join_all(items) if items else UNKNOWN
    return Seq(one) if name == "sorted" else one


def _sum(frame: Frame, node: ast.expr, given: Arguments) -> Value:
    if not given.args:
        return UNKNOWN
    one = expressions.iterate(frame, given.args[0], node)
    tensors = [item for item in alternatives(settled(one)) if isinstance(item, Tensor)]
    return Tensor(all(t.host for t in tensors)) if tensors else (SCALAR if one.kind in ("const", "scalar") else UNKNOWN)


def _range(frame: Frame, node: ast.expr, given: Arguments) -> Value:
    host_calls.host_call(frame, node, "range", given)
    return Seq(INT)


def _numeric(frame: Frame, node: ast.expr, given: Arguments) -> Value:
    """`abs` and `round` of a tensor are tensors."""
    items = alternatives(settled(given.args[0])) if given.args else ()
    return join_all([item if isinstance(item, (Tensor, Array)) else SCALAR for item in items])


def _type(frame: Frame, node: ast.expr, given: Arguments) -> Value:
    items = alternatives(settled(given.args[0])) if given.args else ()
    return join_all([ClassVal(item.cls) for item in items if isinstance(item, Obj)])


BUILTINS: dict[str, Callable[[Frame, ast.expr, Arguments], Value]] = {
    "getattr": _getattr,
    "setattr": _setattr,
    "list": sequence,
    "tuple": _tuple,
    "set": _set,
    "frozenset": _set,
    "dict": dictionary,
    "zip": _zip,
    "enumerate": _enumerate,
    "iter": _iterated,
    "reversed": _iterated,
    "next": _next,
    "map": _map,
    "filter": _filter,
    "max": _extreme,
    "min": _extreme,
    "sorted": _extreme,
    "sum": _sum,
    "range": _range,
    "abs": _numeric,
    "round": _numeric,
    "type": _type,
}
