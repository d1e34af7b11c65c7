"""Where hooks keep things: the variable or attribute behind a container, and who else in the project uses it."""

from __future__ import annotations

import ast
from bisect import bisect_left
from collections.abc import Iterator
from typing import NamedTuple

from auditlint.analysis import names
from auditlint.analysis.bodies import Body, body_of, called
from auditlint.analysis.naming import word_rows
from auditlint.analysis.origins import Context
from auditlint.analysis.session import Session
from auditlint.analysis.values import DictObj, Env, ListObj, Obj, Union, Value, alternatives
from auditlint.facts.returns import TENSOR_ATTRIBUTES
from auditlint.project.modules import ClassInfo, FunctionInfo, Module, flat_statements

MAX_DEPTH = 12
# Methods that give what a container holds.
INNER = {"setdefault", "get", "values", "items", "copy", "pop", "popleft", "keys"}


class Place(NamedTuple):
    """A variable or attribute. `kind` is "attribute", "global" or "local"; `owner` the class, module or function."""

    kind: str
    name: str
    owner: ClassInfo | Module | FunctionInfo | None

    @property
    def module(self) -> Module | None:
        return self.owner if isinstance(self.owner, Module) or self.owner is None else self.owner.module


class Use(NamedTuple):
    """A function that names a place, and the expressions that do."""

    info: FunctionInfo
    body: Body
    nodes: list[ast.expr]


class Loop(NamedTuple):
    """A loop or comprehension: what it goes over, and the names that it binds."""

    node: ast.stmt | ast.expr
    over: ast.expr
    bound: set[str]


def base_of(node: ast.expr) -> ast.expr:
    """The container at the bottom of `a.b["c"].setdefault(...)`: `a.b`."""
    while True:
        if isinstance(node, ast.Subscript):
            node = node.value
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _gives_part(node, node.func.attr):
            node = node.func.value
        else:
            return node


def _gives_part(node: ast.Call, name: str) -> bool:
    """Whether a method gives a part of its receiver; `.get()` without a key is another class's."""
    return name in INNER and (bool(node.args) or name not in ("get", "setdefault"))


def place_of(session: Session, context: Context, env: Env, node: ast.expr, depth: int = 0) -> Place | None:
    """The place that an expression names in a function; None for what only lives in that function, or is unknown."""
    node = base_of(node)
    if depth > MAX_DEPTH:
        return None
    if isinstance(node, ast.Attribute):
        if isinstance(node.value, ast.Name):
            bound = context.body.before(node.value.id, node.lineno)
            if bound and isinstance(base_of(bound[0].value), ast.Name) and isinstance(bound[0].value, ast.Name):
                moved = ast.Attribute(bound[0].value, node.attr, node.ctx, lineno=bound[0].row, col_offset=0)
                return place_of(session, context, env, moved, depth + 1)
        # What is written into a tensor's or parameter's own attribute is no container.
        return None if node.attr in TENSOR_ATTRIBUTES else Place("attribute", node.attr, _class_of(context, node.value))
    if not isinstance(node, ast.Name):
        return None
    bound = context.body.before(node.id, node.lineno)
    if bound:
        value = base_of(bound[0].value)
        if isinstance(value, (ast.Name, ast.Attribute)) and not bound[0].part:
            return place_of(session, context, env, value, depth + 1)
        return None
    given = context.given.get(node.id)
    if given is not None and context.above is not None:
        return place_of(session, context.above, env, given, depth + 1)
    default = context.info.defaults.get(node.id)
    name = default.id if isinstance(default, ast.Name) else node.id
    if default is None and any(parameter.arg == node.id for parameter in context.info.positional()):
        return _by_value(session, env, node.id)
    return _outer(session, context.info, env, name)


def _outer(session: Session, info: FunctionInfo, env: Env, name: str) -> Place | None:
    """A name of an enclosing function or of the module."""
    outer = info.parent
    while outer is not None and not isinstance(outer.node, ast.Module):
        if name in outer.locals:
            return Place("local", name, outer)
        if any(parameter.arg == name for parameter in outer.positional()):
            return _by_value(session, env, name) or Place("local", name, outer)
        outer = outer.parent
    module = info.module
    for statement in module.names.get(name, ()):
        if isinstance(statement, ast.ImportFrom):
            return _imported(session, module, statement, name)
    return Place("global", name, module)


