"""Parsed modules and the tables of what they define; nothing here looks past one file."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from auditlint.analysis.bodies import Body

FunctionNode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.Module
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
# `except*` is a statement of its own, with the same fields, since Python 3.11.
TRY: tuple[type[ast.Try], ...] = (ast.Try, getattr(ast, "TryStar", ast.Try))


class Module:
    """One parsed file. `name` is its dotted name, `package` the one that relative imports start from."""

    __slots__ = (
        "_classes", "_functions", "_names", "filename", "functions", "name", "package", "source", "stars", "tree",
    )  # fmt: skip

    def __init__(self, filename: str, name: str, package: str, source: bytes, tree: ast.Module) -> None:
        self.filename = filename
        self.name = name
        self.package = package
        self.source = source
        self.tree = tree
        self.stars: list[ast.ImportFrom] = []
        self._names: dict[str, list[ast.stmt]] | None = None
        self._functions: dict[ast.AST, FunctionInfo] = {}
        self._classes: dict[ast.ClassDef, ClassInfo] = {}
        # All functions of the file, listed once somebody asks for them.
        self.functions: list[FunctionInfo] | None = None

    @property
    def names(self) -> dict[str, list[ast.stmt]]:
        """Top-level names and the statements that bind them, in order."""
        if self._names is None:
            self._names = {}
            for statement in flat_statements(self.tree.body):
                if isinstance(statement, ast.ImportFrom) and statement.names[0].name == "*":
                    self.stars.append(statement)
                for name in bound_names(statement):
                    self._names.setdefault(name, []).append(statement)
        return self._names

    def function(
        self, node: FunctionNode, qualname: str, cls: ClassInfo | None = None, parent: FunctionInfo | None = None
    ) -> FunctionInfo:
        """The one FunctionInfo of this node."""
        info = self._functions.get(node)
        if info is None:
            info = self._functions[node] = FunctionInfo(self, node, qualname, cls, parent)
        return info

    def class_(self, node: ast.ClassDef, qualname: str, parent: FunctionInfo | None = None) -> ClassInfo:
        """The one ClassInfo of this node."""
        info = self._classes.get(node)
        if info is None:
            info = self._classes[node] = ClassInfo(self, node, qualname, parent)
        return info

    def body(self) -> FunctionInfo:
        """The module's own code, as a function without parameters."""
        return self.function(self.tree, "<module>")


class FunctionInfo:
    """A function, method, lambda or module body; `cls` is the class whose body defines it."""

    __slots__ = (
        "_locals", "body", "cls", "defaults", "flags", "module", "name", "node", "parent", "qualname", "statement",
    )  # fmt: skip

    def __init__(
        self, module: Module, node: FunctionNode, qualname: str, cls: ClassInfo | None, parent: FunctionInfo | None
    ) -> None:
        self.module = module
        self.node = node
        self.qualname = qualname
        self.name = qualname.rpartition(".")[2]
        self.cls = cls
        self.parent = parent
        self.flags = _flags(node) if cls is not None else frozenset()
        self.defaults = _defaults(node)
        # The statement that a lambda stands in, for suppressions; set where it is evaluated. What is no statement is a
        # lambda, an expression, whatever the type of `node` says.
        self.statement: ast.stmt = node if isinstance(node, ast.stmt) else ast.Expr(value=node, lineno=1, end_lineno=1)  # type: ignore[arg-type]
        self._locals: frozenset[str] | None = None
        # What its text says, once somebody asks.
        self.body: Body | None = None

    @property
    def arguments(self) -> ast.arguments | None:
        return None if isinstance(self.node, ast.Module) else self.node.args

    @property
    def row(self) -> int:
        return getattr(self.node, "lineno", 1)

    @property
    def locals(self) -> frozenset[str]:
        """Names that the body binds, parameters not counted."""
        if self._locals is None:
            body = self.node.body if isinstance(self.node.body, list) else []
            self._locals = frozenset(name for statement in flat_statements(body) for name in bound_names(statement))
        return self._locals

    def positional(self) -> list[ast.arg]:
        """Parameters that may be given by position, `self` included."""
        arguments = self.arguments
        return [] if arguments is None else arguments.posonlyargs + arguments.args

    def __repr__(self) -> str:
        return f"<function {self.module.filename}:{self.row} {self.qualname}>"


