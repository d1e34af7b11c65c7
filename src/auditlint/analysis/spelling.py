"""How an expression is written, whatever it stands for."""

from __future__ import annotations

import ast

from auditlint.analysis.values import (
    UNKNOWN,
    Value,
    const,
)


def literal(node: ast.expr) -> Value:
    return const(node.value) if isinstance(node, ast.Constant) else UNKNOWN


def dotted(node: ast.expr) -> str:
    """`a.b.c` as text; "" for anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    parts.append(node.id)
    return ".".join(reversed(parts))
