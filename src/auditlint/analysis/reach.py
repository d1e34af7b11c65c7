"""From the registrations of one file to sites: every hook is run, and what it calls is followed."""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from auditlint.analysis import attributes, calls, declarations, hooks
from auditlint.analysis.arguments import Arguments
from auditlint.analysis.frame import Frame
from auditlint.analysis.session import Registration, Session, SiteRecord, Start, Summary
from auditlint.analysis.sites import Site
from auditlint.analysis.values import (
    MODULE,
    OUTPUT,
    TENSOR,
    TENSORS,
    UNKNOWN,
    Bound,
    Env,
    ExtInstance,
    Func,
    Mapping,
    Obj,
    Partial,
    Value,
    alternatives,
    element,
)
from auditlint.diagnostics import Hook, Step
from auditlint.facts.registrars import SIGNATURES
from auditlint.project.modules import FunctionInfo

if TYPE_CHECKING:
    from auditlint.project.modules import Module

ARGUMENTS: dict[str, Value] = {
    "module": MODULE,
    "tensor": TENSOR,
    "tensors": TENSORS,
    "output": OUTPUT,
    "kwargs": Mapping(UNKNOWN),
    "optimizer": ExtInstance("torch.optim.Optimizer"),
    "bucket": ExtInstance("torch.distributed.GradBucket"),
    "unknown": UNKNOWN,
}
# For hooks whose registrar is not known: by the number of parameters that torch has to fill.
BY_COUNT = {0: "callback", 1: "tensor", 2: "forward_pre", 3: "forward", 4: "forward+kwargs"}
SCOPE_KINDS = {"forward method": "forward", "hot path": "hot path"}


def sites_of(session: Session, module: Module, registration: Registration) -> list[Site]:
    """Run one hook and list the sites that it reaches, each with its shortest path."""
    summary = Summary(module.body())
    frame = Frame(session, module.body(), Env(None), summary, lazy=False)
    at = ast.Name(id="", ctx=ast.Load(), lineno=registration.registered.row, col_offset=0)
    target = _target(session, registration.callable)
    taken, words = (target[1], _words(registration.kind, target)) if target is not None else (0, ())
    calls.apply(frame, at, registration.callable, _arguments(session, registration, target))
    found: list[Site] = []
    for _, start in summary.calls.values():
        hook = Hook(
            start.info.qualname,
            start.info.module.filename,
            start.info.row,
            registration.registrar,
            registration.registered,
        )
        if registration.kind not in SCOPE_KINDS:
            session.started.append(Start(registration.kind, hook, start, taken, words))
        exempt = session.config.hot_paths.exempt if registration.kind == "hot path" else ()
        found.extend(_walk(start, hook, SCOPE_KINDS.get(registration.kind, "hook"), exempt))
    return found


def _walk(start: Summary, hook: Hook, scope: str, exempt: Sequence[str]) -> Iterable[Site]:
    queue: deque[tuple[Summary, tuple[Step, ...]]] = deque([(start, ())])
    seen = {id(start)}
    while queue:
        summary, above = queue.popleft()
        info = summary.info
        filename = info.module.filename
        for record in _one_backend(info, list(summary.sites.values())):
            if record.kind == "finalize" and scope != "hook":
                continue  # a decode loop finalizes between two passes, as it should
            row = getattr(record.node, "lineno", info.row)
            yield site(record, filename, scope, hook, (*above, Step(info.qualname, filename, row)))
        for row, callee in summary.calls.values():
            # A hot loop may end in its finaliser: there values are read after the pass.
            final = any(fnmatchcase(callee.info.name, pattern) for pattern in exempt)
            if id(callee) not in seen and not final:
                seen.add(id(callee))
                queue.append((callee, (*above, Step(info.qualname, filename, row))))


def _one_backend(info: FunctionInfo, records: list[SiteRecord]) -> list[SiteRecord]:
    """An `if` that dispatches over backends waits once: of torch.cuda.f and its twins, the first is told."""
    chosen = {
        (_branch(info, r), _twin(r)) for r in records if r.operation.startswith(("torch.cuda.", "torch.accelerator."))
    }
    return [
        record
        for record in records
        if record.kind != "synchronize"
        or not record.operation.startswith("torch.")
        or record.operation.startswith(("torch.cuda.", "torch.accelerator."))
        or _branch(info, record) is None
        or (_branch(info, record), _twin(record)) not in chosen
    ]


def _twin(record: SiteRecord) -> str:
    return record.operation.rpartition(".")[2]


def _branch(info: FunctionInfo, record: SiteRecord) -> ast.stmt | None:
    """The `if` at the top of the function's body that a site is in."""
    body = info.node.body if isinstance(info.node.body, list) else []
    for statement in body:
        if isinstance(statement, ast.If) and statement.lineno <= record.node.lineno <= (statement.end_lineno or 0):
            return statement
    return None


