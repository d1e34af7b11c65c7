"""Where `finalize(container)` or `flush()` goes, so that what hooks deferred is read soon after the pass."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from auditlint.diagnostics import Step
from auditlint.fixes.placement import exposure, models, points, presence, registrations, removal
from auditlint.fixes.placement.origins import File
from auditlint.fixes.placement.points import FLUSH, Look, Point
from auditlint.fixes.placement.registrations import Function
from auditlint.fixes.placement.scopes import DEFS, Outline, Scope
from auditlint.fixes.placement.search import (
    Files,
    Nowhere,
    Search,
    elsewhere,
    is_ready,
    look_at,
    prepared,
    users,
    written,
)

__all__ = ["Files", "Function", "Nowhere", "Placement", "Point", "place"]


_MOST_OTHERS = 8
_UNSEEN = Nowhere("no call of the model is in sight")
_WRAPPED = "values stay `Deferred`s, which json and isinstance do not take for numbers"


class Placement(NamedTuple):
    """Where statements go: all `points` are meant. No points: what is needed is there already.

    `kind` is "a" after the model's call, "b" where handles are removed, "c" where the container is read. `safe` says
    whether a safe fix may rest on it. `words` describe it; what speaks against it follows "; ".
    """

    kind: str
    safe: bool
    points: tuple[Point, ...]
    words: str

    def doubted(self, why: str) -> Placement:
        """This place, on which no safe fix may rest."""
        return self._replace(safe=False, words=f"{self.words}; {why}")


def place(
    files: Files, hook: Function, stored_in: Function, target: ast.expr | None, registered: Step
) -> Placement | Nowhere:
    """Find where to finalize what a hook stores in `target` (None: it stores nothing, but defers calls).

    `hook` is what torch calls, `stored_in` the function in which `target` is written, `registered` the registering
    call.
    """
    try:
        search = prepared(files, hook, stored_in, target, registered)
        if isinstance(search, Nowhere):
            return search
        found = _placed(search, target is not None)
        if found == _UNSEEN or (isinstance(found, Placement) and found.kind == "c"):
            other = _in_other_files(files, search, (hook, stored_in, target, registered))
            # Where the container has a name for the reader only, it is better finalized there than not at all.
            if other is not None and (found == _UNSEEN or any(point.code != FLUSH for point in other.points)):
                found = other
        if isinstance(found, Placement) and found.safe and (others := users(files, search)):
            # Another file may run the model once more, read the container in between, or handle an error of the pass.
            found = found.doubted(f"{others[0]} uses it too")
        return found
    except RecursionError:
        return Nowhere("the code is nested too deeply")


def _in_other_files(
    files: Files, search: Search, asked: tuple[Function, Function, ast.expr | None, Step]
) -> Placement | None:
    """A place after the model's calls in files that use what registers the hook, or that use those files in turn."""
    others: list[str] = []
    while more := users(files, search):
        others += more
        if len(others) > _MOST_OTHERS:
            return None
        wider = prepared(files, *asked, others)
        if isinstance(wider, Nowhere):
            return None
        search = wider
    found = _placed(search, asked[2] is not None) if others else None
    return found if isinstance(found, Placement) and found.kind == "a" else None


def _placed(search: Search, stores: bool) -> Placement | Nowhere:
    reasons: list[str] = []
    named = search.home is not None
    found = None
    if named or not stores:
        found = _after_all_runs(search, named, reasons)
        if found is None:
            removed = _at_removal_and_reads(search, named)
            here = removed is not None and _is_at_home(search, removed)
            returned = _after_runs(search, named, returns=True)[0] if reasons and not here else None
            found = returned or removed
    if found is None and stores and not reasons:
        behind = _after_all_runs(search, False, reasons) or _after_runs(search, False, returns=True)[0]
        found = _weaker(search, behind)
    if found is None and named:
        found = _at_reads(search)
    if found is None and stores and not reasons:
        found = _weaker(search, _at_removal(search, False))
    if found is None:
        return Nowhere(reasons[0]) if reasons else _UNSEEN
    return _checked(search, found)


def _weaker(search: Search, found: Placement | None) -> Placement | None:
    """What only flushes, since the container cannot be named there: its values are read, but stay wrapped."""
    if found is None:
        return None
    files = {file.filename: file for file in search.files}
    named = (written(search, files[each.filename], _scope(files[each.filename].outline, each)) for each in found.points)
    why = "the container may not exist there" if any(named) else "the container has no name there"
    words = f"{found.words.partition('; ')[0]}; {why}: {_WRAPPED}"
    return found._replace(safe=False, words=words)


