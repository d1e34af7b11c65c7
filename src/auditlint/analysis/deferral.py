"""Calls of `auditlint.defer`, and what reads its values."""

from __future__ import annotations

import ast

from auditlint.analysis.arguments import Arguments
from auditlint.analysis.frame import Frame
from auditlint.analysis.values import NONE, SCALAR, UNKNOWN, ExtInstance, Union, Value
from auditlint.facts.deferral import (
    DEFERRED,
    GIVES,
    PACKAGE,
    READING_BUILTINS,
    READING_CALLS,
    READING_METHODS,
)


def call(frame: Frame, node: ast.expr, path: str, given: Arguments) -> Value:
    """Call something of `auditlint.defer` by its dotted path; callables handed to it run after the pass."""
    parts = path.removeprefix(PACKAGE).split(".")
    # `auditlint.defer.calls.defer_call` is `auditlint.defer.defer_call`.
    name = ".".join(parts[-2:]) if parts[-2:][0][:1].isupper() else parts[-1]
    if name in READING_CALLS:
        frame.site("finalize", f"{name}()", node)
        return given.args[0] if len(given.args) == 1 else UNKNOWN
    gives = GIVES.get(name)
    if gives == "":
        return given.args[0] if name == "outside_graph" and given.args else NONE
    return ExtInstance(PACKAGE + gives) if gives is not None else UNKNOWN


def method(frame: Frame, node: ast.expr, owner: ExtInstance, name: str) -> Value:
    """Call a method of an object of `auditlint.defer`."""
    cls = owner.path.removeprefix(PACKAGE)
    if name in READING_METHODS.get(cls, ()):
        frame.site("finalize", f".{name}()", node)
        return SCALAR
    if cls == "ProbeBank" and name == "export":
        return ExtInstance(PACKAGE + "Export")
    return UNKNOWN


def is_deferred(value: Value) -> bool:
    """Whether it stands for a value that is read later."""
    if type(value) is ExtInstance:
        return value.path == DEFERRED
    return type(value) is Union and any(type(item) is ExtInstance and item.path == DEFERRED for item in value.items)


def note_read(frame: Frame, node: ast.expr, operation: str, *values: Value) -> None:
    """Record that an operation reads a deferred value now."""
    if not frame.lazy and any(is_deferred(value) for value in values):
        frame.site("finalize", f"{operation} of a deferred value", node)


def note_builtin(frame: Frame, node: ast.expr, name: str, given: Arguments) -> None:
    if name in READING_BUILTINS:
        note_read(frame, node, f"{name}()", *given.args)
