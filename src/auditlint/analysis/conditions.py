"""Whether an operation makes the host wait: the conditions of the facts table, held against a call's arguments."""

from __future__ import annotations

import ast

from auditlint.analysis.arguments import Arguments
from auditlint.analysis.frame import Frame
from auditlint.analysis.values import (
    NONE,
    UNKNOWN,
    Array,
    Const,
    Device,
    ListObj,
    Scalar,
    Seq,
    Tensor,
    Tup,
    Value,
    alternatives,
    any_device,
    holds_device,
    settled,
)
from auditlint.facts.syncs import SYNCS


def report(
    frame: Frame, name: str, node: ast.expr, operation: str, given: Arguments | None = None, definite: bool = True
) -> None:
    """Record what the facts say about an operation, as far as its conditions hold."""
    for sync in SYNCS.get(name, ()):
        if sync.reported and all(holds(condition, given) for condition in sync.when.split(" and ")):
            frame.site(sync.kind, operation, node, name, definite)
            return


def holds(condition: str, given: Arguments | None) -> bool:
    """Whether a condition of the facts table holds for a call; the receiver counts as argument 0."""
    if condition == "always":
        return True
    if given is None:
        return False
    if condition == "one_argument":
        return len(given.args) == 1 and not given.keywords and given.star is None
    verb, _, spec = condition.partition(":")
    if verb == "missing":
        return all(_argument(given, part) is None for part in spec.split(","))
    if verb in ("to_cpu", "to_device", "host_destination", "host_source"):
        return _copies(verb, given)
    rest = spec.endswith("+")
    value = _argument(given, spec.rstrip("+"))
    if value is None:
        return False
    if verb == "true":
        return not (isinstance(value, Const) and value.value is False)
    if verb == "tensor":
        if rest:
            position = int(spec.rstrip("+").partition("@")[2])
            return any(holds_device(item) for item in given.args[position:])
        return holds_device(value) if spec.startswith("obj@") else any_device(value)
    if verb == "contains":
        items = alternatives(settled(value))
        if any(isinstance(item, Tensor) for item in items):
            return False  # what may be one tensor is mostly one, as a hook's output is: nothing is read then
        return any(isinstance(item, (Tup, Seq, ListObj)) and holds_device(item) for item in items)
    if verb in ("host", "device"):
        return _on_host(value) and (verb == "host" or _names_device(given))
    return False


def _argument(given: Arguments, spec: str) -> Value | None:
    name, _, position = spec.partition("@")
    return given.get(int(position) if position.lstrip("-").isdigit() else -1, name)


def _on_host(value: Value) -> bool:
    """Whether it is known to live on the host: numbers, lists of them, arrays, host tensors."""
    items = alternatives(settled(value))
    return bool(items) and all(_host_item(item) for item in items)


def _host_item(item: Value, depth: int = 0) -> bool:
    if isinstance(item, Tensor):
        return item.host
    if isinstance(item, (Const, Scalar)):
        return item != NONE
    if isinstance(item, Array):
        return True
    if isinstance(item, Tup) and depth < 3:
        return bool(item.items) and all(_host_item(part, depth + 1) for part in item.items)
    if isinstance(item, (Seq, ListObj)) and depth < 3:
        return all(_host_item(part, depth + 1) for part in alternatives(settled(item.element)))
    return False


def _names_device(given: Arguments) -> bool:
    for name, value in given.keywords:
        if name == "device":
            return any(device_of(item) is False for item in alternatives(settled(value)))
    return False


def device_of(value: Value) -> bool | None:
    """Whether a device argument means the host (True), a device (False), or cannot be told (None)."""
    if isinstance(value, Device):
        return value.host
    if isinstance(value, Const) and isinstance(value.value, str):
        name = value.value.partition(":")[0]
        if name == "cpu":
            return True
        return False if name in ("cuda", "mps", "xpu", "hpu", "npu", "musa") else None
    if isinstance(value, (Const, Scalar)) and value.type == "int":
        return False
    return None


def non_blocking(given: Arguments) -> bool:
    """Whether the copy is, or may be meant to be, asynchronous."""
    for name, value in given.keywords:
        if name in ("non_blocking", "async_op"):
            return not (isinstance(value, Const) and value.value is False)
    return False


def destination(given: Arguments) -> tuple[bool, bool, bool]:
    """Where `.to(...)` may go: (to the host, to a device, stays)."""
    host = device = stays = False
    value = given.get(1, "device")
    if value is None:
        value = given.get(-1, "other")
    if value is None:
        return False, False, True
    for item in alternatives(settled(value)):
        if isinstance(item, Tensor):
            host, device = host or item.host, device or not item.host
            continue
        where = device_of(item)
        if where is True:
            host = True
        elif where is False:
            device = True
        else:
            stays = True
    # Several backends' answers to one question: a device is what the analysis is about.
    return host and not device, device, stays


def _copies(verb: str, given: Arguments) -> bool:
    if non_blocking(given):
        return False
    receiver = given.args[0] if given.args else UNKNOWN
    if verb in ("to_cpu", "to_device"):
        host, device, stays = destination(given)
        return host and not stays if verb == "to_cpu" else device and _on_host(receiver)
    source = given.get(1, "src")
    if source is None:
        return False
    if len(given.args) > 2 and not (isinstance(given.args[2], Const) and given.args[2].value is False):
        return False
    if verb == "host_destination":
        return _on_host(receiver) and any_device(source)
    return any_device(receiver) and not _on_host(receiver) and _on_host(source)
