"""The container that a hook stores in: where it lives."""

from __future__ import annotations

import ast

from auditlint.fixes.placement import origins
from auditlint.fixes.placement.origins import File, Named
from auditlint.fixes.placement.registrations import Function
from auditlint.fixes.placement.scopes import Outline, Place, Scope, dotted, last


def home_of(file: File, stored_in: Function, target: ast.expr | None) -> Named | None:
    """The place of the container, seen through names of the function for parts of it."""
    scope: Scope = stored_in.node
    for _ in range(8):
        while not dotted(target):
            if isinstance(target, (ast.Subscript, ast.Attribute)):
                target = target.value
            elif isinstance(target, ast.Call) and isinstance(target.func, ast.Attribute):
                target = target.func.value
            else:
                return None
        found = file.outline.place(dotted(target), scope)
        if found is None or found.scope is not stored_in.node:
            return Named(file, found) if found is not None else None
        bindings = file.outline.names(found.scope).bound[found.path[0]]
        value = bindings[0].value if len(bindings) == 1 else None
        if isinstance(value, ast.Call) and last(value.func) not in ("get", "setdefault"):
            value = None
        if not isinstance(value, (ast.Subscript, ast.Call)):
            escaped = _escape(file.outline, stored_in.node, found.path[0])
            if escaped is None:
                return Named(file, found)
            value = escaped
        target = value
    return None


def _escape(outline: Outline, function: Scope, name: str) -> ast.expr | None:
    """What a local of the function is put into: `rows` in `rows.append(entry)`."""
    for node in outline.nodes(function):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            given = [dotted(each) for each in node.args]
            if node.func.attr in ("append", "update", "extend", "add") and given == [(name,)]:
                return node.func.value
        elif isinstance(node, ast.Assign) and dotted(node.value) == (name,):
            for target in node.targets:
                if isinstance(target, ast.Subscript):
                    return target.value
    return None


def is_one_thing(outline: Outline, where: Place) -> bool:
    """Whether the variable that an attribute is reached by always stands for the same kind of thing."""
    if isinstance(where.scope, ast.ClassDef):
        return True
    values = [binding.value for binding in outline.names(where.scope).bound.get(where.path[0], ())]
    made = {ast.unparse(value.func) if isinstance(value, ast.Call) else "" for value in values}
    return len(values) < 2 or (len(made) == 1 and "" not in made)


def is_local(home: Named) -> bool:
    return not origins.parameter_of(home.file.outline, home.place)


def rebinds(outline: Outline, function: Scope, target: ast.expr, home: Named | None) -> bool:
    """Whether a function binds the target itself anew: `self.last = value`, or a name declared nonlocal or global.

    Not where the target is a part of the container at `home`: `entry.last` after `entry = self.entries[name]`.
    """
    path = dotted(target)
    names = outline.names(function)
    if not path or (len(path) == 1 and path[0] not in names.outer | names.module):
        return False
    if home is not None and outline.place(path, function) != home.place:
        return False
    for node in outline.nodes(function):
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, (ast.AugAssign, ast.AnnAssign, ast.NamedExpr)):
            targets = [node.target]
        if any(dotted(each) == path for each in targets):
            return True
    return False


def has(file: File, home: Named | None, scope: Scope) -> bool:
    """Whether the instance that a method works on has the container, by its own class or one that it stands on."""
    if home is None or home.file is not file or not isinstance(home.place.scope, ast.ClassDef):
        return True
    outline = file.outline
    while scope is not outline.tree and outline.class_of(scope) is None:
        scope = outline.scope(scope)
    cls = outline.class_of(scope)
    name = home.place.path[0]
    setters = {outline.class_of(method) for method, set_, _ in outline.set_attributes(home.place.scope) if set_ == name}
    return (
        cls is None
        or not setters
        or any(each in setters or name in outline.names(each).bound for each in outline.above(cls))
    )
