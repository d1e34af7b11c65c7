"""Names of one parsed file: where each is bound, and to what. Pure syntax; nothing is imported or run."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple, TypeAlias

Def: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
Scope: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef | ast.Module

DEFS = (ast.FunctionDef, ast.AsyncFunctionDef)
SCOPES = (*DEFS, ast.Lambda, ast.ClassDef, ast.Module)


class Binding(NamedTuple):
    """One place that binds a name: the node that does it, and what is bound (`part` of it where it is unpacked).

    `each` says that the name stands for the elements of `value`, one after the other.
    """

    node: ast.AST
    value: ast.expr | None = None
    part: int | None = None
    each: bool = False


class Place(NamedTuple):
    """What a dotted name means: the scope that binds its first part, or the class of which that is an instance.

    `path` has all parts, those behind the instance where `scope` is a class.
    """

    scope: Scope
    path: tuple[str, ...]

    def within(self, other: Place) -> bool:
        """Whether this is `other` or a part of it."""
        return self.scope is other.scope and self.path[: len(other.path)] == other.path


class Names(NamedTuple):
    """What a scope binds, and what it takes from outside by `global` and `nonlocal`."""

    bound: dict[str, list[Binding]]
    outer: frozenset[str]
    module: frozenset[str]


def dotted(node: ast.AST | None) -> tuple[str, ...]:
    """The parts of `a.b.c`, () for anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return (*reversed([*parts, node.id]),) if isinstance(node, ast.Name) else ()


def last(node: ast.AST) -> str:
    """The last part of a name, however it begins."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def is_mangled(name: str) -> bool:
    """Whether Python makes another name of an attribute's in each class: `__log`."""
    return name.startswith("__") and not name.endswith("__")


def own(scope: Scope) -> Iterator[ast.AST]:
    """The nodes that run with a scope's body, in the order of the text: not what functions and classes in it hold."""
    stack: list[ast.AST] = [scope.body] if isinstance(scope, ast.Lambda) else [*reversed(scope.body)]
    while stack:
        node = stack.pop()
        yield node
        if isinstance(node, DEFS):
            inside: list[ast.AST] = [*node.decorator_list, *defaults(node.args)]
        elif isinstance(node, ast.ClassDef):
            inside = [*node.decorator_list, *node.bases, *node.keywords]
        elif isinstance(node, ast.Lambda):
            inside = [*defaults(node.args)]
        else:
            inside = [*ast.iter_child_nodes(node)]
        stack.extend(reversed(inside))


def defaults(arguments: ast.arguments) -> list[ast.expr]:
    return [*arguments.defaults, *(value for value in arguments.kw_defaults if value is not None)]


def parameters(function: Def | ast.Lambda) -> list[str]:
    """The names of the parameters that can be given by position, then those that cannot, without the starred ones."""
    arguments = function.args
    return [each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]


def default_of(function: Def | ast.Lambda, name: str) -> ast.expr | None:
    """The default of a parameter."""
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    given = dict(zip([each.arg for each in reversed(positional)], reversed(arguments.defaults), strict=False))
    given |= {each.arg: value for each, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if value}
    return given.get(name)