class ClassInfo:
    """A class statement: its members by name, and which methods store which attributes of `self`."""

    __slots__ = ("_members", "_stores", "module", "name", "node", "parent", "qualname")

    def __init__(self, module: Module, node: ast.ClassDef, qualname: str, parent: FunctionInfo | None) -> None:
        self.module = module
        self.node = node
        self.name = node.name
        self.qualname = qualname
        self.parent = parent
        self._members: dict[str, list[ast.stmt]] | None = None
        self._stores: dict[str, list[tuple[FunctionInfo, ast.stmt]]] | None = None

    @property
    def members(self) -> dict[str, list[ast.stmt]]:
        """Names bound in the class body and the statements that bind them."""
        if self._members is None:
            self._members = {}
            for statement in flat_statements(self.node.body):
                for name in bound_names(statement):
                    self._members.setdefault(name, []).append(statement)
        return self._members

    def method(self, name: str) -> FunctionInfo | None:
        """The function that the class body itself binds to this name; the last one wins."""
        for statement in reversed(self.members.get(name, ())):
            if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
                return self.module.function(statement, f"{self.qualname}.{name}", self, self.parent)
        return None

    def methods(self) -> Iterator[FunctionInfo]:
        for name in self.members:
            method = self.method(name)
            if method is not None:
                yield method

    @property
    def stores(self) -> dict[str, list[tuple[FunctionInfo, ast.stmt]]]:
        """Attributes of `self` and the (method, statement) pairs that store them; "" where the name is computed."""
        if self._stores is None:
            self._stores = {}
            for method in self.methods():
                parameters = method.positional()
                if parameters and "static" not in method.flags:
                    self._index(method, parameters[0].arg)
        return self._stores

    def _index(self, method: FunctionInfo, receiver: str) -> None:
        assert self._stores is not None
        node = method.node
        assert isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        for statement in nested_statements(node.body):
            for name in _stored_attributes(statement, receiver):
                self._stores.setdefault(name, []).append((method, statement))

    def __repr__(self) -> str:
        return f"<class {self.module.filename}:{self.node.lineno} {self.qualname}>"


