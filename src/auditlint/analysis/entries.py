"""Reading what hooks kept one entry at a time, after the pass: a transfer for each."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from auditlint.analysis import binding, interpreter, names
from auditlint.analysis.bodies import called
from auditlint.analysis.captures import tensors_in
from auditlint.analysis.frame import Frame
from auditlint.analysis.keeping import Group, Kept, groups, place_uses
from auditlint.analysis.places import Loop, Place, Use, holder, loops, object_of
from auditlint.analysis.session import Session, SiteRecord, Summary
from auditlint.analysis.sites import Site
from auditlint.analysis.values import Env, Obj
from auditlint.project.modules import FunctionInfo

# Reads of numbers, and copies, which are worth putting together only where numbers are copied.
NUMBERS = {"item", "tolist", "cast", "format"}
COPIES = {"cpu", "numpy"}
# What puts the entries of a container together before they are read.
JOINING = {"stack", "cat", "concat", "hstack", "vstack", "sum"}
READS = {
    "item",
    "tolist",
    "numpy",
    "cpu",
    "float",
    "int",
    "print",
    "format",
    "array",
    "asarray",
    "info",
    "debug",
    "to",
    "bool",
}
# Functions run for one question.
MAX_EFFORT = 60


def sites_of(session: Session, kept: list[Kept]) -> Iterator[Site]:
    """One site for each read of a device tensor in a loop over a container that hooks filled."""
    reached = {step for item in kept for step in ((s.filename, s.name) for s in item.path)}
    for group in groups(kept):
        filled = [item for item in group.kept if _holds_device(item)]
        if not filled:
            continue
        for use in place_uses(filled[0]):
            if (use.info.module.filename, use.info.qualname) not in reached and use.info.name != "__del__":
                around = [loop for loop in loops(use) if _may_read(use, loop)]
                if around:
                    yield from _in_loops(session, group, filled[0], use, around)


def _holds_device(item: Kept) -> bool:
    return item.capture.how in ("append", "store") and any(not tensor.host for tensor in tensors_in(item.capture.value))


def _may_read(use: Use, loop: Loop) -> bool:
    """Whether anything in a loop looks as if it read what the loop binds."""
    last = getattr(loop.node, "end_lineno", 0)
    for node in use.body.nodes:
        if isinstance(node, (ast.Call, ast.FormattedValue)) and loop.node.lineno <= node.lineno <= last:
            reads = isinstance(node, ast.FormattedValue) or called(node) in READS
            if reads and any(isinstance(part, ast.Name) and part.id in loop.bound for part in ast.walk(node)):
                return True
    return False


def _in_loops(session: Session, group: Group, item: Kept, use: Use, around: list[Loop]) -> Iterator[Site]:
    single = all(tensor.single for kept in group.kept for tensor in tensors_in(kept.capture.value))
    kinds = NUMBERS | COPIES if single else NUMBERS
    for record in _run(session, group.place, item, use.info):
        joined = any(isinstance(part, ast.Call) and called(part) in JOINING for part in ast.walk(record.node))
        if joined or record.kind not in kinds:
            continue
        loop = next((loop for loop in around if _within(record.node, loop)), None)
        if loop is not None:
            made = SiteRecord("entry", record.operation, "", record.definite, record.node, record.statement)
            yield item.read_in(use.info, made)


def _within(node: ast.expr, loop: Loop) -> bool:
    """Whether an expression in the body of a loop is made of what the loop binds."""
    if any(part is node for part in ast.walk(loop.over)) or not any(part is node for part in ast.walk(loop.node)):
        return False
    return any(isinstance(part, ast.Name) and part.id in loop.bound for part in ast.walk(node))


def _run(session: Session, place: Place, item: Kept, info: FunctionInfo) -> list[SiteRecord]:
    """Run a function as it runs after the pass, its variables and attributes holding what the hooks left there."""
    summary = Summary(info)
    limit, session.limit = session.limit, session.runs + MAX_EFFORT
    stack, session.stack = session.stack, [info]
    try:
        frame = _frame(session, place, item, info, summary)
        if frame is not None:
            interpreter.run(frame)
    except RecursionError:
        session.too_nested(info)
    finally:
        session.limit, session.stack = limit, stack
    return list(summary.sites.values())


def _frame(session: Session, place: Place, item: Kept, info: FunctionInfo, summary: Summary) -> Frame | None:
    if place.kind == "local":
        held = holder(item.capture.env, place.name) if info is place.owner else None
        # The very variables that the hook closes over, so that the containers are those which it fills.
        return None if held is None else Frame(session, info, held, summary, lazy=False)
    if info.parent is not None:
        return None
    env = Env(None)
    receiver = _receiver(session, item, info)
    for name, value in binding.unbound(session, info, receiver).items():
        env.put(name, value)
    return Frame(session, info, env, summary, lazy=False)


def _receiver(session: Session, item: Kept, info: FunctionInfo) -> Obj | None:
    """The instance that a method is run on: the one whose hook filled the container, where that is of its class."""
    if info.cls is None:
        return None
    container = item.capture.container
    while isinstance(container, (ast.Subscript, ast.Call)):
        container = (
            container.value
            if isinstance(container, ast.Subscript)
            else getattr(container.func, "value", container.func)
        )
    if isinstance(container, ast.Attribute):
        obj = object_of(item.capture.env, container.value)
        if obj is not None and info.cls in names.mro(session, obj.cls):
            return obj
    return names.self_object(session, info.cls)
