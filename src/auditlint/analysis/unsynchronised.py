"""Copies to the host that nobody waited for, and that are read."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from auditlint.analysis.bodies import Body, called
from auditlint.analysis.keeping import Kept
from auditlint.analysis.places import Use, base_of, derived, mentions, place_of, uses
from auditlint.analysis.session import Session, SiteRecord

READS = {"item", "tolist", "numpy"}
BUILTINS = {"float", "int", "bool", "print", "str", "repr", "format"}
MODULES = ("np", "numpy", "json", "pickle")


def records(session: Session, kept: Kept) -> Iterator[SiteRecord]:
    """The first read of a copy that did not wait, in the function that makes it or in those that read its container."""
    copy, body = kept.capture.node, kept.context.body
    assert isinstance(copy, ast.Call)
    for node in body.nodes:
        if _reads(node, [copy], set()):
            yield kept.record("unsynchronised", _operation(kept), node=copy)
            return
    names = _names(copy, body)
    after = [node for node in body.nodes if getattr(node, "lineno", 0) > copy.lineno and _reads(node, [], names)]
    first = min((node.lineno for node in after if isinstance(node, ast.expr)), default=0)
    if not _waited(body, copy.lineno, first) if first else _read_elsewhere(session, kept, copy, names):
        yield kept.record("unsynchronised", _operation(kept), node=copy)


def _operation(kept: Kept) -> str:
    node = kept.capture.node
    name = called(node) if isinstance(node, ast.Call) else ""
    return f".{name}(non_blocking=True)" if name == "copy_" else f'.{name}("cpu", non_blocking=True)'


def _names(copy: ast.Call, body: Body) -> set[str]:
    """The local names under which a copy goes on: what it is assigned to, or the buffer that it fills."""
    if called(copy) == "copy_" and isinstance(copy.func, ast.Attribute):
        base = base_of(copy.func.value)
        names = {base.id} if isinstance(base, ast.Name) else set()
    else:
        names = set()
    for name, bindings in body.bound.items():
        if any(copy in ast.walk(binding.value) for binding in bindings):
            names.add(name)
    return names


def _reads(node: ast.AST, nodes: list[ast.expr], names: set[str]) -> bool:
    """Whether an expression reads, on the host, one of these nodes or names."""
    if isinstance(node, ast.Call):
        name = called(node)
        if isinstance(node.func, ast.Attribute):
            if name in READS:
                return mentions(node.func.value, nodes, names)
            root = node.func.value
            if isinstance(root, ast.Name) and root.id in MODULES:
                return any(mentions(part, nodes, names) for part in node.args)
        elif name in BUILTINS:
            return any(mentions(part, nodes, names) for part in node.args)
    return isinstance(node, ast.FormattedValue) and mentions(node.value, nodes, names)


def _waited(body: Body, first: int, last: int) -> bool:
    """Whether anything between two rows waits for the device, or asks whether it is done."""
    return any(
        isinstance(node, ast.Call) and first <= node.lineno <= last and _waits(called(node)) for node in body.nodes
    )


def _waits(name: str) -> bool:
    return "synchronize" in name or name in ("wait", "query", "join", "barrier") or name.startswith("sync")


def _read_elsewhere(session: Session, kept: Kept, copy: ast.Call, names: set[str]) -> bool:
    """Whether the copy is kept, and some function near by reads it although nothing there ever waits."""
    if any(
        word in session.project.source(name) for name in kept.files for word in (b"synchronize", b".query(", b".wait(")
    ):
        return False
    context = kept.context
    for node in context.body.nodes:
        container: ast.expr | None = None
        if isinstance(node, ast.Assign) and mentions(node.value, [copy], names):
            container = next((t for t in node.targets if isinstance(t, (ast.Attribute, ast.Subscript))), None)
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in ("append", "add")
            and any(mentions(part, [copy], names) for part in node.args)
        ):
            container = node.func.value
        place = place_of(session, context, kept.capture.env, container) if container is not None else None
        if place is not None and any(
            _use_reads(use) for use in uses(session, place, kept.files) if use.info is not context.info
        ):
            return True
    return False


def _use_reads(use: Use) -> bool:
    tainted = derived(use)
    return any(_reads(node, use.nodes, tainted) for node in use.body.nodes)
