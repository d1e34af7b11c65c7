"""What a search for places begins with: files, registrations, the container; how it is named, and where models run."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from auditlint.diagnostics import Step
from auditlint.fixes.placement import containers, exposure, models, origins, presence, readers, registrations
from auditlint.fixes.placement.mentions import looks
from auditlint.fixes.placement.models import Pass
from auditlint.fixes.placement.origins import File, Named
from auditlint.fixes.placement.points import FLUSH, Look, Point, Written
from auditlint.fixes.placement.registrations import Function, Site
from auditlint.fixes.placement.scopes import DEFS, Def, Outline, Place, Scope, is_mangled, last, outline, own

_MOST_DOORS = 32


class Files(Protocol):
    """Where parsed files come from."""

    def tree(self, filename: str) -> ast.Module | None:
        """The module in a file, None if it cannot be read."""

    def users(self, name: str, home: str) -> Sequence[str]:
        """The files that seem to use what is called `name` in the file `home`."""


class Nowhere(NamedTuple):
    """There is no place; why, in a clause."""

    reason: str


class Search(NamedTuple):
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


def prepared(
    files: Files,
    hook: Function,
    stored_in: Function,
    target: ast.expr | None,
    registered: Step,
    more: Sequence[str] = (),
) -> Search | Nowhere:
    """The beginning of a search, in `more` files too, or why there is none; the arguments are those of `place`."""
    known: dict[str, File] = {}
    for filename in (hook.filename, stored_in.filename, registered.filename, *more):
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
    search = Search(there, hook, inner, sites, known_as, wanted, rebinds, home, _raises(hook.node), read)
    if target is not None and _forward_looks(search):
        return Nowhere("a `forward` reads what the hook stores, in the pass")
    return search


def _forward_looks(search: Search) -> bool:
    """Whether the container is looked at by the `forward` of a module, which is a part of the pass."""
    for file in search.files:
        functions = [each for each in file.outline.functions if _is_forward(each) and each not in search.inner]
        for path in exposure.paths_in(file, search.home) if functions else ():
            if any(looks(file.outline, file.outline.nodes(each), path) for each in functions):
                return True
    return False


def _raises(hook: Def | ast.Lambda) -> bool:
    return any(isinstance(node, ast.Raise) for node in own(hook))


def users(files: Files, search: Search) -> list[str]:
    """Other files that seem to call what registers the hook, or to use the container: the model may be run there."""
    seen = {file.filename for file in search.files}
    found: list[str] = []
    for name, home in _doors(search):
        for filename in files.users(name, home):
            if filename not in seen:
                seen.add(filename)
                tree = files.tree(filename)
                if tree is not None and origins.imports(filename, tree, home):
                    found.append(filename)
    return found


def _doors(search: Search) -> dict[tuple[str, str], None]:
    """The names that the registering function, what calls it and the container have for other files; with their files.

    A method goes by its class.
    """
    found: dict[tuple[str, str], None] = {}
    if search.home is not None and isinstance(search.home.place.scope, ast.Module):
        found[search.home.place.path[0], search.home.file.filename] = None
    queue = dict.fromkeys((site.file, site.scope) for site in search.sites)
    for file, scope in (waiting := [*queue]):
        if not isinstance(scope, DEFS):
            continue
        outer = file.outline.class_of(scope) or scope
        around = file.outline.scope(outer)
        if isinstance(around, ast.Module):
            found[outer.name, file.filename] = None
        more = [(other, other.outline.function(call)) for other, call, _ in origins.calls_of(search.files, file, scope)]
        for each in [(file, around), *more]:
            if each not in queue and len(queue) < _MOST_DOORS:
                queue[each] = None
                waiting.append(each)
    for name, home in (names := [*found]):  # what a package imports from its modules is had from the package
        for file in search.files:
            more_names = {path[0] for path in origins.imports_of(file, file.outline.tree, home, name) if len(path) == 1}
            fresh = [(each, file.filename) for each in more_names if (each, file.filename) not in found]
            if file.filename != home and len(found) < _MOST_DOORS:
                found |= dict.fromkeys(fresh)
                names += fresh
    return found


def elsewhere(search: Search) -> list[tuple[File, Scope]]:
    """The functions, and the modules' own code, that do not run in the pass."""
    return [
        (file, scope)
        for file in search.files
        for scope in (file.outline.tree, *(each for each in file.outline.functions if isinstance(each, DEFS)))
        if scope not in search.inner
    ]


def look_at(search: Search, file: File, scope: Scope, depth: int, named: bool) -> Look | None:
    """What there is in a function that runs the model, in calls up to `depth` deep; None for one that does not.

    With `named`, the container has to have a name there.
    """
    here = written(search, file, scope) if named else []
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
    readers_there = exposure.readers_elsewhere(search.files, file, search.home)
    return Look(file.filename, file.outline, scope, calls, here, sites, search.raises, aliases, readers_there)


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


def written(search: Search, file: File, scope: Scope) -> list[Written]:
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


def _may_bind(search: Search, file: File, scope: Scope, where: Place, path: tuple[str, ...]) -> bool:
    if len(path) > 1:
        return True
    if search.home is None or where != search.home.place:
        return False
    names = file.outline.names(scope)
    return where.scope is scope or path[0] in names.outer or path[0] in names.module


def is_ready(search: Search, look: Look, point: Point) -> bool:
    """Whether all that a point names is sure to be there."""
    if point.code == FLUSH:
        return True
    paths = [each.path for each in look.containers if each.code == point.code]
    if not all(presence.is_bound(look.outline, look.scope, path, point) for path in paths):
        return False
    # Where hooks are registered, what they change in place is there by then; what they set themselves may not be.
    registered = not search.rebinds and presence.is_registered(look.outline, look.scope, look.sites, point)
    return registered or presence.is_there(search.home)
