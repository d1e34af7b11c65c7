"""Where a statement can be put after a run of the model: behind loops, before reads, inside the same block."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from auditlint.fixes.placement.mentions import (
    EVERYWHERE,
    FINALIZERS,
    finalizing,
    is_given,
    looking,
    mentions,
    reading,
    reads,
)
from auditlint.fixes.placement.models import called, handed
from auditlint.fixes.placement.scopes import DEFS, SCOPES, Outline, Scope, dotted, last, parameters
from auditlint.project.modules import TRY

_LOOPS = (ast.For, ast.AsyncFor, ast.While)
_LAZY = (ast.GeneratorExp, ast.ListComp, ast.SetComp, ast.DictComp, ast.Lambda)
_SIMPLE = (ast.Expr, ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Assert)
_LEAVES = (ast.Return, ast.Raise, ast.Yield, ast.YieldFrom)
_STEPS_OUT = (ast.Return, ast.Yield, ast.YieldFrom)
_WAITS = (ast.Await, ast.AsyncFor, ast.AsyncWith)
FLUSH = "flush()"


class Point(NamedTuple):
    """Where one statement goes.

    `where` is "after" or "before" a statement, "first" in the body of a function (behind its docstring), "last" in the
    body of a loop, or "return": between the value of a `return` and the leaving. `node` is that statement, function or
    loop, and `code` what is put there.
    """

    filename: str
    where: str
    node: ast.stmt
    code: str


class Written(NamedTuple):
    """A container as a function names it, and the statement that finalizes it there."""

    path: tuple[str, ...]
    code: str


class Look(NamedTuple):
    """One function that runs the model: the calls that do, the containers, the registering calls in it.

    `raises`: the hook ends the pass by an exception, so that nothing right below the call may run. `aliases` are other
    names of the containers.
    """

    filename: str
    outline: Outline
    scope: Scope
    calls: Sequence[ast.Call]
    containers: Sequence[Written]
    sites: Sequence[ast.AST]
    raises: bool = False
    aliases: Sequence[tuple[str, ...]] = ()
    readers: frozenset[str] = frozenset()


def after_runs(look: Look, returns: bool) -> tuple[list[Point], list[str]]:
    """The points after the runs of one function, and why there is none for some of the runs.

    With `returns`, runs whose result is returned at once have points too.
    """
    points: dict[Point, None] = {}
    reasons: list[str] = []
    for call in look.calls:
        statement = look.outline.statement(call)
        reason = _hindrance(look, call, statement)
        if not reason and isinstance(statement, ast.Return) and (look.raises or not returns):
            reason = "the model is called in a `return`"
        if reason or statement is None:
            reasons.append(reason)
        else:
            points |= dict.fromkeys(_around(look, _caught(look, statement) if look.raises else statement))
    return _only_last(look, [*points]), reasons


def _hindrance(look: Look, call: ast.Call, statement: ast.stmt | None) -> str:
    """Why nothing can be put right after the statement with this call."""
    for _, parent in look.outline.chain(call):
        if isinstance(parent, _LAZY) and parent is not look.scope:
            return "the model is called in a comprehension or lambda"
        if parent is statement:
            break
    if not isinstance(statement, (*_SIMPLE, ast.Return)):
        return "the model is called in the head of a compound statement"
    if any(isinstance(node, (ast.Yield, ast.YieldFrom)) for node in ast.walk(statement)):
        return "the model is called in a `yield`"
    read = _mentions(look, statement, any_store=False) or _calls_a_reader(look, [*inside_of(statement)])
    if (read and not _hands_on(look, statement)) or _run_reads(look, call):
        return "one statement calls the model and reads what the hook stored"
    return ""


def _hands_on(look: Look, statement: ast.stmt) -> bool:
    """Whether a `return` gives the containers away without looking into them: `return model(x), acts`."""
    if not isinstance(statement, ast.Return) or statement.value is None:
        return False
    parts: list[ast.expr] = [statement.value]
    for part in parts:
        if isinstance(part, (ast.Tuple, ast.List)):
            parts.extend(part.elts)
        elif isinstance(part, ast.Dict):
            parts.extend(part.values)
    paths = [each.path for each in look.containers]
    whole = [part for part in parts if dotted(part) in paths]
    named = [
        each
        for each in ast.walk(statement.value)
        if isinstance(each, (ast.Name, ast.Attribute)) and dotted(each) in paths
    ]
    return all(any(each is part for part in whole) for each in named)


def _caught(look: Look, statement: ast.stmt) -> ast.stmt:
    """The `try` that catches what the hook raises, else the statement."""
    for child, parent in look.outline.chain(statement):
        if parent is look.scope or isinstance(parent, _LOOPS):
            break
        if isinstance(parent, TRY) and parent.handlers and any(child is each for each in parent.body):
            return parent
    return statement


def _around(look: Look, statement: ast.stmt) -> Iterator[Point]:
    if isinstance(statement, ast.Return):
        codes = [each.code for each in look.containers] or [FLUSH]
        yield from (Point(look.filename, "return", statement, code) for code in codes)
        return
    loops = [*_loops(look.outline, statement, look.scope)]
    if loops and _is_on_one_line(loops[0]) and any(_free(look, loops[:1])) and _left_below(loops[:1]):
        yield from _around(look, loops[0])
        return
    behind = _past_handlers(look, statement) if not loops else statement
    here = [Point(look.filename, "after", behind, each.code) for each in look.containers]
    if not loops:
        yield from here or [Point(look.filename, "after", statement, FLUSH)]
        return
    free = [*_free(look, loops)]
    if look.containers and (not free or not _left_below(free)):
        yield from here
        return
    inner = loops[0]
    if any(isinstance(node, (*_LEAVES, ast.Break, ast.Continue)) for node in inside_of(inner)):
        yield Point(look.filename, "after", statement, FLUSH)
    else:
        yield Point(look.filename, "last", inner, FLUSH)
    last_of_all = _past_handlers(look, free[-1] if free else statement)
    for each in look.containers:
        yield Point(look.filename, "after", last_of_all, each.code)


def _is_on_one_line(loop: ast.For | ast.AsyncFor | ast.While) -> bool:
    """Whether a loop's body is on the line of its head, where nothing can be put below a statement."""
    head = loop.test if isinstance(loop, ast.While) else loop.iter
    return loop.body[0].lineno == head.end_lineno


