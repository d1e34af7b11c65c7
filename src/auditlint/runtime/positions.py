"""From an instruction to what the reader of the source calls it: the expression, its place, and the operation.

Counting keeps the code object and the offset of the instruction, which costs nothing; everything else is worked out
here, once for each place, when a report is made.
"""

from __future__ import annotations

import ast
import dis
import functools
import linecache
from collections.abc import Iterable, Iterator
from types import CodeType
from typing import NamedTuple

from auditlint.analysis.spelling import dotted
from auditlint.facts.host import HOST_CALLS, HOST_HARMLESS, HOST_METHODS, HOST_MODULES
from auditlint.facts.syncs import SYNCS, Sync
from auditlint.rules import column

# What is read bare, without an operation that the facts know: one value, or a shape that the data decides.
_KERNEL_KINDS = {"aten::_local_scalar_dense": "cast", "aten::item": "cast"}

# Instructions that leave the value on top of the stack as it is; the interpreter keeps its notes in CACHE.
_NOT_MAKING = frozenset({"CACHE", "COPY", "DUP_TOP", "EXTENDED_ARG", "NOP", "TO_BOOL"})


class Place(NamedTuple):
    """An expression: rows and columns as `report.Site` has them, the rows of its statement, the operation, its kind."""

    row: int
    column: int
    end_row: int
    end_column: int
    statement: tuple[int, int]
    op: str
    kind: str


class _Source(NamedTuple):
    lines: list[str]
    nodes: dict[tuple[int, int, int, int], ast.AST]
    statements: list[tuple[int, int]]
    aliases: dict[str, str]


def place(code: CodeType | None, offset: int, op: str, kind: str, implicit: bool) -> Place:
    """Where the instruction at `offset` of `code` stands, and what it does, given what was seen to wait: `op`.

    With `implicit`, machinery did `op` on behalf of the expression, which then says more about it than `op` does.
    On Python 3.10, which does not record columns, it is the whole line. Without code (no user code was running) rows
    and columns are 0.
    """
    if code is None:
        return Place(0, 0, 0, 0, (0, 0), op, kind or _bare(op))
    source = _source(code.co_filename)
    asks = _asks_for_truth(code, offset)
    at = _span(code, _before(code, offset) if asks else offset)
    if at[1] < 0:
        line = source.lines[at[0] - 1].rstrip() if at[0] <= len(source.lines) else ""
        indent = len(line) - len(line.lstrip())
        return Place(at[0], indent + 1, at[0], max(len(line), indent + 1) + 1, (at[0], at[0]), op, kind or _bare(op))
    node = source.nodes.get(at)
    start = _anchor(node) if node is not None else None
    row, column = start or at[:2]
    says_more = implicit and node is not None and not asks
    named = _operation(node, op, kind, source.aliases) if says_more and node is not None else (op, kind or _bare(op))
    return Place(
        row,
        _column(source.lines, row, column),
        at[2],
        _column(source.lines, at[2], at[3]),
        _statement(source.statements, at[0], at[2]),
        *named,
    )


def text(code: CodeType, offset: int) -> str:
    """The source of the expression at an instruction, from what it is called with on; the line on Python 3.10."""
    at = place(code, offset, "", "", False)
    lines = _source(code.co_filename).lines[at.row - 1 : at.end_row]
    if not lines:
        return ""
    lines[-1] = lines[-1][: at.end_column - 1]
    lines[0] = lines[0][at.column - 1 :]
    return "".join(lines)


def _asks_for_truth(code: CodeType, offset: int) -> bool:
    """Whether the instruction at `offset` branches on a value, or negates it: `if`, `while`, `assert`, `and`, `not`.

    Its own position is not that of the value: on Python 3.11 it is the whole statement's, or that of an operand which
    was compared before.
    """
    name = dis.opname[code.co_code[offset]] if 0 <= offset < len(code.co_code) else ""
    return name in ("UNARY_NOT", "TO_BOOL") or ("JUMP" in name and "_IF_" in name and "NONE" not in name)


def _before(code: CodeType, offset: int) -> int:
    """The instruction that made the value which the one at `offset` takes."""
    before = offset - 2
    while before > 0 and dis.opname[code.co_code[before]] in _NOT_MAKING:
        before -= 2
    return before if before >= 0 else offset


def _span(code: CodeType, offset: int) -> tuple[int, int, int, int]:
    """First row and column, last row and column (0-based bytes, -1 where they are not known)."""
    if hasattr(code, "co_positions"):
        for index, (row, end_row, column, end_column) in enumerate(code.co_positions()):
            if index * 2 == offset:
                row = row or code.co_firstlineno
                if column is None or end_column is None:
                    return row, -1, end_row or row, -1
                return row, column, end_row or row, end_column
    for first, last, row in code.co_lines():
        if first <= offset < last and row:
            return row, -1, row, -1
    return code.co_firstlineno, -1, code.co_firstlineno, -1


