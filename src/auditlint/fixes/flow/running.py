"""The functions of a file that run when others do: called by name, methods whatever the object, properties read."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from auditlint.fixes.flow import idioms
from auditlint.fixes.flow.tree import FileTree, FunctionNode

_DEEPEST = 4


def run_by(file: FileTree, functions: Iterable[FunctionNode]) -> list[FunctionNode]:
    """`functions`, and those of the file that they may call, a few levels deep."""
    named: dict[str, list[ast.FunctionDef]] = {}
    for node in file.parents:
        if isinstance(node, ast.FunctionDef):
            named.setdefault(node.name, []).append(node)
    found = list(functions)
    last = found
    for _ in range(_DEEPEST):
        names = {name for one in last for name in _names(one)}
        last = [one for name in sorted(names & named.keys()) for one in named[name] if one not in found]
        found = [*found, *last]
    return found


def _names(function: FunctionNode) -> Iterable[str]:
    """What a function calls and reads by name; an attribute may be a property or a method that is handed on."""
    for node in ast.walk(function):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and node.attr not in idioms.KEEPS:
            yield node.attr
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            yield node.id
