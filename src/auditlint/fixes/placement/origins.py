"""Under which names one thing is known: from a parameter to what callers pass, from `self` to who made the instance."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import PurePath
from typing import NamedTuple, TypeAlias

from auditlint.fixes.placement.models import called, handed, stems_of
from auditlint.fixes.placement.scopes import DEFS, Def, Outline, Place, Scope, default_of, dotted, last, parameters

_MOST = 64


class File(NamedTuple):
    """A file that is looked at."""

    filename: str
    outline: Outline


class Named(NamedTuple):
    """A place and the file it is in."""

    file: File
    place: Place


# An expression that is another name: its file, itself, the scope it is in, and the attributes that follow.
Other: TypeAlias = tuple[File, ast.expr, Scope, tuple[str, ...]]


def names_of(files: list[File], first: list[Named], stems: bool = False) -> list[Named]:
    """All names under which these things are known in the files, the given ones first.

    A part of something counts as the thing itself; with `stems` so does all that an argument stems from.
    """
    found = dict.fromkeys(first)
    queue = [*found]
    for named in queue:
        for file, value, scope, rest in _others(files, named):
            for place in stems_of(file.outline, value, scope) if stems else _thing(file.outline, value, scope):
                other = Named(file, place._replace(path=place.path + rest))
                if other not in found and len(found) < _MOST:
                    found[other] = None
                    queue.append(other)
    return [*found]


def _thing(outline: Outline, node: ast.expr, scope: Scope) -> list[Place]:
    while isinstance(node, ast.Subscript):
        node = node.value
    place = outline.place(dotted(node), scope)
    return [place] if place is not None else []


def _others(files: list[File], named: Named) -> Iterator[Other]:
    file, place = named
    scope = place.scope
    if isinstance(scope, ast.ClassDef):
        yield from _of_instances(files, file, scope, place.path)
    elif isinstance(scope, ast.Module):
        yield from _imported(files, file, place)
    elif any(isinstance(each.node, ast.arguments) for each in file.outline.names(scope).bound.get(place.path[0], ())):
        yield from _passed(files, file, scope, place.path)
    elif isinstance(scope, DEFS):
        yield from _returned(files, file, scope, place.path)
    if not isinstance(scope, ast.ClassDef):
        yield from _assigned(file, scope, place.path)


def _passed(files: list[File], file: File, function: Def | ast.Lambda, path: tuple[str, ...]) -> Iterator[Other]:
    """What callers give for the parameter that a path begins with."""
    default = default_of(function, path[0])
    if default is not None:
        yield file, default, file.outline.scope(function), path[1:]
    if isinstance(function, ast.Lambda):
        return
    for other, call, skip in calls_of(files, file, function):
        for name, value in handed(file.outline, call, function, skip):
            if name == path[0]:
                yield other, value, other.outline.scope(call), path[1:]


def _returned(files: list[File], file: File, function: Def, path: tuple[str, ...]) -> Iterator[Other]:
    """The names that callers give to what a function returns, or hands to a `with`."""
    for node in file.outline.nodes(function):
        if not isinstance(node, (ast.Return, ast.Yield)) or node.value is None:
            continue
        parts = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
        for number, part in enumerate(parts):
            if dotted(part) != path[:1]:
                continue
            for other, call, skip in calls_of(files, file, function):
                if not skip:
                    yield from _targets(other, call, number if len(parts) > 1 else None, path[1:])


def _assigned(file: File, scope: Scope, path: tuple[str, ...]) -> Iterator[Other]:
    """`self.model = model`: the other name of a local."""
    for node in file.outline.assignments(scope):
        if dotted(node.value) == path[:1]:
            for target in node.targets:
                if len(dotted(target)) > 1:
                    yield file, target, scope, path[1:]


def _of_instances(files: list[File], file: File, cls: ast.ClassDef, path: tuple[str, ...]) -> Iterator[Other]:
    """What an attribute was set to, and the names of instances that have it."""
    for method, name, value in file.outline.set_attributes(cls):
        if path[:1] == (name,) and value is not None:
            yield file, value, method, path[1:]
    for each in file.outline.family(cls):
        enters = [method for method in file.outline.methods(each) if method.name in ("__enter__", "__aenter__")]
        itself = all(_returns_itself(method) for method in enters)
        for other, call in _named_calls(files, file, each):
            if itself or not isinstance(other.outline.parents.get(call), ast.withitem):
                yield from _targets(other, call, None, path)


def _returns_itself(method: Def) -> bool:
    """Whether all that a method returns is the instance."""
    returned = [node for node in ast.walk(method) if isinstance(node, ast.Return)]
    return bool(returned) and all(dotted(node.value) == ("self",) for node in returned if node.value is not None)


def _imported(files: list[File], file: File, place: Place) -> Iterator[Other]:
    """The names that other files import a global under."""
    for other in files:
        if other.filename != file.filename:
            scopes: list[Scope] = [other.outline.tree, *(each for each in other.outline.functions)]
            for scope in scopes:
                for path in imports_of(other, scope, file.filename, place.path[0]):
                    node: ast.expr = ast.Name(path[0], ast.Load())
                    for attribute in path[1:]:
                        node = ast.Attribute(node, attribute, ast.Load())
                    yield other, node, scope, place.path[1:]


def imports_of(file: File, scope: Scope, home: str, name: str) -> Iterator[tuple[str, ...]]:
    """What a global of the file `home` is called where `scope` of `file` imports it: `log`, or `audit.log`."""
    for bound, bindings in file.outline.names(scope).bound.items():
        for node in (binding.node for binding in bindings):
            if not isinstance(node, (ast.Import, ast.ImportFrom)):
                continue
            package = _imported_from(file.filename, node)
            for each in node.names:
                if (each.asname or each.name) != bound:
                    continue
                if isinstance(node, ast.ImportFrom) and each.name == name and _is_module(package, home):
                    yield (bound,)
                elif _is_module([*package, *each.name.split(".")], home):  # `import pkg.audit as audit`
                    yield (bound, name)


def imports(filename: str, tree: ast.Module, home: str) -> bool:
    """Whether a file imports the module in the file `home`, or something of it, anywhere."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            package = _imported_from(filename, node)
            if _is_module(package, home) or any(
                _is_module([*package, *each.name.split(".")], home) for each in node.names
            ):
                return True
    return False