@functools.lru_cache(maxsize=512)
def _source(filename: str) -> _Source:
    lines = linecache.getlines(filename)
    try:
        tree = ast.parse("".join(lines))
    except (SyntaxError, ValueError):
        return _Source(lines, {}, [], {})
    nodes: dict[tuple[int, int, int, int], ast.AST] = {}
    statements = []
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt):
            statements.append(_rows(node))
        if isinstance(node, ast.expr):
            # Of expressions with one span, the outermost comes first; it is the one that is evaluated last.
            nodes.setdefault((node.lineno, node.col_offset, node.end_lineno or 0, node.end_col_offset or 0), node)
        elif isinstance(node, ast.AugAssign | ast.Assign | ast.Delete | ast.For):
            nodes.setdefault((node.lineno, node.col_offset, node.end_lineno or 0, node.end_col_offset or 0), node)
    return _Source(lines, nodes, statements, dict(_aliases(tree)))


def _rows(node: ast.stmt) -> tuple[int, int]:
    """The rows of a statement; of a compound one, those before its body."""
    body = getattr(node, "body", None) or getattr(node, "cases", None)
    last = node.end_lineno or node.lineno
    if body:
        first = body[0]
        row = first.pattern.lineno if isinstance(first, ast.match_case) else first.lineno
        last = max(node.lineno, row - 1)
    return node.lineno, last


def _statement(statements: list[tuple[int, int]], row: int, end_row: int) -> tuple[int, int]:
    around = [rows for rows in statements if rows[0] <= row <= rows[1]]
    return min(around, key=lambda rows: rows[1] - rows[0]) if around else (row, end_row)


def _aliases(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Name in the file -> what was imported under it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield (alias.asname, alias.name) if alias.asname else (alias.name.split(".")[0],) * 2
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _anchor(node: ast.AST) -> tuple[int, int] | None:
    """Where the linter would put its mark: a method call begins at the method's name."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        if isinstance(node.func.value, ast.Name | ast.Attribute) and dotted(node.func) in HOST_CALLS:
            return None
        function = node.func
        return function.end_lineno or 0, (function.end_col_offset or 0) - len(function.attr.encode())
    return None


def _column(lines: list[str], row: int, offset: int) -> int:
    """The 1-based column in code points of a 0-based offset in bytes."""
    if not 0 < row <= len(lines):
        return offset + 1  # no source to count in: bytes have to do
    return column(lines[row - 1], offset)


def _bare(op: str) -> str:
    return _KERNEL_KINDS.get(op, "dynamic")


def _operation(node: ast.AST, op: str, kind: str, aliases: dict[str, str]) -> tuple[str, str]:
    """The operation and kind that the expression stands for; those that were seen, where it says no more."""
    bare = kind or _bare(op)
    match node:
        case ast.Call(func=function):
            return _called(function, op, bare, aliases)
        case ast.Subscript():
            scalar = op in _KERNEL_KINDS or op == "Tensor.__index__"
            method = "Tensor.__getitem__" if isinstance(node.ctx, ast.Load) else "Tensor.__setitem__"
            return (method if op.startswith("aten::") else op), "index" if scalar else bare
        case ast.Compare(ops=operators) if any(isinstance(it, ast.In | ast.NotIn) for it in operators):
            return op, "builtin"
        case ast.BinOp(op=ast.Mod()) | ast.JoinedStr() | ast.FormattedValue() if op.startswith("Tensor.__"):
            return op, "format" if op in ("Tensor.__repr__", "Tensor.__format__", "Tensor.__str__") else bare
    return op, bare


def _called(function: ast.expr, op: str, kind: str, aliases: dict[str, str]) -> tuple[str, str]:
    path = dotted(function)
    head, _, rest = path.partition(".")
    if head in aliases:
        path = f"{aliases[head]}.{rest}" if rest else aliases[head]
    if path in SYNCS:
        return path, _kind_among(SYNCS[path], kind)
    if path in HOST_CALLS:
        return path, HOST_CALLS[path].kind
    module = path.partition(".")[0]
    if module in HOST_MODULES and head in aliases and path not in HOST_HARMLESS:
        return path, HOST_MODULES[module].kind
    if isinstance(function, ast.Attribute):
        name = function.attr
        if f"Tensor.{name}" in SYNCS and head not in aliases:
            return f"Tensor.{name}", _kind_among(SYNCS[f"Tensor.{name}"], kind)
        if (method := HOST_CALLS.get(f"str.{name}") or HOST_CALLS.get(f"list.{name}")) is not None:
            return name, method.kind
        if op in ("Tensor.__repr__", "Tensor.__format__", "Tensor.cpu") and name in HOST_METHODS:
            return path or name, HOST_METHODS[name].kind
    if head in aliases:
        return path, kind
    return op, kind


def _kind_among(syncs: Iterable[Sync], kind: str) -> str:
    """The kind that was seen, if the operation has several and it is one of them; else the operation's first."""
    kinds = [sync.kind for sync in syncs]
    return kind if kind in kinds else kinds[0]