def _scope(outline: Outline, point: Point) -> Scope:
    """The function in which a point is."""
    return point.node if point.where == "first" and isinstance(point.node, DEFS) else outline.function(point.node)


def _checked(search: Search, found: Placement) -> Placement:
    for file in search.files:
        if compiled := models.compiles(file.outline):
            where = "the same file" if file is search.files[0] else file.filename
            found = found.doubted(f"`{compiled}` is used in {where}")
            break
    outlines = {file.filename: file.outline for file in search.files}
    if search.read:
        found = found.doubted("another hook reads it")
    reader = exposure.exposed(search.files, search.home, search.inner, found.points)
    if reader:
        found = found.doubted(reader)
    stranger = next(_strangers(search, found), None) if found.kind == "a" and found.safe else None
    if stranger is not None:
        found = found.doubted(f"`{_short(stranger)}` may run it as well")
    if found.kind == "b" and found.safe and exposure.given_away(search.files, search.home):
        found = found.doubted("it is given away before")
    other = _other_run(search, found) if found.kind == "a" and found.safe else None
    if other is not None:
        found = found.doubted(f"`{_short(other)}` in line {other.lineno} runs it too")
    if any(presence.is_skipped(outlines[each.filename], each) for each in found.points):
        found = found.doubted("an error would skip it")
    needed = [each for each in found.points if not points.standing(outlines[each.filename], each)]
    return found._replace(points=tuple(needed))


def _other_run(search: Search, found: Placement) -> ast.Call | None:
    """A call that runs the model where nothing is finalized, while hooks that nobody removes are there."""
    there = [
        (file, _scope(file.outline, point))
        for file in search.files
        for point in found.points
        if point.filename == file.filename
    ]
    reached = registrations.called_from([*there])
    if any(next(removal.removals(file.outline, scope, site), None) for file, scope, site in search.sites):
        return None
    for file, scope in elsewhere(search):
        if scope not in reached and all(scope is not each for _, each in there):
            for call in models.runs(file.outline, scope, search.wanted, 0):
                inside = models.called(file.outline, call, scope) is not None
                if not inside and not any(call is site.call for site in search.sites):
                    return call
    return None


def _strangers(search: Search, found: Placement) -> Iterator[ast.Call]:
    """The calls, in the functions that have points, by which a function of another file may run the model as well."""
    for file in search.files:
        here = [point for point in found.points if point.filename == file.filename]
        behind = max((point.node.end_lineno or 0 for point in here), default=0)
        for scope in dict.fromkeys(_scope(file.outline, point) for point in here):
            for call in models.may_run(file.outline, scope, search.wanted):
                runs = call in models.runs(file.outline, scope, search.wanted)
                if not runs and call.lineno > behind:
                    yield call


def _after_all_runs(search: Search, named: bool, reasons: list[str]) -> Placement | None:
    """After the runs; where some of them are in a `return`, and not all, in those as well."""
    found, missed = _after_runs(search, named, returns=False)
    if found is not None and not found.safe:
        more, _ = _after_runs(search, named, returns=True)
        found = more if more is not None and more.safe else found
    reasons += missed
    return found


def _after_runs(search: Search, named: bool, returns: bool) -> tuple[Placement | None, list[str]]:
    """After the runs of the nearest functions that have any, and what hindered it there and before."""
    at_home = [(site.file, site.scope) for site in search.sites]
    done: list[tuple[File, Scope]] = []
    reasons: list[str] = []
    for level, depth in ((at_home, 3), (elsewhere(search), 0), (elsewhere(search), 3)):
        scopes = [each for each in dict.fromkeys(level) if each not in done]
        found: dict[Point, None] = {}
        missed: list[str] = []
        first: ast.Call | None = None
        for file, scope in scopes:
            look = look_at(search, file, scope, depth, named)
            if look is None:
                continue
            done.append((file, scope))
            here, hindered = points.after_runs(look, returns)
            missed += hindered
            here = [each for each in here if named is False or is_ready(search, look, each)]
            if here and first is None:
                first = _first(look, here)
            found |= dict.fromkeys(here)
        reasons += missed
        if found and first is not None:
            where = next(iter(found)).filename
            words = f"after `{_short(first)}` in {_line(search, where, first)}{_others([*found])}"
            stay = ": values of those passes may stay `Deferred`s" if named else ""
            words += f"; elsewhere {missed[0]}{stay}" if missed else ""
            return Placement("a", not missed, tuple(found), words), reasons
    return None, reasons