def flat_statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements of a scope, those under if/try/with/for included, definitions not entered."""
    for statement in body:
        yield statement
        if isinstance(statement, (ast.If, ast.For, ast.While, ast.AsyncFor)):
            yield from flat_statements(statement.body)
            yield from flat_statements(statement.orelse)
        elif isinstance(statement, (ast.With, ast.AsyncWith)):
            yield from flat_statements(statement.body)
        elif isinstance(statement, TRY):
            yield from flat_statements(statement.body)
            for handler in statement.handlers:
                yield from flat_statements(handler.body)
            yield from flat_statements(statement.orelse)
            yield from flat_statements(statement.finalbody)
        elif isinstance(statement, ast.Match):
            for case in statement.cases:
                yield from flat_statements(case.body)


def nested_statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """As `flat_statements`, entering nested functions too."""
    for statement in flat_statements(body):
        yield statement
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from nested_statements(statement.body)


def bound_names(statement: ast.stmt) -> Iterator[str]:
    """Names that one statement binds in its scope (those in nested blocks come with their own statements)."""
    if isinstance(statement, DEFINITIONS):
        yield statement.name
    elif isinstance(statement, ast.Import):
        for alias in statement.names:
            yield alias.asname or alias.name.partition(".")[0]
    elif isinstance(statement, ast.ImportFrom):
        for alias in statement.names:
            if alias.name != "*":
                yield alias.asname or alias.name
    elif isinstance(statement, ast.Assign):
        for target in statement.targets:
            yield from target_names(target)
    elif isinstance(statement, (ast.AnnAssign, ast.AugAssign, ast.For, ast.AsyncFor)):
        yield from target_names(statement.target)
    elif isinstance(statement, (ast.With, ast.AsyncWith)):
        for item in statement.items:
            if item.optional_vars is not None:
                yield from target_names(item.optional_vars)


def target_names(target: ast.expr) -> Iterator[str]:
    if isinstance(target, ast.Name):
        yield target.id
    elif isinstance(target, (ast.Tuple, ast.List)):
        for part in target.elts:
            yield from target_names(part)
    elif isinstance(target, ast.Starred):
        yield from target_names(target.value)


def _stored_attributes(statement: ast.stmt, receiver: str) -> Iterator[str]:
    targets: list[ast.expr] = []
    if isinstance(statement, ast.Assign):
        targets = list(statement.targets)
    elif isinstance(statement, (ast.AnnAssign, ast.AugAssign, ast.For, ast.AsyncFor)):
        targets = [statement.target]
    elif isinstance(statement, (ast.With, ast.AsyncWith)):
        targets = [item.optional_vars for item in statement.items if item.optional_vars is not None]
    elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        yield from _registered_attribute(statement.value, receiver)
    while targets:
        target = targets.pop()
        if isinstance(target, (ast.Tuple, ast.List)):
            targets.extend(target.elts)
        elif isinstance(target, (ast.Starred, ast.Subscript)):
            targets.append(target.value)
        elif isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == receiver:
            yield target.attr


def _registered_attribute(call: ast.Call, receiver: str) -> Iterator[str]:
    """`setattr(self, name, ...)`, `self.register_buffer("name", ...)`, and growth: `self.name.append(...)`."""
    function, args = call.func, call.args
    if isinstance(function, ast.Name) and function.id == "setattr" and len(args) == 3:
        if isinstance(args[0], ast.Name) and args[0].id == receiver:
            name = args[1]
            yield name.value if isinstance(name, ast.Constant) and isinstance(name.value, str) else ""
    elif isinstance(function, ast.Attribute):
        owner = function.value
        if isinstance(owner, ast.Name) and owner.id == receiver:
            if function.attr in ("register_buffer", "register_parameter", "add_module", "register_module") and args:
                name = args[0]
                yield name.value if isinstance(name, ast.Constant) and isinstance(name.value, str) else ""
        elif (
            isinstance(owner, ast.Attribute)
            and isinstance(owner.value, ast.Name)
            and owner.value.id == receiver
            and function.attr in ("append", "add", "extend", "update", "insert", "setdefault", "appendleft")
        ):
            yield owner.attr


def _flags(node: FunctionNode) -> frozenset[str]:
    """How a method is bound: "static", "class", "property", "abstract"."""
    flags = set()
    for decorator in getattr(node, "decorator_list", ()):
        name = decorator.attr if isinstance(decorator, ast.Attribute) else getattr(decorator, "id", "")
        if name == "staticmethod":
            flags.add("static")
        elif name == "classmethod":
            flags.add("class")
        elif name in ("property", "cached_property", "lazy_property"):
            flags.add("property")
        elif name in ("setter", "deleter"):
            flags.add("setter")
        elif name == "abstractmethod":
            flags.add("abstract")
    own = getattr(node, "name", "")
    if own in ("__new__", "__init_subclass__", "__class_getitem__"):
        flags.add("static" if own == "__new__" else "class")
    return frozenset(flags)


def _defaults(node: FunctionNode) -> dict[str, ast.expr]:
    """Parameters that have a default, and its expression."""
    if isinstance(node, ast.Module):
        return {}
    arguments = node.args
    positional = arguments.posonlyargs + arguments.args
    optional = positional[len(positional) - len(arguments.defaults) :]
    defaults = {parameter.arg: value for parameter, value in zip(optional, arguments.defaults, strict=True)}
    for parameter, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if value is not None:
            defaults[parameter.arg] = value
    return defaults
