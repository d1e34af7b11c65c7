"""Statements put in, exchanged and taken out, one block at a time."""

from __future__ import annotations

import ast
import re
import tokenize
from collections.abc import Mapping, Sequence

from auditlint.diagnostics import Edit
from auditlint.fixes.rewriting.layout import Layout, Span, Unwritable

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_COMPOUND = (
    *_DEFINITIONS,
    ast.If,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.With,
    ast.AsyncWith,
    ast.Try,
    getattr(ast, "TryStar", ast.Try),  # new in Python 3.11
    ast.Match,
)
_BLOCKS = ("body", "handlers", "cases", "orelse", "finalbody")
# A line that divides a script into the cells that editors run one by one.
_CELL = re.compile(r"#\s*(%%|In\s*\[|region\b|endregion\b)")


class Statements:
    """Edits of a file's blocks. A new text is written as if at module level, without a final line break."""

    def __init__(self, layout: Layout, tree: ast.Module, parents: Mapping[ast.AST, ast.AST]) -> None:
        self._layout = layout
        self._tree = tree
        self._parents = parents

    def replace(self, node: ast.stmt, text: str) -> Edit:
        """`text` in the place of a statement, whose trailing comment stays."""
        self._refuse_elif(node)
        text = text.strip("\n")
        start, end = self.span(node)
        if self._alone(node):
            return self._layout.edit(start, end, indented(text, self._indentation(node)).lstrip(" \t"))
        joined = one_line(text)
        if joined is None:
            return self._unfold(node, text)
        return self._layout.edit(start, end, joined)

    def delete(self, node: ast.stmt) -> Edit:
        """The statement taken out with its trailing comment; `pass` takes its place in a block of its own."""
        self._refuse_elif(node)
        block = self._block(node)
        if len(block) == 1 and not isinstance(self._parents[node], ast.Module):
            return self.replace(node, "pass")
        start, end = self.span(node)
        if not self._alone(node):
            index = block.index(node)
            if self._followed(node):
                return self._layout.edit(start, self.span(block[index + 1])[0], "")
            return self._layout.edit(self.span(block[index - 1])[1], end, "")
        first, last = self._layout.first_row(start), self._layout.row(self._layout.line_end(end))
        if last < len(self._layout.lines):
            return self._layout.edit(self._layout.row_start(first), self._layout.row_start(last + 1), "")
        return self._layout.edit(max(self._layout.row_start(first) - 1, 0), self._layout.row_end(last), "")

    def after(self, node: ast.stmt, text: str) -> Edit:
        """`text` behind a statement in its block."""
        self._refuse_elif(node)
        return self._behind(node, text, 1 if isinstance(node, _COMPOUND) else None)

    def last(self, block: ast.stmt, text: str) -> Edit:
        """`text` as the last statement of a body, behind the comments that are indented as the body is."""
        return self._behind(_body(block)[-1], text, 0)

    def _behind(self, node: ast.stmt, text: str, deeper: int | None) -> Edit:
        """`text` behind a statement and the comments below it that are `deeper` columns indented, or more."""
        text = text.strip("\n")
        end = self.span(node)[1]
        if self._folded(node) or self._followed(node):
            joined = one_line(text)
            if joined is None:
                return self._unfold(node, None, text)
            return self._layout.edit(end, end, f"; {joined}")
        indentation = self._indentation(node)
        row = self._layout.row(self._layout.line_end(end))
        if deeper is not None:
            row = self._last_comment(row, _width(indentation) + deeper)
        gap = "\n" * _blank_lines(indentation, defines(text) or isinstance(node, _DEFINITIONS))
        below = self._layout.lines[row].strip() if row < len(self._layout.lines) else ""
        tail = gap if below and defines(text) else ""
        place = self._layout.row_end(row)
        return self._layout.edit(place, place, f"\n{gap}{indented(text, indentation)}{tail}")

    def before(self, node: ast.stmt, text: str) -> Edit:
        """`text` in front of a statement, its decorators and the comments directly above it."""
        self._refuse_elif(node)
        text = text.strip("\n")
        start = self.span(node)[0]
        if not self._first_on_line(node):
            joined = one_line(text)
            if joined is None:
                return self._unfold(node, text, None)
            return self._layout.edit(start, start, f"{joined}; ")
        indentation = self._indentation(node)
        place = self._layout.row_start(self.top_row(node))
        gap = "\n" * _blank_lines(indentation, defines(text) or isinstance(node, _DEFINITIONS))
        return self._layout.edit(place, place, f"{indented(text, indentation)}\n{gap}")

    def decorate(self, function: ast.FunctionDef | ast.AsyncFunctionDef, decorator: str) -> Edit:
        """A decorator above all that a function has."""
        start = self.span(function)[0]
        return self._layout.edit(start, start, f"@{decorator}\n{self._indentation(function)}")

    def returned(self, node: ast.Return, name: str, text: str) -> tuple[Edit, ...]:
        """`text` between the value of a `return`, kept as `name`, and the leaving."""
        start = self.span(node)[0]
        value = self._layout.edit(start, start + len("return"), f"{name} =")
        behind = self.after(node, f"{text}\nreturn {name}")
        return value, behind

    def first(self, function: ast.stmt, text: str) -> Edit:
        """`text` as the first statement of a body, behind a docstring and declarations of names."""
        body = _body(function)
        passed = 0
        if isinstance(function, _DEFINITIONS) and ast.get_docstring(function, clean=False) is not None:
            passed = 1
        while passed < len(body) and isinstance(body[passed], (ast.Global, ast.Nonlocal)):
            passed += 1
        return self.before(body[passed], text) if passed < len(body) else self.after(body[-1], text)

    def module_level(self, holder: ast.stmt, text: str) -> Edit:
        """A definition in front of the top-level statement around `holder`, two blank lines on both sides."""
        text = text.strip("\n")
        node = holder
        while not isinstance(parent := self._parents[node], ast.Module):
            node = parent if isinstance(parent, ast.stmt) else self._statement(parent)
        block = self._tree.body
        while not self._first_on_line(node):
            node = block[block.index(node) - 1]
        row = self.top_row(node)
        above = row - 1
        while above > 0 and not self._layout.lines[above - 1].strip():
            above -= 1
        gap = "\n" * max(0, 2 - (row - 1 - above)) if above else ""
        place = self._layout.row_start(row)
        return self._layout.edit(place, place, f"{gap}{text}\n\n\n")

    def _statement(self, node: ast.AST) -> ast.stmt:
        while not isinstance(node, ast.stmt):
            node = self._parents[node]
        return node

    def span(self, node: ast.stmt) -> Span:
        """Where a statement stands: its decorators included, without a semicolon and the comment behind it."""
        start = self._layout.span(node)[0]
        if isinstance(node, _DEFINITIONS) and node.decorator_list:
            tokens = self._layout.tokens
            index = self._layout.preceding(self._layout.span(node.decorator_list[0])[0])
            while tokens[index].text != "@":
                index -= 1
            start = tokens[index].start
        return start, self._layout.span(_leaf(node))[1]

    def _block(self, node: ast.stmt) -> Sequence[ast.stmt]:
        """The statements that `node` is one of."""
        for field in _BLOCKS:
            block: Sequence[ast.stmt] = getattr(self._parents[node], field, ())
            if node in block:
                return block
        raise Unwritable("a statement without a block")

    def _refuse_elif(self, node: ast.stmt) -> None:
        if isinstance(node, ast.If) and self._layout.text.startswith("elif", self.span(node)[0]):
            raise Unwritable("an elif stands in no block of its own")

    def _opener(self, node: ast.stmt) -> str:
        """The token in front of a statement, a line break where it is the first of its logical line."""
        index = self._layout.preceding(self.span(node)[0])
        return self._layout.tokens[index].text if index >= 0 else "\n"

    def _first_on_line(self, node: ast.stmt) -> bool:
        return self._opener(node) not in (";", ":")

    def _followed(self, node: ast.stmt) -> bool:
        """Whether another statement stands behind this one on its logical line."""
        tokens = self._layout.tokens
        index = self._layout.following(self.span(node)[1])
        if index >= len(tokens) or tokens[index].text != ";":
            return False
        return index + 1 < len(tokens) and tokens[index + 1].kind != tokenize.NEWLINE

    def _alone(self, node: ast.stmt) -> bool:
        return self._first_on_line(node) and not self._followed(node)

    def _line(self, node: ast.stmt) -> Sequence[ast.stmt]:
        """The statements of a block that share a logical line with `node`."""
        block = self._block(node)
        first = last = block.index(node)
        while self._opener(block[first]) == ";":
            first -= 1
        while self._followed(block[last]):
            last += 1
        return block[first : last + 1]

    def _folded(self, node: ast.stmt) -> bool:
        """Whether the statement's block stands on the line of its header."""
        return self._opener(self._line(node)[0]) == ":"

    def _unfold(self, node: ast.stmt, *texts: str | None) -> Edit:
        """The statements of a logical line on lines of their own, `texts` in the place of `node`, which None is."""
        line = self._line(node)
        start, end = self.span(line[0])[0], self.span(line[-1])[1]
        indentation = self._indentation(node)
        opening = ""
        if self._folded(node):
            start = self._layout.tokens[self._layout.preceding(start)].end
            indentation += "\t" if indentation.endswith("\t") else "    "
            opening = f"\n{indentation}"
        pieces = []
        for statement in line:
            source = self._layout.text[slice(*self.span(statement))]
            for text in texts if statement is node else (None,):
                pieces.append(source if text is None else indented(text, indentation).lstrip(" \t"))
        return self._layout.edit(start, end, opening + f"\n{indentation}".join(pieces))

    def _indentation(self, node: ast.stmt) -> str:
        return self._layout.indentation(self._layout.first_row(self.span(node)[0]))

    def top_row(self, node: ast.stmt) -> int:
        """The row of a statement or of the comments directly above it; a comment on top of the file stays there."""
        row = top = self._layout.first_row(self.span(node)[0])
        width = _width(self._layout.indentation(row))
        while top > 1 and top - 1 in self._layout.comment_rows and _width(self._layout.indentation(top - 1)) == width:
            if _CELL.match(self._layout.lines[top - 2].strip()):
                return top
            top -= 1
        return row if top == 1 else top

    def _last_comment(self, row: int, width: int) -> int:
        """The row of the last comment below `row`, in front of any statement, that is indented `width` or more."""
        last = row
        while row < len(self._layout.lines):
            row += 1
            if not self._layout.lines[row - 1].strip():
                continue
            if row not in self._layout.comment_rows or _width(self._layout.indentation(row)) < width:
                break
            last = row
        return last


