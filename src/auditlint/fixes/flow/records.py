"""What only keeps the values it is made of: displays, dicts by keywords, instances of record classes, namespaces."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from auditlint.fixes.flow.names import binders, module_of
from auditlint.fixes.flow.tree import FileTree
from auditlint.fixes.flow.uses import DISPLAYS

_RECORDS = frozenset(["collections.namedtuple", "typing.NamedTuple"])


def is_display(node: ast.expr) -> bool:
    """Whether an expression is a container that is made there, with what stands in it: a display, `dict(norm=norm)`."""
    return isinstance(node, DISPLAYS) or (isinstance(node, ast.Call) and ast.unparse(node.func) == "dict")


def is_record(file: FileTree, call: ast.Call, above: ast.AST, node: ast.expr) -> bool:
    """Whether a call hands on its argument `node` in a new object that only keeps it; `above` is what `node` is in."""
    if isinstance(above, ast.keyword):
        if above.arg is None and not isinstance(node, ast.Dict):
            return False  # what is in it would be read to be unpacked
        if isinstance(call.func, ast.Name) and call.func.id == "dict" and not binders(file, call.func):
            return True
    if is_namespace(file, call):
        return isinstance(above, ast.keyword)
    return only_keeps(file, ast.unparse(call.func)) or (isinstance(call.func, ast.Name) and _named(file, call.func))


def is_namespace(file: FileTree, call: ast.Call) -> bool:
    return _full(file, call.func) == "types.SimpleNamespace"


def _full(file: FileTree, func: ast.expr) -> str:
    """The name of an imported function with its module: `types.SimpleNamespace`, whatever the file calls it."""
    module = module_of(file, func)
    return f"{module}{ast.unparse(func)[len(ast.unparse(_root(func))) :]}" if module else ""


def _root(func: ast.expr) -> ast.expr:
    while isinstance(func, ast.Attribute):
        func = func.value
    return func


def _named(file: FileTree, name: ast.Name) -> bool:
    """Whether a name is bound once, to a class that `namedtuple` makes."""
    match binders(file, name):
        case [ast.Name() as bound]:
            match file.parents[bound]:
                case ast.Assign(targets=[ast.Name()], value=ast.Call(func=func)):
                    return _full(file, func) in _RECORDS
    return False


def only_keeps(file: FileTree, name: str) -> bool:
    """Whether calling `name` only puts its arguments into an object: a dataclass or a named tuple of this file."""
    found = [one for one in file.tree.body if isinstance(one, ast.ClassDef) and one.name == name]
    if len(found) != 1:
        return False
    cls = found[0]
    methods = {item.name for item in cls.body if isinstance(item, ast.FunctionDef)}
    if methods & {"__init__", "__post_init__", "__new__", "__setattr__"} or _described(cls):
        return False
    bases = [ast.unparse(base) for base in cls.bases]
    outer = {"object", "NamedTuple", "typing.NamedTuple", "TypedDict", "typing.TypedDict"}
    if not all(base in outer or only_keeps(file, base) for base in bases):
        return False
    decorators = [ast.unparse(one).partition("(")[0] for one in cls.decorator_list]
    if decorators:
        return all(one in ("dataclass", "dataclasses.dataclass") for one in decorators) and _standard(file, decorators)
    return any(base != "object" for base in bases)


def _described(cls: ast.ClassDef) -> bool:
    """Whether a field may be a descriptor: it is set to what a call gives, `dataclasses.field()` apart."""
    return any(
        isinstance(item, (ast.Assign, ast.AnnAssign))
        and isinstance(item.value, ast.Call)
        and ast.unparse(item.value.func) not in ("field", "dataclasses.field")
        for item in cls.body
    )


def _standard(file: FileTree, decorators: Sequence[str]) -> bool:
    """Whether `dataclass` is the one of Python."""
    if "dataclass" not in decorators:
        return True
    return any(
        isinstance(node, ast.ImportFrom)
        and node.module == "dataclasses"
        and any(one.name == "dataclass" and one.asname is None for one in node.names)
        for node in file.parents
    )