class Outline:
    """Parents, functions, classes and names of one file."""

    __slots__ = (
        "_assignments",
        "_attributes",
        "_calls",
        "_families",
        "_methods",
        "_names",
        "_nodes",
        "_subclasses",
        "calls",
        "classes",
        "functions",
        "known",
        "parents",
        "readers",
        "runs",
        "tree",
    )

    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree
        self.parents: dict[ast.AST, ast.AST] = {}
        self.functions: list[Def | ast.Lambda] = []
        self.classes: dict[str, ast.ClassDef] = {}
        self.calls: dict[str, list[ast.Call]] = {}  # by the last part of what is called
        self.known: dict[object, bool] = {}  # answers that others keep here
        self.runs: dict[object, list[ast.Call]] = {}  # and here
        self.readers: dict[tuple[str, frozenset[tuple[str, ...]]], frozenset[str]] = {}  # and here
        self._names: dict[Scope, Names] = {}
        self._nodes: dict[Scope, list[ast.AST]] = {}
        self._calls: dict[Scope, list[ast.Call]] = {}
        self._assignments: dict[Scope, list[ast.Assign]] = {}
        self._families: dict[ast.ClassDef, list[ast.ClassDef]] = {}
        self._subclasses: dict[str, list[ast.ClassDef]] = {}
        self._methods: dict[ast.ClassDef, dict[str, list[Def]]] = {}
        self._attributes: dict[ast.ClassDef, list[tuple[Def, str, ast.expr]]] = {}
        for node in ast.walk(tree):
            if isinstance(node, (*DEFS, ast.Lambda)):
                self.functions.append(node)
            elif isinstance(node, ast.ClassDef):
                self.classes.setdefault(node.name, node)
                for base in node.bases:
                    self._subclasses.setdefault(last(base), []).append(node)
            elif isinstance(node, ast.Call):
                self.calls.setdefault(last(node.func), []).append(node)
            for child in ast.iter_child_nodes(node):
                self.parents[child] = node

    def chain(self, node: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
        """The way out: (child, parent) from the node to the module."""
        while (parent := self.parents.get(node)) is not None:
            yield node, parent
            node = parent

    def scope(self, node: ast.AST) -> Scope:
        """The scope in which a node is evaluated."""
        for child, parent in self.chain(node):
            if isinstance(parent, ast.Module):
                return parent
            if isinstance(parent, ast.Lambda):
                if child is parent.body:
                    return parent
            elif isinstance(parent, (*DEFS, ast.ClassDef)) and isinstance(child, ast.stmt):
                return parent
        return self.tree

    def function(self, node: ast.AST) -> Scope:
        """The innermost function (or the module) in which a node is evaluated."""
        scope = self.scope(node)
        while isinstance(scope, ast.ClassDef):
            scope = self.scope(scope)
        return scope

    def statement(self, node: ast.AST) -> ast.stmt | None:
        """The innermost statement around a node."""
        if isinstance(node, ast.stmt):
            return node
        return next((parent for _, parent in self.chain(node) if isinstance(parent, ast.stmt)), None)

    def class_of(self, function: ast.AST) -> ast.ClassDef | None:
        """The class of a method that has an instance (or a class) as its first parameter."""
        if not isinstance(function, DEFS) or not (function.args.posonlyargs or function.args.args):
            return None
        scope = self.scope(function)
        static = any(dotted(each)[-1:] == ("staticmethod",) for each in function.decorator_list)
        return scope if isinstance(scope, ast.ClassDef) and not static else None

    def methods(self, cls: ast.ClassDef) -> list[Def]:
        """The methods of a class, of the classes it stands on and of those that stand on it, in this file."""
        return [each for named in self._methods_by_name(cls).values() for each in named]

    def method(self, cls: ast.ClassDef, name: str) -> Def | None:
        return next(iter(self._methods_by_name(cls).get(name, ())), None)

    def _methods_by_name(self, cls: ast.ClassDef) -> dict[str, list[Def]]:
        if cls not in self._methods:
            found: dict[str, list[Def]] = {}
            for each in self.family(cls):
                for node in self.nodes(each):
                    if isinstance(node, DEFS) and self.class_of(node) is each:
                        found.setdefault(node.name, []).append(node)
            self._methods[cls] = found
        return self._methods[cls]

    def family(self, cls: ast.ClassDef) -> list[ast.ClassDef]:
        """A class, its bases and its subclasses in this file."""
        if cls not in self._families:
            below = {cls: None}
            queue = [cls]
            for each in queue:
                queue += [other for other in self._subclasses.get(each.name, ()) if other not in below]
                below |= dict.fromkeys(queue)
            self._families[cls] = [*dict.fromkeys([*self.above(cls), *below])]
        return self._families[cls]

    def above(self, cls: ast.ClassDef) -> list[ast.ClassDef]:
        """A class and its bases in this file."""
        found = [cls]
        for each in found:
            found += [base for base in self._bases(each) if base not in found]
        return found

    def root(self, cls: ast.ClassDef) -> ast.ClassDef:
        """The class that stands for a family: the first one that its bases lead to in this file."""
        seen = [cls]
        while above := [base for base in self._bases(seen[-1]) if base not in seen]:
            seen.append(above[0])
        return seen[-1]

    def _bases(self, cls: ast.ClassDef) -> list[ast.ClassDef]:
        return [self.classes[name] for base in cls.bases if (name := last(base)) in self.classes]

    def nodes(self, scope: Scope) -> list[ast.AST]:
        """What `own` gives, made once."""
        if scope not in self._nodes:
            self._nodes[scope] = [*own(scope)]
        return self._nodes[scope]

    def assignments(self, scope: Scope) -> list[ast.Assign]:
        """The plain assignments in a scope's own code."""
        if scope not in self._assignments:
            self._assignments[scope] = [node for node in self.nodes(scope) if isinstance(node, ast.Assign)]
        return self._assignments[scope]

    def calls_in(self, scope: Scope) -> list[ast.Call]:
        """The calls that a scope's own code makes."""
        if scope not in self._calls:
            self._calls[scope] = [node for node in self.nodes(scope) if isinstance(node, ast.Call)]
        return self._calls[scope]

    def names(self, scope: Scope) -> Names:
        if scope not in self._names:
            self._names[scope] = _names(scope, self.nodes(scope))
        return self._names[scope]

    def binder(self, name: str, scope: Scope) -> Scope | None:
        """The scope whose name this is when read in `scope`; None for builtins and what a star import brings."""
        first = scope
        while True:
            if not isinstance(scope, ast.ClassDef) or scope is first:
                names = self.names(scope)
                if name in names.module:
                    return self.tree
                if name in names.bound and name not in names.outer:
                    return scope
            if scope is self.tree:
                return None
            scope = self.scope(scope)

    def place(self, path: tuple[str, ...], scope: Scope) -> Place | None:
        """What a dotted name means in a scope, through names that only stand for another; None without a name.

        Names that nobody binds (builtins, star imports) count as the module's.
        """
        if not path:
            return None
        for _ in range(8):
            binder = self.binder(path[0], scope) or self.tree
            cls = self.class_of(binder)
            if cls is not None and isinstance(binder, DEFS) and path[0] == parameters(binder)[0]:
                return Place(self.root(cls), path[1:])
            bindings = self.names(binder).bound.get(path[0], [])
            meant = dotted(bindings[0].value) if len(bindings) == 1 else ()
            if not meant or bindings[0].part is not None or bindings[0].each or meant[0] == path[0]:
                return Place(binder, path)
            path, scope = meant + path[1:], binder
        return Place(binder, path)

    def spelled(self, place: Place, scope: Scope) -> tuple[str, ...]:
        """How a place is written in a scope, () where it has no name there."""
        if not isinstance(place.scope, ast.ClassDef):
            seen = (self.binder(place.path[0], scope) or self.tree) if place.path else None
            return place.path if seen is place.scope else ()
        family = self.family(place.scope)
        while scope is not self.tree:
            if self.class_of(scope) in family and isinstance(scope, DEFS):
                return (parameters(scope)[0], *place.path)
            scope = self.scope(scope)
        return ()

    def set_attributes(self, cls: ast.ClassDef) -> list[tuple[Def, str, ast.expr]]:
        """Each `self.name = value` of a class's methods: the method, the name, the value."""
        if cls not in self._attributes:
            self._attributes[cls] = [
                found for method in self.methods(cls) for found in _set_in(method, self.nodes(method))
            ]
        return self._attributes[cls]


@lru_cache(maxsize=8)
def outline(tree: ast.Module) -> Outline:
    """The outline of a tree, made once for the files at hand."""
    return Outline(tree)


def _set_in(method: Def, nodes: list[ast.AST]) -> Iterator[tuple[Def, str, ast.expr]]:
    instance = parameters(method)[0]
    for node in nodes:
        if not isinstance(node, (ast.Assign, ast.AnnAssign)) or node.value is None:
            continue
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            path = dotted(target)
            if len(path) == 2 and path[0] == instance:
                yield method, path[1], node.value


def _names(scope: Scope, nodes: list[ast.AST]) -> Names:
    bound: dict[str, list[Binding]] = {}
    outer: set[str] = set()
    module: set[str] = set()
    if isinstance(scope, (*DEFS, ast.Lambda)):
        stars = [each.arg for each in (scope.args.vararg, scope.args.kwarg) if each]
        for name in [*parameters(scope), *stars]:
            bound.setdefault(name, []).append(Binding(scope.args))
    for node in nodes:
        if isinstance(node, ast.Global):
            module.update(node.names)
        elif isinstance(node, ast.Nonlocal):
            outer.update(node.names)
        else:
            for name, binding in _bindings(node):
                bound.setdefault(name, []).append(binding)
    return Names(bound, frozenset(outer), frozenset(module))


def _bindings(node: ast.AST) -> Iterator[tuple[str, Binding]]:
    if isinstance(node, ast.Assign):
        for target in node.targets:
            yield from _targets(target, node, node.value)
    elif isinstance(node, (ast.AnnAssign, ast.NamedExpr)):
        yield from _targets(node.target, node, node.value)
    elif isinstance(node, ast.AugAssign):
        yield from _targets(node.target, node, None)
    elif isinstance(node, (ast.For, ast.AsyncFor, ast.comprehension)):
        for name, binding in _targets(node.target, node, node.iter):
            yield name, binding._replace(each=True)
    elif isinstance(node, ast.withitem) and node.optional_vars is not None:
        for name, binding in _targets(node.optional_vars, node, node.context_expr):
            yield name, binding._replace(each=True)
    elif isinstance(node, (ast.Import, ast.ImportFrom)):
        for alias in node.names:
            yield alias.asname or alias.name.partition(".")[0], Binding(node)
    elif isinstance(node, (*DEFS, ast.ClassDef)) or (isinstance(node, ast.ExceptHandler) and node.name):
        yield node.name or "", Binding(node)
    elif isinstance(node, (ast.MatchAs, ast.MatchStar)) and node.name:
        yield node.name, Binding(node)


def _targets(
    target: ast.expr, node: ast.AST, value: ast.expr | None, part: int | None = None
) -> Iterator[tuple[str, Binding]]:
    if isinstance(target, ast.Name):
        yield target.id, Binding(node, value, part)
    elif isinstance(target, ast.Starred):
        yield from _targets(target.value, node, value, part)
    elif isinstance(target, (ast.Tuple, ast.List)):
        parts = value.elts if isinstance(value, (ast.Tuple, ast.List)) else []
        for number, each in enumerate(target.elts):
            if len(parts) == len(target.elts):
                yield from _targets(each, node, parts[number])
            else:
                yield from _targets(each, node, value, number)