def _body(node: ast.stmt) -> list[ast.stmt]:
    body: list[ast.stmt] = getattr(node, "body", [])
    if not body:
        raise Unwritable("a statement without a body")
    return body


def _leaf(node: ast.stmt) -> ast.stmt:
    """The last simple statement inside a statement."""
    current: ast.AST = node
    while inner := next((block for field in reversed(_BLOCKS) if (block := getattr(current, field, None))), None):
        current = inner[-1]
    assert isinstance(current, ast.stmt)
    return current


def _blank_lines(indentation: str, wanted: bool) -> int:
    return 0 if not wanted else 1 if indentation else 2


def _width(indentation: str) -> int:
    return len(indentation.expandtabs(8))


def defines(text: str) -> bool:
    """Whether a text begins with the definition of a function or class."""
    return re.match(r"\s*(@|(async\s+)?def\b|class\b)", text) is not None


def indented(text: str, indentation: str) -> str:
    """`text` with every line indented that does not begin inside a string."""
    layout = Layout(text.split("\n"))
    inside: set[int] = set()
    depth = 0
    for found in layout.tokens:
        kind = tokenize.tok_name[found.kind]
        if depth or kind in ("STRING", "FSTRING_MIDDLE", "TSTRING_MIDDLE"):
            inside.update(range(layout.row(found.start) + 1, layout.row(found.end) + 1))
        depth += kind.endswith("STRING_START") - kind.endswith("STRING_END")
    lines = enumerate(layout.lines, start=1)
    return "\n".join(line if row in inside or not line.strip() else indentation + line for row, line in lines)


def one_line(text: str) -> str | None:
    """Simple statements joined by semicolons, None where a statement or comment needs lines of its own."""
    layout = Layout(text.split("\n"))
    body = ast.parse(text).body
    if layout.comments or any(isinstance(statement, _COMPOUND) for statement in body):
        return None
    spans = [layout.span(statement) for statement in body]
    return "; ".join(layout.text[start:end] for start, end in spans)
