"""Who else uses a container: other hooks, and a function itself under other names."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from auditlint.fixes.placement import models, registrations
from auditlint.fixes.placement.mentions import reads
from auditlint.fixes.placement.origins import File, Named
from auditlint.fixes.placement.registrations import Function
from auditlint.fixes.placement.scopes import DEFS, Outline, Place, Scope, dotted, last

# What holds what it is given, and shows it under another name.
_HOLDERS = {"dict", "list", "tuple", "iter", "reversed", "zip", "enumerate", "map", "filter", "partial"}


def other_hook_reads(files: Sequence[File], hook: Function, stored_in: Function, known_as: Sequence[Named]) -> bool:
    """Whether a hook other than this one, or what that one calls, reads the container during the pass."""
    own = registrations.called_from([(file, each.node) for file in files for each in (hook, stored_in)])
    for file in files:
        others = [(file, each) for each in registrations.registered(file) if each not in own]
        places = [named.place for named in known_as if named.file is file]
        places += _handed_on(file, places) if others else []
        for function in registrations.called_from(others) if others else ():
            if function in own or not isinstance(function, (*DEFS, ast.Lambda)):
                continue
            for place in places:
                path = file.outline.spelled(place, function)
                if path and reads(file.outline, function, path):
                    return True
    return False


def _handed_on(file: File, places: Sequence[Place]) -> Iterator[Place]:
    """The parameters of the functions that make hooks, and of partial ones, that are given one of these places."""
    outline = file.outline
    for call in registrations.making(file):
        scope, skip = outline.scope(call), int(last(call.func) == "partial")
        made = ast.Call(call.args[0], [], []) if skip and call.args else call
        function = models.called(outline, made, scope)
        if function is None:
            continue
        for name, value in models.handed(outline, call, function, skip):
            if outline.place(dotted(value), scope) in places:
                yield Place(function, (name,))


def aliases(known_as: Sequence[Named], file: File, scope: Scope, path: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The other names that a container `path` has in a function, whole or in part, or as a part of something."""
    spelled = (each.place for each in known_as if each.file is file and file.outline.spelled(each.place, scope) == path)
    where = next(spelled, None)
    return _others(file.outline, scope, where, path) if where is not None else []


def _others(outline: Outline, scope: Scope, where: Place, path: tuple[str, ...]) -> list[tuple[str, ...]]:
    found = [path]
    scopes = dict.fromkeys([scope, where.scope])
    pairs = [
        (target, value)
        for each in scopes
        if not isinstance(each, ast.ClassDef)
        for node in outline.assignments(each)
        for whole in node.targets
        for target, value in _paired(whole, node.value)
    ]
    if isinstance(where.scope, ast.ClassDef) and len(path) > len(where.path):
        found += _attributes(outline, where, path[: len(path) - len(where.path)])
    for known in found:
        for target, value in pairs:
            name = dotted(_root(target))
            other = dotted(_root(value))
            if name == known and other and not isinstance(value, (ast.Name, ast.Attribute)):
                new = other  # `rows = stats["rows"]`: who holds it
            elif name and any(part == known for part in _held(value)):
                new = name
            elif name and len(known) > 1 and dotted(value) == known[:1]:
                new = (*name, *known[1:])
            else:
                continue
            if new not in found and len(found) < 20:
                found.append(new)
    return found[1:]


def _attributes(outline: Outline, where: Place, instance: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Other attributes of the instance that hold the container: `self.state = {"rows": self.rows}`."""
    cls = where.scope
    if isinstance(cls, ast.ClassDef):
        for method, name, value in outline.set_attributes(cls):
            own = outline.spelled(where, method)
            if name != where.path[0] and any(part == own for part in _held(value)):
                yield (*instance, name)


def _paired(target: ast.expr, value: ast.expr) -> Iterator[tuple[ast.expr, ast.expr]]:
    """The targets of an assignment with what each is bound to, as far as the text tells."""
    if isinstance(target, (ast.Tuple, ast.List)) and isinstance(value, (ast.Tuple, ast.List)):
        for one, other in zip(target.elts, value.elts, strict=False):
            yield from _paired(one, other)
    else:
        yield target, value


def _root(node: ast.expr) -> ast.expr:
    while isinstance(node, ast.Subscript):
        node = node.value
    return node


def _held(value: ast.expr) -> Iterator[tuple[str, ...]]:
    """The names of what a value holds: itself, its elements, the arguments of what makes an object."""
    parts: list[ast.expr] = [value]
    for part in parts:
        if isinstance(part, (ast.Name, ast.Attribute, ast.Subscript)):
            yield dotted(_root(part))
        elif isinstance(part, (ast.Tuple, ast.List, ast.Set)):
            parts += part.elts
        elif isinstance(part, ast.Dict):
            parts += part.values
        elif isinstance(part, ast.Starred):
            parts.append(part.value)
        elif isinstance(part, ast.IfExp):
            parts += [part.body, part.orelse]
        elif isinstance(part, ast.BoolOp):
            parts += part.values
        elif isinstance(part, ast.Call) and (last(part.func) in _HOLDERS or last(part.func)[:1].isupper()):
            parts += [*part.args, *(each.value for each in part.keywords)]
