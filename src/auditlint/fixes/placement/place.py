"""Where `finalize(container)` or `flush()` goes, so that what hooks deferred is read soon after the pass."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from auditlint.diagnostics import Step
from auditlint.fixes.placement import (
    containers,
    exposure,
    models,
    origins,
    points,
    presence,
    readers,
    registrations,
    removal,
)
from auditlint.fixes.placement.mentions import looks
from auditlint.fixes.placement.models import Pass
from auditlint.fixes.placement.origins import File, Named
from auditlint.fixes.placement.points import FLUSH, Look, Point, Written
from auditlint.fixes.placement.registrations import Function, Site
from auditlint.fixes.placement.scopes import DEFS, Def, Outline, Place, Scope, is_mangled, last, outline, own

__all__ = ["Files", "Function", "Nowhere", "Placement", "Point", "place"]


_WRAPPED = "values stay `Deferred`s, which json and isinstance do not take for numbers"


class Files(Protocol):
    """Where parsed files come from."""

    def tree(self, filename: str) -> ast.Module | None:
        """The module in a file, None if it cannot be read."""


class Placement(NamedTuple):
    """Where statements go: all `points` are meant. No points: what is needed is there already.

    `kind` is "a" after the model's call, "b" where handles are removed, "c" where the container is read. `safe` says
    whether a safe fix may rest on it. `words` describe it; what speaks against it follows "; ".
    """

    kind: str
    safe: bool
    points: tuple[Point, ...]
    words: str


class Nowhere(NamedTuple):
    """There is no place; why, in a clause."""

    reason: str


class _Search(NamedTuple):
    """All that is known before the search begins. `rebinds`: the hook binds the container itself anew.

    `raises`: the hook ends the pass by an exception. `read`: another hook reads the container.
    """

    files: list[File]
    hook: Function
    inner: set[ast.AST]
    sites: list[Site]
    containers: list[Named]
    wanted: Pass
    rebinds: bool
    home: Named | None
    raises: bool
    read: bool


def place(
    files: Files, hook: Function, stored_in: Function, target: ast.expr | None, registered: Step
) -> Placement | Nowhere:
    """Find where to finalize what a hook stores in `target` (None: it stores nothing, but defers calls).

    `hook` is what torch calls, `stored_in` the function in which `target` is written, `registered` the registering
    call.
    """
    try:
        search = _prepare(files, hook, stored_in, target, registered)
        if isinstance(search, Nowhere):
            return search
        if target is not None and _forward_looks(search):
            return Nowhere("a `forward` reads what the hook stores, in the pass")
        return _placed(search, target is not None)
    except RecursionError:
        return Nowhere("the code is nested too deeply")


def _prepare(
    files: Files, hook: Function, stored_in: Function, target: ast.expr | None, registered: Step
) -> _Search | Nowhere:
    known: dict[str, File] = {}
    for filename in (hook.filename, stored_in.filename, registered.filename):
        tree = files.tree(filename)
        if tree is not None and filename not in known:
            known[filename] = File(filename, outline(tree))
    if hook.filename not in known or stored_in.filename not in known:
        return Nowhere("the file cannot be read")
    there = [*known.values()]
    sites = [*registrations.sites(there, known[hook.filename], hook, known.get(registered.filename), registered.row)]
    home = containers.home_of(known[stored_in.filename], stored_in, target) if target is not None else None
    home = home if home is None or home.place.path else None
    if target is not None and home is not None and home.place.scope is stored_in.node and containers.is_local(home):
        return Nowhere("what the hook stores in is its own")
    known_as = origins.names_of(there, [home]) if home is not None else []
    rebinds = target is not None and containers.rebinds(known[stored_in.filename].outline, stored_in.node, target, home)
    inner = registrations.reached(there, hook, stored_in)
    inner |= registrations.strangers(known[stored_in.filename].outline, stored_in.node)
    read = bool(known_as) and readers.other_hook_reads(there, hook, stored_in, known_as)
    wanted = registrations.wanted(there, sites, hook)
    return _Search(there, hook, inner, sites, known_as, wanted, rebinds, home, _raises(hook.node), read)


def _forward_looks(search: _Search) -> bool:
    """Whether the container is looked at by the `forward` of a module, which is a part of the pass."""
    for file in search.files:
        functions = [each for each in file.outline.functions if _is_forward(each) and each not in search.inner]
        for path in exposure.paths_in(file, search.home) if functions else ():
            if any(looks(file.outline, file.outline.nodes(each), path) for each in functions):
                return True
    return False


def _raises(hook: Def | ast.Lambda) -> bool:
    return any(isinstance(node, ast.Raise) for node in own(hook))


def _placed(search: _Search, stores: bool) -> Placement | Nowhere:
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
        return Nowhere(reasons[0] if reasons else "no call of the model is in sight")
    return _checked(search, found)


def _weaker(search: _Search, found: Placement | None) -> Placement | None:
    """What only flushes, since the container cannot be named there: its values are read, but stay wrapped."""
    if found is None:
        return None
    files = {file.filename: file for file in search.files}
    named = (
        _written(search, files[each.filename], _scope(files[each.filename].outline, each)) for each in found.points
    )
    why = "the container may not exist there" if any(named) else "the container has no name there"
    words = f"{found.words.partition('; ')[0]}; {why}: {_WRAPPED}"
    return found._replace(safe=False, words=words)


def _scope(outline: Outline, point: Point) -> Scope:
    """The function in which a point is."""
    return point.node if point.where == "first" and isinstance(point.node, DEFS) else outline.function(point.node)


def _checked(search: _Search, found: Placement) -> Placement:
    compiled = next((word for file in search.files if (word := models.compiles(file.outline))), "")
    if compiled:
        found = found._replace(safe=False, words=f"{found.words}; `{compiled}` is used in the same file")
    outlines = {file.filename: file.outline for file in search.files}
    if search.read:
        found = found._replace(safe=False, words=f"{found.words}; another hook reads it")
    reader = exposure.exposed(search.files, search.home, search.inner, found.points)
    if reader:
        found = found._replace(safe=False, words=f"{found.words}; {reader}")
    if any(presence.is_skipped(outlines[each.filename], each) for each in found.points):
        found = found._replace(safe=False, words=f"{found.words}; an error would skip it")
    needed = [each for each in found.points if not points.standing(outlines[each.filename], each)]
    return found._replace(points=tuple(needed))


def _after_all_runs(search: _Search, named: bool, reasons: list[str]) -> Placement | None:
    """After the runs; where some of them are in a `return`, and not all, in those as well."""
    found, missed = _after_runs(search, named, returns=False)
    if found is not None and not found.safe:
        more, _ = _after_runs(search, named, returns=True)
        found = more if more is not None and more.safe else found
    reasons += missed
    return found


def _after_runs(search: _Search, named: bool, returns: bool) -> tuple[Placement | None, list[str]]:
    """After the runs of the nearest functions that have any, and what hindered it there and before."""
    at_home = [(site.file, site.scope) for site in search.sites]
    done: list[tuple[File, Scope]] = []
    reasons: list[str] = []
    for level, depth in ((at_home, 3), (_elsewhere(search), 0), (_elsewhere(search), 3)):
        scopes = [each for each in dict.fromkeys(level) if each not in done]
        found: dict[Point, None] = {}
        missed: list[str] = []
        first: ast.Call | None = None
        for file, scope in scopes:
            look = _look(search, file, scope, depth, named)
            if look is None:
                continue
            done.append((file, scope))
            here, hindered = points.after_runs(look, returns)
            missed += hindered
            here = [each for each in here if named is False or _ready(search, look, each)]
            if here and first is None:
                first = _first(look, here)
            found |= dict.fromkeys(here)
        reasons += missed
        if found and first is not None:
            words = f"after `{_short(first)}` in line {first.lineno}{_others([*found])}"
            stay = ": values of those passes may stay `Deferred`s" if named else ""
            words += f"; elsewhere {missed[0]}{stay}" if missed else ""
            return Placement("a", not missed, tuple(found), words), reasons
    return None, reasons


def _elsewhere(search: _Search) -> list[tuple[File, Scope]]:
    return [
        (file, scope)
        for file in search.files
        for scope in (file.outline.tree, *(each for each in file.outline.functions if isinstance(each, DEFS)))
        if scope not in search.inner
    ]


def _look(search: _Search, file: File, scope: Scope, depth: int, named: bool) -> Look | None:
    here = _written(search, file, scope) if named else []
    if (named and not here) or isinstance(scope, ast.Lambda) or scope in search.inner:
        return None
    if _is_forward(scope):
        return None  # a part of the pass; the model that it belongs to is run elsewhere
    sites = [site.call for site in search.sites if site.scope is scope]
    if not sites and not search.wanted.stems and not search.wanted.anything and not named:
        return None
    calls = _runs_behind(file.outline, scope, search.wanted, depth, sites)
    if sites and not calls:
        # `layer` and `model` may both be parameters: then only the name tells.
        calls = _runs_behind(file.outline, scope, search.wanted._replace(anything=True), 0, sites)
    calls += [site for site in sites if last(site.func).startswith("run_with") and site not in calls]
    if not calls:
        return None
    aliases = [name for each in here for name in readers.aliases(search.containers, file, scope, each.path)]
    elsewhere = exposure.readers_elsewhere(search.files, file, search.home)
    return Look(file.filename, file.outline, scope, calls, here, sites, search.raises, aliases, elsewhere)


def _is_forward(scope: Scope) -> bool:
    return isinstance(scope, DEFS) and scope.name == "forward"


def _runs_behind(file: Outline, scope: Scope, wanted: Pass, depth: int, sites: Sequence[ast.Call]) -> list[ast.Call]:
    calls = models.runs(file, scope, wanted, depth)
    return [call for call in calls if not sites or any(_follows(file, call, site) for site in sites)]


def _follows(file: Outline, call: ast.Call, site: ast.Call) -> bool:
    """Whether a call can run after the registering call: below it, or in a loop around both."""
    if call is site or any(parent is call for _, parent in file.chain(site)):
        return False
    if (call.lineno, call.col_offset) > (site.lineno, site.col_offset):
        return True
    around = {parent for _, parent in file.chain(site) if isinstance(parent, (ast.For, ast.While))}
    return any(parent in around for _, parent in file.chain(call))


def _written(search: _Search, file: File, scope: Scope) -> list[Written]:
    """The container under its name in a function, with others of its kind that the same hook is given."""
    found: list[tuple[Place, tuple[str, ...]]] = []
    if not containers.has(file, search.home, scope):
        return []
    for named in search.containers:
        path = file.outline.spelled(named.place, scope) if named.file is file else ()
        if not path or (found and (named.place.scope is not found[0][0].scope or path[1:] != found[0][1][1:])):
            continue
        if len(path) > 1 and not containers.is_one_thing(file.outline, named.place):
            continue
        if any(is_mangled(part) for part in path[1:]) and not _is_in_class(file.outline, scope, search.home):
            continue
        found.append((named.place, path))
    written = []
    for each, path in found:
        name = ".".join(path)
        if not search.rebinds:
            written.append(Written(path, f"finalize({name})"))
        elif _may_bind(search, file, scope, each, path):
            written.append(Written(path, f"{name} = finalize({name})"))
    return written


def _is_in_class(outline: Outline, scope: Scope, home: Named | None) -> bool:
    """Whether a function stands in the class whose instance has the container: only there its private name is known."""
    around = [parent for _, parent in outline.chain(scope)]
    return home is not None and home.place.scope in around


def _may_bind(search: _Search, file: File, scope: Scope, where: Place, path: tuple[str, ...]) -> bool:
    if len(path) > 1:
        return True
    if search.home is None or where != search.home.place:
        return False
    names = file.outline.names(scope)
    return where.scope is scope or path[0] in names.outer or path[0] in names.module


def _ready(search: _Search, look: Look, point: Point) -> bool:
    """Whether all that a point names is sure to be there."""
    if point.code == FLUSH:
        return True
    paths = [each.path for each in look.containers if each.code == point.code]
    if not all(presence.is_bound(look.outline, look.scope, path, point) for path in paths):
        return False
    # Where hooks are registered, what they change in place is there by then; what they set themselves may not be.
    registered = not search.rebinds and presence.is_registered(look.outline, look.scope, look.sites, point)
    return registered or presence.is_there(search.home)


def _at_removal(search: _Search, named: bool) -> Placement | None:
    found: dict[Point, None] = {}
    for file, scope in _removing(search):
        site = next((each.call for each in search.sites if each.scope is scope), None)
        for where, node in removal.removals(file.outline, scope, site):
            if site is not None and where != "after" and not removal.after_yield(file.outline, scope, node):
                continue
            look = Look(file.filename, file.outline, scope, (), _written(search, file, scope) if named else (), ())
            codes = [each.code for each in look.containers] if named else [FLUSH]
            here = [Point(file.filename, where, node, code) for code in codes]
            here = [each for each in here if not named or _ready(search, look, each)]
            found |= dict.fromkeys(here)
    if not found:
        return None
    row = next(iter(found)).node.lineno
    words = f"where the handles are removed, in line {row}{_others([*found])}"
    return Placement("b", True, tuple(found), words)


def _at_removal_and_reads(search: _Search, named: bool) -> Placement | None:
    """Where the handles are removed, and first in what reads the container: that may run before."""
    found = _at_removal(search, named)
    reads = _at_reads(search) if found is not None and named else None
    if found is None or reads is None:
        return found
    outlines = {file.filename: file.outline for file in search.files}
    there = {outlines[each.filename].scope(each.node) for each in found.points} | {each.node for each in found.points}
    more = [each for each in reads.points if each.node not in there]
    return found._replace(points=(*found.points, *more))


def _is_at_home(search: _Search, found: Placement) -> bool:
    """Whether the first point is in a function that runs the model, or that registers the hook."""
    first = found.points[0]
    outline = next(file.outline for file in search.files if file.filename == first.filename)
    scope = outline.scope(first.node)
    return any(scope is site.scope for site in search.sites) or bool(models.runs(outline, scope, search.wanted, 0))


def _removing(search: _Search) -> Iterator[tuple[File, Scope]]:
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


def _at_reads(search: _Search) -> Placement | None:
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
        for each in _written(search, file, function)[:1]
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
