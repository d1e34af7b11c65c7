"""Callables outside torch that read the values of the tensors they are given."""

from __future__ import annotations

import ast

from auditlint.analysis.arguments import Arguments
from auditlint.analysis.frame import Frame
from auditlint.analysis.values import (
    ListObj,
    Seq,
    Tup,
    alternatives,
    any_device,
    element,
    holds_device,
    settled,
)
from auditlint.facts.host import HOST_CALLS, HOST_HARMLESS, HOST_MODULES, HostCall


def host_call(frame: Frame, node: ast.expr, path: str, given: Arguments) -> None:
    """Record the sync of a callable outside torch that reads the tensors it is given."""
    if frame.lazy:
        return
    fact = HOST_CALLS.get(path)
    if fact is None and path not in HOST_HARMLESS:
        fact = HOST_MODULES.get(path.partition(".")[0]) if "." in path else None
    if fact is not None and reads(fact, given):
        short = path.rpartition(".")[2] if path.startswith("logging") else path.replace("numpy.", "np.")
        frame.site(fact.kind, f"{short}()", node, fact.reaches)


def reads(fact: HostCall, given: Arguments) -> bool:
    """Whether a host call is given a device tensor in a place where it reads it."""
    if fact.unless and any(name == fact.unless for name, _ in given.keywords):
        return False
    if fact.only_with and not any(name in fact.only_with for name, _ in given.keywords):
        return False
    if fact.kind in ("format", "serialise"):
        considered = given.args[:1] if fact.reads == "first" else given.all()
        return any(holds_device(value) for value in considered)
    if fact.reads == "first":
        return bool(given.args) and any_device(given.args[0])
    if "any" in fact.reads and any(
        any_device(value) for value in (given.args if fact.kind == "builtin" else given.all())
    ):
        return (
            len(given.args) > 1 or fact.kind != "builtin" or not any_device(given.args[0]) or fact.reads == "any|items"
        )
    if "items" in fact.reads and given.args:
        containers = [item for item in alternatives(settled(given.args[0])) if isinstance(item, (Tup, Seq, ListObj))]
        return any(any_device(element(item)) for item in containers) or (
            fact.reads == "items" and any_device(given.args[0])
        )
    return False
