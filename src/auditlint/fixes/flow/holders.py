"""What a container is that a value is put into: a list or dict keeps it as it is, other objects may read it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from auditlint.fixes.flow import idioms
from auditlint.fixes.flow.functions import argument_for, is_parameter
from auditlint.fixes.flow.operands import bindings_of
from auditlint.fixes.flow.result import Impossible
from auditlint.fixes.flow.tree import FileTree, FunctionNode

_KEEPING = frozenset(
    [
        "list", "dict", "deque", "defaultdict", "OrderedDict", "ChainMap", "UserDict", "UserList", "SimpleNamespace",
        "sorted",
    ]
)  # fmt: skip
_SAID = frozenset(["list", "dict", "deque", "defaultdict", "ordereddict", "mutablemapping", "mutablesequence", "any"])
_READING = frozenset(["set", "frozenset", "array", "bytearray", "environ"])
_LIBRARIES = frozenset(["numpy", "torch", "array", "cupy", "jax", "pandas"])
_OWN = idioms.STORES | {"__setitem__", "__iadd__", "__setattr__"}
_DEEPEST = 5


def unsure_of(file: FileTree, function: FunctionNode, container: ast.expr, root: ast.expr) -> bool:
    """Whether `container`, reached by `root`, may be no list or dict, as far as the file tells.

    Raises:
        Impossible: when it is something that reads, copies or converts what is put into it.
    """
    return _any_unsure(file, values_of(file, function, root), root, container is not root, 0)


def watched(file: FileTree, function: FunctionNode, target: ast.Attribute) -> bool:
    """Whether a class of the file has code that runs when the attribute is set."""
    own = file.class_of(function) if ast.unparse(target.value) == "self" else None
    family = _family(file, own) if own is not None else []
    for cls in _classes(file):
        if own is not None and cls not in family:
            continue
        names = {one.name for one in cls.body if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef))}
        if target.attr in names or "__setattr__" in names:
            return True
        for one in cls.body:
            if isinstance(one, ast.Assign) and isinstance(one.value, ast.Call):
                made = class_named(file, one.value.func)
                if made is not None and any(ast.unparse(name) == target.attr for name in one.targets):
                    return True
    return False


def _classes(file: FileTree) -> list[ast.ClassDef]:
    return [one for one in file.parents if isinstance(one, ast.ClassDef)]


def class_named(file: FileTree, name: ast.expr) -> ast.ClassDef | None:
    """The class of the file that goes by a name."""
    return next((one for one in _classes(file) if isinstance(name, ast.Name) and one.name == name.id), None)


def _family(file: FileTree, cls: ast.ClassDef) -> list[ast.ClassDef]:
    """The class, and those of the file that it inherits from."""
    found = [cls]
    for one in found:
        bases = (class_named(file, base) for base in one.bases)
        found += [base for base in bases if base is not None and base not in found]
    return found


Value = tuple[FunctionNode | None, ast.expr]


def values_of(file: FileTree, function: FunctionNode | None, root: ast.expr) -> Iterator[Value]:
    """What a variable or attribute is bound to, with the function in which that stands; parameters: by annotation."""
    if isinstance(root, ast.Attribute):
        yield from _attribute(file, function, root)
    elif isinstance(root, ast.Name):
        scope = function
        while scope is not None and not is_parameter(scope, root.id) and not bindings_of(file, scope, root.id):
            scope = file.function(scope)
        if scope is not None and is_parameter(scope, root.id):
            yield from _parameter(file, scope, root.id)
        for node in ast.walk(scope or file.tree):
            if isinstance(node, ast.Name) and node.id == root.id and isinstance(node.ctx, ast.Store):
                around = file.function(node)
                if around is scope or (around is not None and _declares(around, root.id)):
                    yield from _bound(file, node, around)
        if scope is None:
            yield from _imported(file, root)
    else:
        yield function, root


def _declares(function: FunctionNode, name: str) -> bool:
    return any(isinstance(one, (ast.Global, ast.Nonlocal)) and name in one.names for one in ast.walk(function))


def _attribute(file: FileTree, function: FunctionNode | None, root: ast.Attribute) -> Iterator[Value]:
    own = file.class_of(function) if function is not None and ast.unparse(root.value) == "self" else None
    family = _family(file, own) if own is not None else []
    for node in file.parents:
        if isinstance(node, ast.Attribute) and node.attr == root.attr and isinstance(node.ctx, ast.Store):
            around = file.function(node)
            setter = file.class_of(around) if around is not None and ast.unparse(node.value) == "self" else None
            if own is None or setter is None or setter in family or own in _family(file, setter):
                yield from _bound(file, node, around)
        elif isinstance(node, ast.Name) and node.id == root.attr and isinstance(node.ctx, ast.Store):
            cls = file.parents[file.statement(node)]
            if isinstance(cls, ast.ClassDef) and (own is None or cls in family):
                yield from _bound(file, node, None)
        elif isinstance(node, ast.FunctionDef) and node.name == root.attr:
            cls = file.parents[node]
            if isinstance(cls, ast.ClassDef) and (own is None or cls in family):
                yield from _returned(node)
    if ast.unparse(root) == "os.environ":
        yield function, root


def _returned(method: ast.FunctionDef) -> Iterator[Value]:
    """What a property gives."""
    for one in ast.walk(method):
        if isinstance(one, ast.Return) and one.value is not None:
            yield method, one.value


def _bound(file: FileTree, node: ast.expr, scope: FunctionNode | None) -> Iterator[Value]:
    match file.parents[node]:
        case ast.Assign(value=value) | ast.NamedExpr(value=value):
            yield scope, value
        case ast.AnnAssign(value=ast.expr() as value):
            yield scope, value
        case ast.AnnAssign(annotation=said):
            yield scope, ast.Starred(said)  # only its type is told
        case ast.AugAssign() | ast.Delete():
            return
        case ast.Tuple(elts=targets) as several:
            match file.parents[several]:
                case ast.Assign(value=ast.Tuple(elts=values)) if len(values) == len(targets):
                    yield scope, values[targets.index(node)]
                case _:
                    yield scope, ast.Starred(ast.Constant("unknown"))
        case _:
            yield scope, ast.Starred(ast.Constant("unknown"))


def _parameter(file: FileTree, function: FunctionNode, name: str) -> Iterator[Value]:
    arguments = function.args
    for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
        if one.arg == name and one.annotation is not None:
            yield function, ast.Starred(one.annotation)
    if isinstance(function, ast.Lambda):
        return
    called = function.name
    cls = file.parents[function]
    if called == "__init__" and isinstance(cls, ast.ClassDef):
        called = cls.name
    for call in file.parents:
        if isinstance(call, ast.Call) and ast.unparse(call.func).rpartition(".")[2] == called:
            given = argument_for(call, function, name)
            if given is not None:
                yield file.function(call), given


def _imported(file: FileTree, root: ast.Name) -> Iterator[Value]:
    for node in file.parents:
        if isinstance(node, ast.ImportFrom) and any((one.asname or one.name) == root.id for one in node.names):
            yield None, ast.Starred(ast.Constant("unknown"))


def _any_unsure(file: FileTree, values: Iterable[Value], root: ast.expr, nested: bool, depth: int) -> bool:
    # All of them are looked at: one that is unsure hides none that makes it impossible.
    found = [_unsure(file, one, root, nested, depth) for one in values]
    return any(found)


def _unsure(file: FileTree, value: Value, root: ast.expr, nested: bool, depth: int) -> bool:
    where, node = value
    text = ast.unparse(root)
    match node:
        case ast.Starred(value=said):
            return _typed(file, said, text)
        case ast.Constant():
            return node.value is not None
        case ast.List() | ast.Tuple() | ast.Dict() | ast.ListComp() | ast.DictComp():
            if nested and any(_library(file, one) for one in ast.walk(node) if isinstance(one, ast.Call)):
                raise Impossible(f"`{text}` may hold arrays or tensors, which take only numbers")
            return False
        case ast.Set() | ast.SetComp():
            raise Impossible(f"`{text}` is a set, which hashes the value in the hook")
        case ast.IfExp(body=left, orelse=right) | ast.BinOp(left=left, right=right):
            made = [one for one in (left, right) if isinstance(one, (ast.List, ast.ListComp))]
            if isinstance(node, ast.BinOp) and made:
                return False
            return _any_unsure(file, ((where, one) for one in (left, right)), root, nested, depth)
        case ast.BoolOp(values=values):
            return _any_unsure(file, ((where, one) for one in values), root, nested, depth)
        case ast.Call():
            return _made(file, node, text, nested)
        case ast.Subscript(value=inner):
            return depth >= _DEEPEST or _any_unsure(file, values_of(file, where, inner), root, True, depth + 1)
        case ast.Name() | ast.Attribute():
            if ast.unparse(node) == "os.environ":
                raise Impossible("`os.environ` takes only strings")
            if depth >= _DEEPEST:
                return True
            return _any_unsure(file, values_of(file, where, node), root, nested, depth + 1)
    return True


def _typed(file: FileTree, said: ast.expr, text: str) -> bool:
    words = ast.unparse(said).strip("'\"").partition("[")[0].rpartition(".")[2]
    if words in ("Tensor", "ndarray", "Set", "set", "frozenset", "array", "MutableSet"):
        raise Impossible(f"`{text}` is a `{words}`")
    cls = class_named(file, ast.Name(words))
    if cls is not None:
        return _defines(file, cls, text)
    optional = words in ("Optional", "Union", "None", "ClassVar", "Final", "Annotated") or "|" in ast.unparse(said)
    return words.lower() not in _SAID and not optional


def _made(file: FileTree, call: ast.Call, text: str, nested: bool) -> bool:
    cls = class_named(file, call.func)
    if cls is not None:
        return _defines(file, cls, text)
    if _library(file, call):
        raise Impossible(f"`{text}` is an array or a tensor, which takes only numbers")
    name = ast.unparse(call.func).rpartition(".")[2]
    if name in _READING:
        raise Impossible(f"`{text}` is a `{name}`, which reads the value in the hook")
    if name == "field":
        made = [one.value for one in call.keywords if one.arg == "default_factory"]
        return not made or ast.unparse(made[0]).rpartition(".")[2] not in _KEEPING
    inner = [ast.unparse(one) for one in call.args[:1]]
    if name == "defaultdict" and nested and any(one in ("set", "frozenset") for one in inner):
        raise Impossible(f"`{text}` holds sets, which hash the value in the hook")
    return name not in _KEEPING and name not in ("setdefault", "get", "copy", "fromkeys")


def _library(file: FileTree, call: ast.Call) -> bool:
    """Whether a call is of a function of a library of arrays, by the imports of the file."""
    first = ast.unparse(call.func).partition(".")[0]
    for node in file.parents:
        if isinstance(node, ast.Import):
            names = {(one.asname or one.name.partition(".")[0]): one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {(one.asname or one.name): node.module or "" for one in node.names}
        else:
            continue
        if names.get(first, "").partition(".")[0] in _LIBRARIES:
            return True
    return False


def _defines(file: FileTree, cls: ast.ClassDef, text: str) -> bool:
    """Whether it is unclear how a class stores; one that stores by code of its own is none to follow."""
    family = _family(file, cls)
    for one in family:
        for item in one.body:
            if isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef)) and item.name in _OWN:
                raise Impossible(f"`{text}` stores by `{one.name}.{item.name}()`, which may read the value")
    outer = {ast.unparse(base).partition("[")[0].rpartition(".")[2] for one in family for base in one.bases}
    outer -= {one.name for one in family}
    return not outer <= {*_KEEPING, "object", "UserDict", "UserList", "TypedDict"}