def site(record: SiteRecord, filename: str, scope: str, hook: Hook, path: tuple[Step, ...]) -> Site:
    node = record.node
    end_row, end_col = node.end_lineno or node.lineno, node.end_col_offset or node.col_offset
    row, col = node.lineno, node.col_offset
    function = node.func if isinstance(node, ast.Call) else None
    if isinstance(function, ast.Attribute):
        row = function.end_lineno or row
        col = (function.end_col_offset or col) - len(function.attr.encode())
    statement = (record.statement.lineno, _header_end(record.statement))
    if not statement[0] <= node.lineno <= statement[1]:
        statement = (node.lineno, end_row)
    return Site(
        record.kind,
        record.operation,
        record.evidence,
        record.definite,
        filename,
        node.lineno,
        node.col_offset,
        end_row,
        end_col,
        row,
        col,
        statement,
        scope,
        hook,
        path,
    )


def _header_end(statement: ast.stmt) -> int:
    """The last row of a simple statement, or of the header of a compound one."""
    if isinstance(statement, (ast.If, ast.While)):
        return statement.test.end_lineno or statement.lineno
    if isinstance(statement, (ast.For, ast.AsyncFor)):
        return statement.iter.end_lineno or statement.lineno
    if isinstance(statement, (ast.With, ast.AsyncWith)):
        return statement.items[-1].context_expr.end_lineno or statement.lineno
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return statement.lineno
    if isinstance(statement, ast.Match):
        return statement.subject.end_lineno or statement.lineno
    return statement.end_lineno or statement.lineno


def _arguments(session: Session, registration: Registration, found: tuple[FunctionInfo, int, int] | None) -> Arguments:
    """What torch hands to this hook; an annotation that says more than the signature wins."""
    if registration.kind in SCOPE_KINDS:
        return _declared(session, registration, found)
    given, star = _signature(registration.kind, found)
    if found is not None:
        info, taken, _ = found
        for position, parameter in enumerate(info.positional()[taken:]):
            if position < len(given) and parameter.annotation is not None:
                declared = declarations.parameter(session, info, parameter)
                if declared.kind != "unknown":
                    given[position] = declared
    return Arguments(given, [], star)


def _signature(kind: str, found: tuple[FunctionInfo, int, int] | None) -> tuple[list[Value], Value | None]:
    given: list[Value] = []
    for name in _words(kind, found):
        if name.startswith("*"):
            return given, element(ARGUMENTS[name[1:]])
        given.append(ARGUMENTS[name])
    return given, None


def _words(kind: str, found: tuple[FunctionInfo, int, int] | None) -> tuple[str, ...]:
    """What torch calls a hook of this kind with, in the words of the facts."""
    if found is not None:
        required = found[2]
        if kind == hooks.ANY_KIND:
            # `def wrapped(*args)` passes on whatever torch hands over.
            arguments = found[0].arguments
            passes_on = arguments is not None and arguments.vararg is not None
            kind = "forward" if passes_on else BY_COUNT.get(min(required, 4), "forward")
        elif kind == "tensor" and required >= 2:
            kind = "node"
        elif kind == "forward" and required == 4:
            kind = "forward+kwargs"
        elif kind == "forward_pre" and required == 3:
            kind = "forward_pre+kwargs"
    return SIGNATURES.get(kind, ("module", "tensors", "output"))


def _target(session: Session, value: Value, depth: int = 0) -> tuple[FunctionInfo, int, int] | None:
    """The function behind a callable: (it, parameters already taken, parameters still required)."""
    if depth > 6:
        return None
    if isinstance(value, Func):
        return value.info, 0, _required(value.info, 0, ())
    if isinstance(value, Bound):
        inner = _target(session, value.func, depth + 1)
        return None if inner is None else (inner[0], inner[1] + 1, max(0, inner[2] - 1))
    if isinstance(value, Partial):
        for item in alternatives(value.func):
            inner = _target(session, item, depth + 1)
            if inner is not None:
                taken = inner[1] + len(value.args)
                return inner[0], taken, _required(inner[0], taken, [name for name, _ in value.keywords])
    if isinstance(value, Obj):
        frame = Frame(session, value.cls.module.body(), Env(None), Summary(value.cls.module.body()), lazy=True)
        for item in alternatives(attributes.attribute(frame, value, "__call__")):
            if isinstance(item, Bound):
                return _target(session, item, depth + 1)
    return None


def _required(info: FunctionInfo, taken: int, named: Iterable[str]) -> int:
    given = set(named)
    return sum(1 for p in info.positional()[taken:] if p.arg not in info.defaults and p.arg not in given)


def _declared(session: Session, registration: Registration, found: tuple[FunctionInfo, int, int] | None) -> Arguments:
    """A scope's function is called by anyone: its parameters are what they are declared to be."""
    if found is None:
        return Arguments([], [])
    info, taken, _ = found
    given: list[Value] = []
    for parameter in info.positional()[taken:]:
        value = declarations.parameter(session, info, parameter)
        if value.kind == "unknown" and registration.kind == "forward method" and parameter.arg not in info.defaults:
            value = TENSOR
        given.append(value)
    return Arguments(given, [])