def _imported(session: Session, module: Module, statement: ast.ImportFrom, name: str) -> Place | None:
    source = names.imported_module(session, module, statement)
    original = next((alias.name for alias in statement.names if (alias.asname or alias.name) == name), name)
    return Place("global", original, source) if isinstance(source, Module) and original in source.names else None


def _class_of(context: Context, node: ast.expr) -> ClassInfo | None:
    """The class whose `self` an expression is, in a method or in a function nested in one."""
    if not isinstance(node, ast.Name):
        return None
    info: FunctionInfo | None = context.info
    while info is not None:
        positional = info.positional()
        if info.cls is not None and positional and positional[0].arg == node.id and "static" not in info.flags:
            return info.cls
        if node.id in info.locals or any(parameter.arg == node.id for parameter in positional):
            return None
        info = info.parent
    return None


def _by_value(session: Session, env: Env, name: str) -> Place | None:
    """The place that holds the container which a caller handed over."""
    held: Env | None = env
    while held is not None and name not in held.ever:
        held = held.parent
    if held is None:
        return None
    found = [item for item in alternatives(held.ever[name]) if isinstance(item, (ListObj, DictObj))]
    if len(found) != 1:
        return None
    if session.homes is None:
        session.homes = dict(_homes(session))
    return session.homes.get(id(found[0]))


def _homes(session: Session) -> Iterator[tuple[int, Place]]:
    """(identity, place) of the containers in attributes and at module level; the session keeps them alive."""
    for obj in reversed([*session.selves.values(), *session.objects.values()]):
        for attribute, value in obj.attrs.items():
            for item in _containers(value):
                yield id(item), Place("attribute", attribute, obj.cls)
    for (module, known), value in session.module_names.items():
        for item in _containers(value):
            yield id(item), Place("global", known, module)


def _containers(value: Value) -> list[Value]:
    """The containers that a value may be, as far as that is known by now."""
    items = value.items if isinstance(value, Union) else (value,)
    return [item for item in items if isinstance(item, (ListObj, DictObj))]


def holder(env: Env, name: str) -> Env | None:
    """The variables among which a function's closure finds a name."""
    held: Env | None = env
    while held is not None and name not in held.ever:
        held = held.parent
    return held


def uses(session: Session, place: Place, files: list[str]) -> list[Use]:
    """The functions of these files that name a place, in the order of files and rows."""
    found = []
    word = place.name.encode()
    for filename in dict.fromkeys(files):
        source = session.project.source(filename)
        module = session.project.module(filename) if word in source else None
        if module is None:
            continue
        rows = word_rows(source, word)
        for info in functions_of(module):
            last = getattr(info.node, "end_lineno", None) or 10**9
            at = bisect_left(rows, info.row)
            if at == len(rows) or rows[at] > last:
                continue
            body = body_of(info)
            nodes = [node for node in body.named(place.name) if _names(session, place, info, body, node)]
            if nodes:
                found.append(Use(info, body, nodes))
    return found


def _names(session: Session, place: Place, info: FunctionInfo, body: Body, node: ast.expr) -> bool:
    if place.kind == "attribute":
        if not isinstance(node, ast.Attribute) or node.attr != place.name:
            return False
        owner = own_class(info, node.value)
        if owner is None or not isinstance(place.owner, ClassInfo):
            return True
        return place.owner in names.mro(session, owner) or owner in names.mro(session, place.owner)
    if not isinstance(node, ast.Name) or node.id != place.name:
        return False
    if place.kind == "local":
        outer: FunctionInfo | None = info
        while outer is not None and outer is not place.owner:
            if place.name in outer.locals or any(p.arg == place.name for p in outer.positional()):
                return False
            outer = outer.parent
        return outer is not None
    if isinstance(info.node, ast.Module):
        return True
    return place.name in body.globals or not (
        place.name in info.locals or any(p.arg == place.name for p in info.positional())
    )