def _imported_from(filename: str, node: ast.Import | ast.ImportFrom) -> list[str]:
    """The package that names are imported from, as the parts of a path."""
    if isinstance(node, ast.Import):
        return []
    parts = node.module.split(".") if node.module else []
    return [*PurePath(filename).parts[: -node.level], *parts] if node.level else parts


def _is_module(parts: list[str], home: str) -> bool:
    """Whether a dotted name may be the module in a file, whatever folder the import begins from."""
    path = PurePath(home)
    there = path.parent.parts if path.stem == "__init__" else path.with_suffix("").parts
    return bool(parts) and [*there[-len(parts) :]] == parts


def _targets(file: File, call: ast.Call, part: int | None, rest: tuple[str, ...]) -> Iterator[Other]:
    """The names that the result of a call is bound to."""
    parent = file.outline.parents.get(call)
    scope = file.outline.scope(call)
    targets: list[ast.expr] = []
    if isinstance(parent, ast.Assign):
        targets = parent.targets
    elif isinstance(parent, (ast.AnnAssign, ast.NamedExpr)):
        targets = [parent.target]
    elif isinstance(parent, ast.withitem) and parent.optional_vars is not None:
        targets = [parent.optional_vars]
    for target in targets:
        if part is not None and isinstance(target, (ast.Tuple, ast.List)) and part < len(target.elts):
            target = target.elts[part]
        elif part is not None:
            continue
        yield file, target, scope, rest


def calls_of(files: list[File], file: File, function: Def) -> Iterator[tuple[File, ast.Call, int]]:
    """The calls of a function in the files, with how many of their arguments are not for it (1 for `partial`)."""
    outline = file.outline
    cls = outline.class_of(function)
    if cls is not None and function.name == "__init__":
        for each in outline.family(cls):
            for other, call in _named_calls(files, file, each):
                yield other, call, 0
        return
    for other in files:
        for call in other.outline.calls.get(function.name, ()):
            scope = other.outline.scope(call)
            found = called(other.outline, call, scope) is function
            if cls is None:
                found = found or (other is not file and _is_import(other, call.func, scope))
            elif isinstance(call.func, ast.Attribute):
                found = found or _is_instance(files, file, cls, other, call.func.value)
            if found:
                yield other, call, 0
        for call in other.outline.calls.get("partial", ()):
            if call.args and refers(other, call.args[0], function, file):
                yield other, call, 1


def refers(file: File, node: ast.expr, function: Def | ast.Lambda, home: File) -> bool:
    """Whether an expression is a function's name, or a method of that name."""
    if isinstance(function, ast.Lambda):
        return node is function or _is_lambda(file, node, function)
    if last(node) != function.name:
        return False
    scope = file.outline.scope(node)
    if file is not home:
        return home.outline.class_of(function) is not None or _is_import(file, node, scope)
    place = file.outline.place(dotted(node), scope)
    if place is None or len(place.path) != 1:
        return home.outline.class_of(function) is not None
    if isinstance(place.scope, ast.ClassDef):
        return home.outline.class_of(function) in file.outline.family(place.scope)
    return any(each.node is function for each in file.outline.names(place.scope).bound.get(place.path[0], ()))


def _is_lambda(file: File, node: ast.expr, function: ast.Lambda) -> bool:
    place = file.outline.place(dotted(node), file.outline.scope(node))
    if place is None or isinstance(place.scope, ast.ClassDef):
        return False
    return any(each.value is function for each in file.outline.names(place.scope).bound.get(place.path[0], ()))


def _named_calls(files: list[File], home: File, cls: ast.ClassDef) -> Iterator[tuple[File, ast.Call]]:
    for other in files:
        for call in other.outline.calls.get(cls.name, ()):
            if other is home or _is_import(other, call.func, other.outline.scope(call)):
                yield other, call


def _is_import(file: File, node: ast.expr, scope: Scope) -> bool:
    path = dotted(node)
    binder = file.outline.binder(path[0], scope) if path else None
    if binder is None:
        return False
    return any(
        isinstance(each.node, (ast.Import, ast.ImportFrom))
        for each in file.outline.names(binder).bound.get(path[0], ())
    )


def _is_instance(files: list[File], home: File, cls: ast.ClassDef, file: File, receiver: ast.expr) -> bool:
    """Whether a receiver is a name that an instance of a class was given."""
    place = file.outline.place(dotted(receiver), file.outline.scope(receiver))
    if place is None:
        return False
    made = (
        named
        for each in home.outline.family(cls)
        for other, call in _named_calls(files, home, each)
        for named in _targets(other, call, None, ())
    )
    return any(
        where is file and where.outline.place(dotted(target), scope) == place for where, target, scope, _ in made
    )


def parameter_of(outline: Outline, place: Place) -> bool:
    """Whether a place is a parameter of the function that binds it."""
    scope = place.scope
    return isinstance(scope, (*DEFS, ast.Lambda)) and bool(place.path) and place.path[0] in parameters(scope)