def _past_handlers(look: Look, statement: ast.stmt) -> ast.stmt:
    """The outermost `try` around a statement that handles errors, so that none skips what is put behind it.

    It is the statement itself where the `try` needs the container.
    """
    found = statement
    for child, parent in look.outline.chain(statement):
        if parent is look.scope or isinstance(parent, (*_LOOPS, *SCOPES)):
            break
        if isinstance(parent, TRY) and parent.handlers and any(child is each for each in parent.body):
            if _uses(look, parent) or any(isinstance(each, _STEPS_OUT) for each in inside_of(parent)):
                break
            found = parent
    return found


def _loops(outline: Outline, node: ast.stmt, scope: Scope) -> Iterator[ast.For | ast.AsyncFor | ast.While]:
    """The loops whose body holds a statement, from the inside out."""
    for child, parent in outline.chain(node):
        if parent is scope:
            return
        if isinstance(parent, _LOOPS) and any(child is each for each in parent.body):
            yield parent


def _free(look: Look, loops: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """The loops, from the inside out, that neither read nor make the container and in which no hook is registered."""
    for loop in loops:
        inside = [*inside_of(loop)]
        waits = any(isinstance(node, _WAITS) for node in inside)  # others run meanwhile, and may look
        if waits or _uses(look, loop) or any(site in inside for site in look.sites):
            return
        yield loop


def _calls_a_reader(look: Look, nodes: Sequence[ast.AST]) -> bool:
    """Whether one of these calls a function of the file that names the container, or one that calls such a function."""
    calls = [node for node in nodes if isinstance(node, ast.Call) and node not in look.calls]
    if not calls or not look.containers:
        return False
    paths = frozenset([*(each.path for each in look.containers), *look.aliases])
    names = reading(look.outline, paths) - {getattr(look.scope, "name", "")} | look.readers
    owners = {each.path[:-1] for each in look.containers}
    return any(
        (last(call.func) in names and (last(call.func) not in EVERYWHERE or dotted(call.func)[:-1] in owners))
        or _goes_on(look, call, names)
        or (dotted(call.func)[:-1] in owners and _is_module(look, dotted(call.func)[:-1]))
        for call in calls
    )


def _is_module(look: Look, path: tuple[str, ...]) -> bool:
    """Whether this is what an import brings, whose functions are not all seen."""
    binder = look.outline.binder(path[0], look.scope) if path else None
    bound = look.outline.names(binder).bound.get(path[0], ()) if binder is not None else ()
    return any(isinstance(each.node, (ast.Import, ast.ImportFrom)) for each in bound)


def _goes_on(look: Look, call: ast.Call, names: Collection[str]) -> bool:
    """Whether a call goes on with a generator that looks at the container: `next(reports)`."""
    if last(call.func) not in ("next", "send"):
        return False
    generators = (each for each in look.outline.functions if getattr(each, "name", "") in names)
    return any(isinstance(node, (ast.Yield, ast.YieldFrom)) for each in generators for node in look.outline.nodes(each))


def _run_reads(look: Look, call: ast.Call) -> bool:
    """Whether a run of the model is in a function of the file that itself reads the container, or is handed it."""
    function = called(look.outline, call, look.scope)
    if function is None or not look.containers:
        return False
    paths = {each.path for each in look.containers if look.outline.binder(each.path[0], function) is not function}
    paths |= {
        (name, *each.path[len(dotted(value)) :])
        for name, value in handed(look.outline, call, function)
        for each in look.containers
        if dotted(value) and dotted(value) == each.path[: len(dotted(value))]
    }
    if look.outline.class_of(function) is not None:
        paths |= {(parameters(function)[0], each.path[-1]) for each in look.containers if len(each.path) > 1}
    if any(reads(look.outline, function, path) for path in paths):
        return True
    names = looking(look.outline, frozenset(each.path for each in look.containers)) - {function.name} | look.readers
    wrapped = {last(each.func if isinstance(each, ast.Call) else each) for each in function.decorator_list}
    called_inside = {last(inner.func) for inner in look.outline.calls_in(function)}
    return not names.isdisjoint((called_inside | wrapped) - EVERYWHERE)


def _left_below(loops: Sequence[ast.stmt]) -> bool:
    """Whether what stands below these loops is sure to run when they are done."""
    for loop in loops:
        inside = [*inside_of(loop)]
        if any(isinstance(node, _LEAVES[:1] + _LEAVES[2:]) for node in inside):
            return False
        endless = isinstance(loop, ast.While) and isinstance(loop.test, ast.Constant) and bool(loop.test.value)
        if endless and not any(isinstance(node, ast.Break) for node in inside):
            return False
    return True


def inside_of(statement: ast.AST) -> Iterator[ast.AST]:
    """A statement and what runs with it, in the order of the text, without the bodies of functions in it."""
    stack = [statement]
    while stack:
        node = stack.pop()
        yield node
        if not isinstance(node, SCOPES):
            stack.extend(reversed([*ast.iter_child_nodes(node)]))


def _mentions(look: Look, statement: ast.stmt, any_store: bool = True) -> bool:
    """Whether a statement names a container, other than to hand it to a run or to finalize it."""
    but: set[ast.AST] = {*look.calls, *look.sites}
    paths = [*(each.path for each in look.containers), *look.aliases]
    if any(mentions(statement, path, but, any_store) for path in paths):
        return True
    owners = {path[:1] for path in paths if len(path) > 1}
    return bool(owners) and any(is_given(node, owners) for node in inside_of(statement) if node not in but)


def _uses(look: Look, statement: ast.stmt) -> bool:
    """Whether a statement names a container, or calls a function of the file that does."""
    return _mentions(look, statement) or _calls_a_reader(look, [*inside_of(statement)])


def block_of(outline: Outline, statement: ast.AST) -> list[ast.stmt]:
    """The statements among which this one stands."""
    parent = outline.parents.get(statement)
    if parent is None:
        return []
    for _, value in ast.iter_fields(parent):
        if isinstance(value, list) and any(each is statement for each in value):
            return value
    return []


def _only_last(look: Look, points: list[Point]) -> list[Point]:
    """Without the points that another one further down in the same block makes unnecessary."""
    kept: list[Point] = []
    for number, point in enumerate(points):
        later = (other for other in points[number + 1 :] if point[:2] == other[:2] and point.code == other.code)
        if point.where != "after" or not any(_covers(look, point.node, other.node) for other in later):
            kept.append(point)
    return kept


def _covers(look: Look, first: ast.stmt, second: ast.stmt) -> bool:
    block = block_of(look.outline, first)
    if not any(each is second for each in block):
        return False
    start, end = (next(n for n, each in enumerate(block) if each is node) for node in (first, second))
    between = block[start + 1 : end]
    if end <= start or _uses(look, second):
        return False
    leaves = (*_LEAVES, ast.Break, ast.Continue)
    return not any(_uses(look, each) or any(isinstance(n, leaves) for n in inside_of(each)) for each in between)


def standing(outline: Outline, point: Point) -> bool:
    """Whether what a point asks for is there already."""
    return any(_does(statement, point.code) for statement in _beside(outline, point))


def _does(statement: ast.stmt, code: str) -> bool:
    call = finalizing(statement)
    if call is None:
        return False
    if code == FLUSH:
        return True
    return last(call.func) in FINALIZERS and any(".".join(dotted(each)) == container_of(code) for each in call.args)


def _beside(outline: Outline, point: Point) -> Iterator[ast.stmt]:
    """The statements that finalize and stand where a point is, or below it with no use of the container between."""
    node = point.node
    if point.where == "first":
        body = node.body if isinstance(node, DEFS) else []
        yield from _leading(body[1:] if _is_docstring(body) else body)
        return
    if point.where == "last":
        yield from _leading([*reversed(node.body)] if isinstance(node, _LOOPS) else [])
        return
    block = block_of(outline, node)
    at = next((number for number, each in enumerate(block) if each is node), 0)
    if point.where == "before":
        yield from _leading([*reversed(block[:at])])
        yield from _leading(block[at:])
        return
    path = tuple(container_of(point.code).split("."))
    for statement in block[at + 1 :]:
        if finalizing(statement) is not None:
            yield statement
        elif mentions(statement, path) or any(isinstance(each, _LEAVES) for each in inside_of(statement)):
            return


def container_of(code: str) -> str:
    return code.partition("finalize(")[2][:-1]


def _leading(statements: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in statements:
        if finalizing(statement) is None:
            return
        yield statement


def _is_docstring(body: Sequence[ast.stmt]) -> bool:
    return bool(body) and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)