def own_class(info: FunctionInfo, node: ast.expr) -> ClassInfo | None:
    """The class of `self`, where an expression is the receiver of the method that it stands in."""
    outer: FunctionInfo | None = info
    while outer is not None:
        positional = outer.positional()
        if outer.cls is not None and positional and isinstance(node, ast.Name) and positional[0].arg == node.id:
            return outer.cls
        outer = outer.parent
    return None


def functions_of(module: Module) -> list[FunctionInfo]:
    """All functions of a module, nested ones and methods, and its own body."""
    if module.functions is None:
        module.functions = [module.body()]
        _functions(module, module.tree.body, "", None, None, module.functions)
    return module.functions


def _functions(
    module: Module,
    body: list[ast.stmt],
    prefix: str,
    cls: ClassInfo | None,
    parent: FunctionInfo | None,
    found: list[FunctionInfo],
) -> None:
    for statement in flat_statements(body):
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
            info = module.function(statement, prefix + statement.name, cls, parent)
            found.append(info)
            _functions(module, statement.body, f"{info.qualname}.<locals>.", None, info, found)
        elif isinstance(statement, ast.ClassDef):
            inner = module.class_(statement, prefix + statement.name, parent)
            _functions(module, statement.body, f"{inner.qualname}.", inner, parent, found)


def loops(use: Use) -> Iterator[Loop]:
    """The loops of a function over a place."""
    parts = _parts(use)
    for node in use.body.nodes:
        if isinstance(node, (ast.For, ast.AsyncFor)):
            if _is_part(node.iter, use.nodes, parts):
                bound = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
                yield Loop(node, node.iter, bound)
        elif isinstance(node, (ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.DictComp)):
            over = [generator.iter for generator in node.generators if _is_part(generator.iter, use.nodes, parts)]
            if over:
                names = {n.id for g in node.generators for n in ast.walk(g.target) if isinstance(n, ast.Name)}
                yield Loop(node, over[0], names)


# Builtins that go through what they are given.
PASSING = {
    "zip",
    "enumerate",
    "list",
    "tuple",
    "sorted",
    "reversed",
    "iter",
    "dict",
    "map",
    "filter",
    "range",
    "tqdm",
    "len",
}


def _parts(use: Use) -> set[str]:
    """Local names for a place or for a part of it, as it stands: nothing computed of it."""
    found: set[str] = set()
    for _ in range(4):
        before = len(found)
        for name, bindings in use.body.bound.items():
            if any(_is_part(binding.value, use.nodes, found) for binding in bindings):
                found.add(name)
        if len(found) == before:
            break
    return found


def _is_part(node: ast.expr, nodes: list[ast.expr], names: set[str]) -> bool:
    if node in nodes or (isinstance(node, ast.Name) and node.id in names):
        return True
    if isinstance(node, ast.Subscript):
        return _is_part(node.value, nodes, names)
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Attribute) and node.func.attr in INNER:
            return _is_part(node.func.value, nodes, names)
        return called(node) in PASSING and any(_is_part(part, nodes, names) for part in node.args)
    return False


def derived(use: Use) -> set[str]:
    """Local names that stand for a place, for a part of it or for what was computed of it on the device."""
    found: set[str] = set()
    for _ in range(4):
        before = len(found)
        for name, bindings in use.body.bound.items():
            if any(mentions(binding.value, use.nodes, found) for binding in bindings):
                found.add(name)
        if len(found) == before:
            break
    return found


def mentions(node: ast.AST, nodes: list[ast.expr], tainted: set[str]) -> bool:
    """Whether an expression holds one of these nodes or names; what was read to the host is another thing."""
    if node in nodes or (isinstance(node, ast.Name) and node.id in tainted):
        return True
    if isinstance(node, ast.Call) and called(node) in ("item", "tolist", "len", "float", "int", "finalize"):
        return False
    return any(mentions(child, nodes, tainted) for child in ast.iter_child_nodes(node))


def object_of(env: Env, node: ast.expr) -> Obj | None:
    """The instance that a name stands for where something is kept."""
    held = holder(env, node.id) if isinstance(node, ast.Name) else None
    found = (
        [item for item in alternatives(held.ever[node.id]) if isinstance(item, Obj)]
        if held and isinstance(node, ast.Name)
        else []
    )
    return found[0] if len(found) == 1 else None
