"""Plans whose rewrites meet: one expression that several reads go into is rewritten once, for all of them."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from auditlint.diagnostics import Diagnostic
from auditlint.fixes.flow import idioms
from auditlint.fixes.flow.changing import may_change, turns_to_text
from auditlint.fixes.flow.operands import is_function, nature
from auditlint.fixes.flow.result import Rewrite
from auditlint.fixes.flow.uses import Comprehension, free_names, is_index, report_kind, reports_only
from auditlint.fixes.later import unready
from auditlint.fixes.plan import Plan

_Key: TypeAlias = tuple[str, ast.AST]


def joined(plans: Sequence[Plan | str], diagnostics: Sequence[Diagnostic]) -> list[Plan | str]:
    """The plans with the leaves that others bring into their rewrites; those that meet are safe or unsafe together.

    `diagnostics` are the findings that the plans are for.
    """
    found = list(plans)
    while True:
        leaves = _leaves(found)
        current = [plan if isinstance(plan, str) else _with(plan, leaves) for plan in found]
        left = [item for item, plan in zip(diagnostics, current, strict=True) if isinstance(plan, str)]
        judged = [plan if isinstance(plan, str) else _read_in_report(plan, left) or _doubts(plan) for plan in current]
        if not any(isinstance(one, str) for one, plan in zip(judged, found, strict=True) if isinstance(plan, Plan)):
            break
        found = [one if isinstance(one, str) else plan for one, plan in zip(judged, found, strict=True)]
    sure = [
        plan._replace(doubts=(*_shown_later(plan), *plan.doubts, *doubts)) if isinstance(plan, Plan) else plan
        for plan, doubts in zip(current, judged, strict=True)
    ]
    return _apart(_shared(_without_graph(sure)))


def _without_graph(plans: list[Plan | str]) -> list[Plan | str]:
    """Without the plans that cut loose what others defer: nothing deferred keeps a graph or the memory."""
    every = [one for plan in plans if isinstance(plan, Plan) for one in plan.rewrites]
    deferred = {_key(one) for one in every if one.kind in ("read", "derive")}

    def meets(rewrite: Rewrite) -> bool:
        nodes = (rewrite.node, *rewrite.file.above(rewrite.node), *ast.walk(rewrite.node))
        return rewrite.kind in ("detach", "clone") and any((rewrite.file.filename, one) in deferred for one in nodes)

    return [
        "another fix defers the value, which keeps no graph then"
        if isinstance(plan, Plan) and any(map(meets, plan.rewrites))
        else plan
        for plan in plans
    ]


def _apart(plans: list[Plan | str]) -> list[Plan | str]:
    """Without the plans whose rewrites stand inside what another plan exchanges as a whole."""
    every = [one for plan in plans if isinstance(plan, Plan) for one in plan.rewrites]
    exchanged = {_key(one) for one in every if one.kind != "mark"}

    def inside(plan: Plan) -> bool:
        own = {_key(one) for one in plan.rewrites}
        # A report that a test decides about is deferred with the test.
        own |= {(one.file.filename, guard) for one in plan.rewrites if (guard := _guard_of(one)) is not None}
        above = {(one.file.filename, node) for one in plan.rewrites for node in one.file.above(one.node)}
        return not exchanged.isdisjoint(above - own)

    return [
        "the statement that it is in is rewritten first; fix again after that"
        if isinstance(plan, Plan) and inside(plan)
        else plan
        for plan in plans
    ]


def _guard_of(rewrite: Rewrite) -> ast.If | None:
    """The test whose only consequence is the report that is rewritten."""
    statement = rewrite.file.parents[rewrite.node]
    guard = rewrite.file.parents.get(statement)
    return guard if isinstance(statement, ast.Expr) and isinstance(guard, ast.If) and reports_only(guard) else None


def _read_in_report(plan: Plan, left: Sequence[Diagnostic]) -> str:
    """Why a test cannot be deferred with its report: what is evaluated there now and then would be so in each call."""
    for rewrite in plan.rewrites:
        if rewrite.kind == "guard" and isinstance(rewrite.node, ast.If):
            report, file = rewrite.node.body[0], rewrite.file
            start, end = file.start(report), file.end(report)
            if any(item.filename == file.filename and start <= item.location < end for item in left):
                return "what it reports is read in the hook, and would be in each call"
    return ""


def _key(rewrite: Rewrite) -> _Key:
    return rewrite.file.filename, rewrite.node


def _leaves(plans: Sequence[Plan | str]) -> dict[_Key, tuple[ast.expr, ...]]:
    found: dict[_Key, dict[ast.expr, None]] = {}
    for plan in plans:
        if isinstance(plan, Plan):
            for one in plan.rewrites:
                found.setdefault(_key(one), {}).update(dict.fromkeys(one.leaves))
    return {key: tuple(sorted(leaves, key=_position)) for key, leaves in found.items()}


def _position(node: ast.expr) -> tuple[int, int, int]:
    return node.lineno, node.col_offset, -(node.end_col_offset or 0)


def _with(plan: Plan, leaves: dict[_Key, tuple[ast.expr, ...]]) -> Plan:
    return plan._replace(rewrites=tuple(one._replace(leaves=leaves[_key(one)]) for one in plan.rewrites))


def _shared(plans: list[Plan | str]) -> list[Plan | str]:
    """Doubts about a rewrite are doubts about every plan that makes it."""
    while True:
        doubts: dict[_Key, dict[str, None]] = {}
        for plan in plans:
            if isinstance(plan, Plan):
                for one in plan.rewrites:
                    if one.kind != "read":
                        doubts.setdefault(_key(one), {}).update(dict.fromkeys(plan.doubts))
        after: list[Plan | str] = []
        for plan in plans:
            if isinstance(plan, Plan):
                every = [text for one in plan.rewrites for text in doubts.get(_key(one), ())]
                plan = plan._replace(doubts=tuple(dict.fromkeys((*plan.doubts, *every))))
            after.append(plan)
        if after == plans:
            return after
        plans = after


def _doubts(plan: Plan) -> tuple[str, ...] | str:
    """Doubts about what a plan computes later; or why it cannot: nothing in it but reads may be a tensor."""
    doubts: list[str] = []
    for rewrite in plan.rewrites:
        if rewrite.kind in ("derive", "call", "guard", "add"):
            reason = unready(rewrite)
            if reason:
                return reason
        if rewrite.kind != "derive" or not rewrite.leaves or not isinstance(rewrite.node, ast.expr):
            continue
        if any(_shapes(one, rewrite.leaves) for one in ast.walk(rewrite.node)):
            return "the value is used to compute another tensor in the hook"
        if any(_makes_text(one) for one in ast.walk(rewrite.node)):
            doubts.append("the text is a `Deferred` until it is finalized")
        for operand in _operands(rewrite):
            kind = nature(rewrite.file, operand, plan.hook)
            if kind == "tensor":
                return "the value is used to compute another tensor in the hook"
            if kind == "unknown":
                doubts.append(f"`{ast.unparse(operand)}` is taken for a host value")
    return tuple(doubts)


def _shown_later(plan: Plan) -> Iterator[str]:
    """Doubts about objects that are made a text of after the pass, and may say something else then."""
    for rewrite in plan.rewrites:
        report = isinstance(rewrite.node, ast.Call) and report_kind(rewrite.node) == "print"
        if not report and not any(_makes_text(one) for one in ast.walk(rewrite.node)):
            continue
        parents = rewrite.file.parents
        for part in (part for whole in (*_operands(rewrite), *rewrite.leaves) for part in _elements(whole)):
            above = parents[part]
            called = isinstance(above, ast.Attribute) and isinstance(parents[above], ast.Call)
            if not called and not turns_to_text(above, part) and may_change(rewrite.file, part, plan.hook):
                yield f"`{ast.unparse(part)}` is formatted after the pass, and may have changed by then"


def _elements(node: ast.expr) -> list[ast.expr]:
    """An expression, or what stands in it where it is a display or a part of an f-string."""
    match node:
        case ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Dict(values=parts):
            return [inner for part in parts for inner in _elements(part)]
        case ast.FormattedValue(value=value):
            return [value]
    return [node]


def _shapes(node: ast.AST, leaves: Sequence[ast.expr]) -> bool:
    """Whether a value is the size or position in `tensor.view(value)`, of a tensor that is no such value itself."""

    def holds(part: ast.expr) -> bool:
        return any(leaf is inner for inner in ast.walk(part) for leaf in leaves)

    match node:
        case ast.Call(func=ast.Attribute(value=receiver, attr=attr)) if attr in idioms.SHAPED:
            given = [*node.args, *(keyword.value for keyword in node.keywords)]
            return any(map(holds, given)) and not holds(receiver)
    return False


def _makes_text(node: ast.AST) -> bool:
    match node:
        case ast.JoinedStr() | ast.Call(func=ast.Name(id="str" | "repr" | "format") | ast.Attribute(attr="format")):
            return True
        case ast.BinOp(left=ast.Constant(value=str()), op=ast.Mod()):
            return True
    return False


def _operands(rewrite: Rewrite) -> list[ast.expr]:
    """The largest parts of a computation that hold no leaf."""
    found: list[ast.expr] = []
    holders = {one for leaf in rewrite.leaves for one in rewrite.file.above(leaf)}
    waiting: list[ast.AST] = [rewrite.node]
    while waiting:
        one = waiting.pop()
        if one in rewrite.leaves or not isinstance(one, (ast.expr, ast.keyword)):
            continue
        if isinstance(one, Comprehension) and one in holders:
            waiting += [one.generators[0].iter, *free_names(one)]
        elif one in holders or isinstance(one, ast.Slice) or is_index(rewrite.file, one):
            parts: list[ast.AST] = list(ast.iter_child_nodes(one))
            if isinstance(one, ast.Call) and (isinstance(one.func, ast.Name) or is_function(one.func)):
                parts.remove(one.func)
            waiting.extend(parts)
        elif isinstance(one, ast.expr) and not isinstance(one, ast.Constant):
            found.append(one)
    return found
