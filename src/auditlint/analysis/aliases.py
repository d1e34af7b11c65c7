"""Memory that a hook keeps without a copy, and that somebody writes to afterwards."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from auditlint.analysis.bodies import Body, body_of
from auditlint.analysis.compiled import names_in
from auditlint.analysis.keeping import Kept, place_uses
from auditlint.analysis.origins import Origin
from auditlint.analysis.places import base_of, functions_of
from auditlint.analysis.session import SiteRecord
from auditlint.analysis.spelling import dotted
from auditlint.facts.returns import TENSOR_METHODS
from auditlint.project.modules import FunctionInfo

# Methods that end in an underscore and write nothing.
HARMLESS = {"requires_grad_", "detach_", "retain_grad_", "share_memory_"}


def records(kept: Kept, part: ast.expr, made: Origin) -> Iterator[SiteRecord]:
    """A part of what is captured, where its memory is not its own and is written to later."""
    capture = kept.capture
    if made.alias == "parameter":
        # The optimizer and load_state_dict write to parameters in place: every entry would be the same memory.
        if capture.how == "append":
            yield kept.record("alias", f"{kept.operation} of a parameter", node=part)
    elif made.alias:
        row = written_after(kept.context.body, made.names, capture.node.lineno)
        if row or _accumulated(kept) or _overwritten_by_next(kept, made):
            yield kept.record("alias", kept.operation, node=part)


def _overwritten_by_next(kept: Kept, made: Origin) -> bool:
    """Whether the hook sits in a model that the same file builds with modules that write to their input."""
    session, registered = kept.session, kept.start.hook.registered
    if not kept.start.kind.startswith("forward") or made.alias != "output":
        return False
    module = session.project.module(registered.filename)
    if module is None or b"inplace" not in module.source:
        return False
    functions = functions_of(module)
    for info in functions:
        body = body_of(info)
        for call in body.calls(registered.row):
            if isinstance(call.func, ast.Attribute):
                names = names_in([call.func.value], body)
                if any(_builds(body_of(other), names, other, info) for other in functions):
                    return True
    return False


def _builds(body: Body, names: set[str], info: FunctionInfo, hooked: FunctionInfo) -> bool:
    """Whether a function binds one of these names to a model with a module that works in place."""
    for node in body.nodes:
        if not isinstance(node, ast.Assign):
            continue
        for target in node.targets:
            name = dotted(target)
            own = info is hooked or isinstance(info.node, ast.Module)
            seen = own if isinstance(target, ast.Name) else info.cls is hooked.cls
            if name in names and seen and any(_works_in_place(part) for part in ast.walk(node.value)):
                return True
    return False


def _works_in_place(node: ast.AST) -> bool:
    """`nn.ReLU(inplace=True)`."""
    return isinstance(node, ast.Call) and any(
        keyword.arg == "inplace" and isinstance(keyword.value, ast.Constant) and keyword.value.value is True
        for keyword in node.keywords
    )


def written_after(body: Body, names: frozenset[str], row: int) -> int:
    """The first row below `row` on which one of these names' memory is written to; 0 where none is."""
    rebound = {name: min((b.row for b in body.bound.get(name, ()) if b.row > row), default=10**9) for name in names}
    found = []
    for node in body.nodes:
        target = written(node)
        if target is None or target.lineno <= row:
            continue
        base = base_of(target)
        if isinstance(base, ast.Name) and base.id in names and target.lineno < rebound[base.id]:
            found.append(target.lineno)
    return min(found, default=0)


def written(node: ast.AST) -> ast.expr | None:
    """What a statement or call writes to in place: `x += y`, `x[...] = y`, `x.mul_(y)`."""
    if isinstance(node, ast.AugAssign):
        return node.target
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
        return node.targets[0]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        name = node.func.attr
        if name.endswith("_") and not name.startswith("_") and name in TENSOR_METHODS and name not in HARMLESS:
            return node.func.value
    return None


def _accumulated(kept: Kept) -> bool:
    """Whether what is kept is itself added to in place: `sums[name] = output.detach()`, later `sums[name] += ...`."""
    capture = kept.capture
    if capture.how != "store" or not isinstance(capture.node, (ast.Subscript, ast.Attribute)):
        return False
    wanted = ast.dump(_loaded(capture.node))
    for use in place_uses(kept):
        for node in use.body.nodes:
            target = written(node)
            if isinstance(node, ast.Assign) or target is None:
                continue
            if ast.dump(_loaded(target)) == wanted:
                return True
    return False


def _loaded(node: ast.expr) -> ast.expr:
    return ast.parse(ast.unparse(node), mode="eval").body
