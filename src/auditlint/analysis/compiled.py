"""Python state in hooks of models that torch.compile is applied to."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

from auditlint.analysis.bodies import OUTSIDE_GRAPH, Body, body_of, called
from auditlint.analysis.keeping import Kept
from auditlint.analysis.origins import Context
from auditlint.analysis.places import functions_of
from auditlint.analysis.session import Session, Start
from auditlint.analysis.sites import Site
from auditlint.analysis.spelling import dotted
from auditlint.project.modules import FunctionInfo, Module

# Kinds of hooks that are compiled together with their module.
TRACED = {"forward", "forward+kwargs", "forward_pre", "forward_pre+kwargs"}

# The hook itself, and what it calls: further down, what is compiled is anybody's guess.
MAX_STEPS = 2


class Compiled(NamedTuple):
    """A call or decorator that compiles: the function it stands in, its row, and the names that it covers."""

    info: FunctionInfo
    row: int
    names: set[str]


def sites_of(session: Session, start: Start, kept: list[Kept]) -> Iterator[Site]:
    """Growing containers and counters of a hook whose model is compiled, as far as the registering file shows."""
    state = [
        item
        for item in kept
        if item.capture.how in ("append", "count") and item.place is not None and _near(start, item)
    ]
    if not state or start.kind not in TRACED or not _is_compiled(session, start):
        return
    for item in state:
        if not _outside_graph(item.context, session):
            word = "counter" if item.capture.how == "count" else item.operation
            yield item.site(item.record("python_state", word))


def _near(start: Start, item: Kept) -> bool:
    """Whether a capture is in the hook, or in what the hook calls in its own file."""
    return len(item.path) <= MAX_STEPS and item.context.info.module is start.summary.info.module


def _outside_graph(context: Context, session: Session) -> bool:
    """Whether a function on the way is left to Python, or asks whether it is being compiled."""
    above: Context | None = context
    while above is not None:
        if above.body.decorators & OUTSIDE_GRAPH:
            return True
        if any(isinstance(node, ast.Call) and called(node) == "is_compiling" for node in above.body.nodes):
            return True
        above = above.above
    return False


def _is_compiled(session: Session, start: Start) -> bool:
    registered = start.hook.registered
    if b"compile" not in session.project.source(registered.filename):
        return False
    module = session.project.module(registered.filename)
    if module is None:
        return False
    compiled = list(_compiled(module))
    if not compiled:
        return False
    for info in functions_of(module):
        body = body_of(info)
        for call in body.calls(registered.row):
            owners = [call.func.value] if isinstance(call.func, ast.Attribute) else []
            wanted = names_in([*owners, *call.args], body)
            removed = [
                n.lineno
                for n in body.nodes
                if isinstance(n, ast.Call) and called(n) == "remove" and n.lineno > call.lineno
            ]
            # What is compiled after the hooks are gone does not see them.
            compiled = [item for item in compiled if not (item.info is info and removed and item.row > min(removed))]
            if _shared(wanted, info, compiled) or _by_callers(module, info, wanted, compiled):
                return True
    return False


def _compiled(module: Module) -> Iterator[Compiled]:
    """Everything that a file compiles: `torch.compile(model)`, `model.compile()`, a decorator."""
    for info in functions_of(module):
        body = body_of(info)
        if "compile" in body.decorators:
            outer = info.parent or module.body()
            yield Compiled(
                outer,
                info.row,
                {node.id for node in body.nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)},
            )
        for node in body.nodes:
            if not isinstance(node, ast.Call) or called(node) != "compile":
                continue
            path = dotted(node.func)
            if path in ("torch.compile", "compile") and node.args:
                yield Compiled(info, node.lineno, names_in([node.args[0]], body) | _targets(node, body))
            elif (
                isinstance(node.func, ast.Attribute) and not node.args and path.partition(".")[0] not in ("re", "torch")
            ):
                yield Compiled(info, node.lineno, names_in([node.func.value], body))


def _targets(call: ast.Call, body: Body) -> set[str]:
    return {name for name, bindings in body.bound.items() if any(binding.value is call for binding in bindings)}


def names_in(nodes: list[ast.expr], body: Body) -> set[str]:
    """The variables and attributes of `self` that expressions are made of, and what those are made of."""
    found: set[str] = set()
    pending = list(nodes)
    for _ in range(40):
        if not pending:
            break
        for node in ast.walk(pending.pop()):
            name = dotted(node) if isinstance(node, ast.Attribute) else getattr(node, "id", "")
            if name.count(".") > 1:
                name = ".".join(name.split(".")[:2])
            if name and name not in found:
                found.add(name)
                pending += [binding.value for binding in body.bound.get(name, ())]
    return {name for name in found if name not in ("self", "torch", "nn", "range", "enumerate", "zip", "hook")}


def _shared(wanted: set[str], info: FunctionInfo, compiled: list[Compiled]) -> bool:
    for where, _, names in compiled:
        common = wanted & names
        if where is info or _encloses(where, info) or _encloses(info, where):
            if common:
                return True
        elif info.cls is not None and where.cls is info.cls and any(name.startswith("self.") for name in common):
            return True
    return False


def _encloses(outer: FunctionInfo, inner: FunctionInfo) -> bool:
    if isinstance(outer.node, ast.Module):
        return True
    above = inner.parent
    while above is not None and above is not outer:
        above = above.parent
    return above is outer


def _by_callers(module: Module, info: FunctionInfo, wanted: set[str], compiled: list[Compiled]) -> bool:
    """Whether a function of the file hands a model that it compiles to the function that registers."""
    if not any(parameter.arg in wanted for parameter in info.positional()):
        return False
    for caller in functions_of(module):
        body = body_of(caller)
        for node in body.nodes:
            if isinstance(node, ast.Call) and called(node) in (info.name, info.cls.name if info.cls else ""):
                handed = names_in([*node.args, *(keyword.value for keyword in node.keywords)], body)
                if _shared(handed, caller, compiled):
                    return True
    return False