def _at_removal(search: Search, named: bool) -> Placement | None:
    found: dict[Point, None] = {}
    for file, scope in _removing(search):
        site = next((each.call for each in search.sites if each.scope is scope), None)
        for where, node in removal.removals(file.outline, scope, site):
            if site is not None and where != "after" and not removal.after_yield(file.outline, scope, node):
                continue
            look = Look(file.filename, file.outline, scope, (), written(search, file, scope) if named else (), ())
            codes = [each.code for each in look.containers] if named else [FLUSH]
            here = [Point(file.filename, where, node, code) for code in codes]
            here = [each for each in here if not named or is_ready(search, look, each)]
            found |= dict.fromkeys(here)
    if not found:
        return None
    first = next(iter(found))
    words = f"where the handles are removed, in {_line(search, first.filename, first.node)}{_others([*found])}"
    return Placement("b", True, tuple(found), words)


def _at_removal_and_reads(search: Search, named: bool) -> Placement | None:
    """Where the handles are removed, and first in what reads the container: that may run before."""
    found = _at_removal(search, named)
    reads = _at_reads(search) if found is not None and named else None
    if found is None or reads is None:
        return found
    outlines = {file.filename: file.outline for file in search.files}
    there = {outlines[each.filename].scope(each.node) for each in found.points} | {each.node for each in found.points}
    more = [each for each in reads.points if each.node not in there]
    return found._replace(points=(*found.points, *more))


def _is_at_home(search: Search, found: Placement) -> bool:
    """Whether the first point is in a function that runs the model, or that registers the hook."""
    first = found.points[0]
    outline = next(file.outline for file in search.files if file.filename == first.filename)
    scope = outline.scope(first.node)
    return any(scope is site.scope for site in search.sites) or bool(models.runs(outline, scope, search.wanted, 0))


def _removing(search: Search) -> Iterator[tuple[File, Scope]]:
    """The functions that may remove this hook's handles: the registering one, those in it, its class's methods."""
    seen: dict[tuple[File, Scope], None] = {}
    for file, scope, _ in search.sites:
        seen.setdefault((file, scope))
        cls = file.outline.class_of(scope)
        if cls is not None:
            seen |= {(file, method): None for method in file.outline.methods(cls)}
        for each in file.outline.functions:
            around = file.outline.scope(each)
            outside = isinstance(around, ast.Module) and cls is None and removal.is_about_hooks(file.outline, each)
            if isinstance(each, DEFS) and (around is scope or outside):
                seen.setdefault((file, each))
    home = search.home
    if home is not None and isinstance(home.place.scope, ast.ClassDef):
        seen |= {(home.file, method): None for method in home.file.outline.methods(home.place.scope)}
    yield from (each for each in seen if each[1] not in search.inner)


def _at_reads(search: Search) -> Placement | None:
    home = search.home
    if home is None or search.rebinds or not presence.is_there(search.home):
        return None
    file, where = home
    if isinstance(where.scope, ast.ClassDef):
        functions = file.outline.methods(where.scope)
    elif isinstance(where.scope, ast.Module):
        functions = [each for each in file.outline.functions if isinstance(each, DEFS)]
    else:
        return None
    functions = [each for each in functions if each not in search.inner and not removal.is_like_a_hook(each)]
    if any(models.runs(file.outline, each, search.wanted, 0) for each in functions):
        return None  # first in such a function is before the pass
    found = [
        Point(file.filename, "first", function, each.code)
        for function in functions
        for each in written(search, file, function)[:1]
        if removal.reads(function, each.path)
        and presence.is_bound(file.outline, function, each.path, Point(file.filename, "first", function, each.code))
    ]
    if not found:
        return None
    name = getattr(found[0].node, "name", "")
    words = (
        f"first in `{name}` in line {found[0].node.lineno}{_others(found)}; nothing shows that this runs after the pass"
    )
    return Placement("c", False, tuple(found), words)


def _line(search: Search, filename: str, node: ast.expr | ast.stmt) -> str:
    """Where a node is, from the hook's file."""
    return f"line {node.lineno}" + (f" of {filename}" if filename != search.files[0].filename else "")


def _first(look: Look, here: Sequence[Point]) -> ast.Call:
    """The first of the calls that a point belongs to."""
    spans = [(each.node.lineno, each.node.end_lineno or 0) for each in here]
    inside = (call for call in look.calls if any(start <= call.lineno <= end for start, end in spans))
    return next(inside, look.calls[0])


def _others(found: Sequence[Point]) -> str:
    """How many places there are beside the first; a `flush` in a loop goes with what stands below it."""
    finalized = [each for each in found if each.code != FLUSH] or found
    more = len({each.node for each in finalized}) - 1
    return f" and in {more} other place{'s' if more > 1 else ''}" if more > 0 else ""


def _short(call: ast.Call) -> str:
    text = " ".join(ast.unparse(call).split()).replace("; ", ";")
    return text if len(text) <= 40 else f"{text[:37]}..."
