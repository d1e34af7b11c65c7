"""What names mean where they are used: Python's own functions and modules, or what the file calls so."""

from __future__ import annotations

import ast
from functools import lru_cache

from auditlint.fixes.flow import idioms
from auditlint.fixes.flow.tree import FUNCTIONS, FileTree

_SCOPES = (ast.Module, ast.ClassDef, *FUNCTIONS)


@lru_cache(maxsize=16)
def _binders(file: FileTree) -> dict[tuple[ast.AST, str], list[ast.AST]]:
    """What binds the names of each function and of the module; the names of a class are no names of its methods."""
    found: dict[tuple[ast.AST, str], list[ast.AST]] = {}
    for node in file.parents:
        name = _bound_by(node)
        scope = next((one for one in file.above(node) if isinstance(one, _SCOPES)), file.tree) if name else None
        if isinstance(scope, (ast.Module, *FUNCTIONS)):
            found.setdefault((scope, name), []).append(node)
    return found


def _bound_by(node: ast.AST) -> str:
    match node:
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()) | ast.arg(arg=name):
            return name
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return name
        case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
            return name
        case ast.alias(name=name, asname=asname):
            return asname or name.partition(".")[0]
    return ""


def binders(file: FileTree, node: ast.Name) -> list[ast.AST]:
    """What binds a name where it is used, in the innermost scope that does; nothing for a name of Python's own."""
    for scope in file.above(node):
        if isinstance(scope, (ast.Module, *FUNCTIONS)):
            found = _binders(file).get((scope, node.id))
            if found:
                return found
    return []


def module_of(file: FileTree, node: ast.expr) -> str:
    """The module, or the function of one, that a name is imported as; "" for a name that means anything else."""
    while isinstance(node, ast.Attribute):
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    names: set[str] = set()
    for binder in binders(file, node):
        match binder, file.parents[binder]:
            case ast.alias(name=name, asname=asname), ast.Import():
                names.add(name if asname else name.partition(".")[0])
            case ast.alias(name=name), ast.ImportFrom(module=str(module), level=0):
                names.add(f"{module}.{name}")
            case _, ast.Assign(value=ast.Constant(value=None)):
                pass  # where the import fails
            case _:
                names.add("")
    return names.pop() if len(names) == 1 else ""


def means_what_it_says(file: FileTree, func: ast.expr) -> bool:
    """Whether a function goes by a name that is known here and is another one; any other name means what it says."""
    root: ast.expr = func
    while isinstance(root, ast.Attribute):
        root = root.value
    match func, root:
        case ast.Name(id=name), _ if name in idioms.PURE_BUILTINS:
            return not binders(file, func)
        case ast.Attribute(attr=attr), ast.Name(id=owner) if owner in idioms.MODULES:
            own = idioms.PURE_TORCH if owner == "torch" else idioms.OWN_FUNCTIONS.get(owner)
            if own is not None and attr not in own:
                return True  # a value by the name of a module, and not taken for one
            return module_of(file, root) == idioms.MODULES[owner]
    return True


@lru_cache(maxsize=16)
def misnamed(file: FileTree) -> str:
    """A function of the file that goes by the name of a known one, as it is called; "" where there is none."""
    for node in file.parents:
        if isinstance(node, ast.Call) and not means_what_it_says(file, node.func):
            return ast.unparse(node.func)
    return ""


def of_other_module(file: FileTree, node: ast.expr) -> str:
    """A function in an expression by the name of one of torch's that is another module's; "" where there is none."""
    for one in ast.walk(node):
        match one:
            case ast.Call(func=ast.Attribute(value=receiver, attr=attr)) if attr in idioms.FRESH:
                module = module_of(file, receiver)
                if module and not module.startswith("torch"):
                    return ast.unparse(one.func)
    return ""
