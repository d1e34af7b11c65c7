"""A file's text with its tokens: where a node of the tree stands, what stands beside it."""

from __future__ import annotations

import ast
import io
import keyword
import token
import tokenize
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

from auditlint.diagnostics import Edit, Location

Span = tuple[int, int]

_BLANK = {token.INDENT, token.DEDENT, token.NL, token.COMMENT, token.ENDMARKER}
_OPERATORS = set(keyword.kwlist) - {"None", "True", "False"}
_ATOM_ENDS = {
    token.NAME,
    token.NUMBER,
    token.STRING,
    getattr(token, "FSTRING_END", -1),
    getattr(token, "TSTRING_END", -1),
}


class Unwritable(Exception):
    """The edit asked for cannot be written here; the message says why."""


class Token(NamedTuple):
    """A token that means something, or the end of a logical line (its `text` is "\\n", or "" at the file's end)."""

    kind: int
    text: str
    start: int
    end: int


class Layout:
    """A text as offsets of code points: `lines` carry no line ending, `text` joins them by `\\n`."""

    def __init__(self, lines: Sequence[str]) -> None:
        self.lines = lines
        self.text = "\n".join(lines)
        self._starts = [0]
        for line in lines:
            self._starts.append(self._starts[-1] + len(line) + 1)

    def offset(self, row: int, byte_column: int) -> int:
        """The place of an `ast` position, whose columns count bytes of UTF-8."""
        line = self.lines[row - 1]
        column = byte_column if line.isascii() else len(line.encode("utf-8", "surrogatepass")[:byte_column].decode())
        return self._starts[row - 1] + column

    def row(self, offset: int) -> int:
        """The 1-based row of an offset."""
        return bisect_right(self._starts, offset, hi=len(self.lines))

    def row_start(self, row: int) -> int:
        """The offset of a row's first character; a row past the last begins one past the end of the text."""
        return self._starts[row - 1]

    def row_end(self, row: int) -> int:
        """The offset after a row's last character, in front of its line ending."""
        return self._starts[row] - 1

    def span(self, node: ast.expr | ast.stmt | ast.alias | ast.pattern) -> Span:
        """Where a node stands as `ast` has it: without parentheses around it, a decorated definition from `def` on."""
        assert node.end_lineno is not None and node.end_col_offset is not None
        return self.offset(node.lineno, node.col_offset), self.offset(node.end_lineno, node.end_col_offset)

    def edit(self, start: int, end: int, content: str) -> Edit:
        """The edit that puts `content` in the place of the text between two offsets."""
        return Edit(content, self._location(start), self._location(end))

    def _location(self, offset: int) -> Location:
        row = self.row(offset)
        return Location(row, offset - self._starts[row - 1] + 1)

    @cached_property
    def tokens(self) -> list[Token]:
        """All tokens but comments, indentation and line breaks that end nothing."""
        return [found for found in self._scan if found.kind not in _BLANK]

    @cached_property
    def comments(self) -> list[Token]:
        """All comments."""
        return [found for found in self._scan if found.kind == token.COMMENT]

    @cached_property
    def comment_rows(self) -> frozenset[int]:
        """The rows that hold a comment and nothing else."""
        rows = ((self.row(comment.start), comment.start) for comment in self.comments)
        return frozenset(row for row, start in rows if not self.text[self._starts[row - 1] : start].strip())

    @cached_property
    def _scan(self) -> list[Token]:
        found = []
        try:
            for kind, text, (row, column), (end_row, end_column), _ in tokenize.generate_tokens(
                io.StringIO(self.text).readline
            ):
                # Past the last line there are only marks of the end, without a text.
                start = self._starts[row - 1] + column if row <= len(self.lines) else len(self.text)
                end = self._starts[end_row - 1] + end_column if end_row <= len(self.lines) else len(self.text)
                found.append(Token(kind, text, start, end))
        except (tokenize.TokenError, SyntaxError) as error:
            raise Unwritable(f"the file's tokens cannot be told apart: {error}") from error
        return found

    @cached_property
    def _token_starts(self) -> list[int]:
        return [found.start for found in self.tokens]

    def preceding(self, offset: int) -> int:
        """The index of the last token in front of an offset, -1 where there is none."""
        return bisect_left(self._token_starts, offset) - 1

    def following(self, offset: int) -> int:
        """The index of the first token at or after an offset."""
        return bisect_left(self._token_starts, offset)

    def commented(self, start: int, end: int) -> bool:
        """Whether a comment begins between two offsets."""
        index = bisect_left(self.comments, start, key=lambda comment: comment.start)
        return index < len(self.comments) and self.comments[index].start < end

    def parentheses(self, start: int, end: int) -> Iterator[Span]:
        """The pairs of parentheses that only group what stands between two offsets, from the inside out.

        A pair is left out, and all that are around it, where it is a call's or holds a comment beside the expression.
        """
        left, right = self.preceding(start), self.following(end)
        while left >= 0 and right < len(self.tokens):
            opening, closing = self.tokens[left], self.tokens[right]
            if opening.text != "(" or closing.text != ")" or self._follows_atom(left):
                return
            if self.commented(opening.end, start) or self.commented(end, closing.start):
                return
            yield opening.start, closing.end
            left, right = left - 1, right + 1

    def _follows_atom(self, index: int) -> bool:
        """Whether the parenthesis belongs to what is in front of it: a call, a class or function definition."""
        if index == 0:
            return False
        before = self.tokens[index - 1]
        if before.kind in _ATOM_ENDS:
            return before.text not in _OPERATORS
        return before.text in (")", "]", "}", "...")

    def line_end(self, offset: int) -> int:
        """Where the logical line around an offset ends: after its comment, in front of its line ending."""
        index = self.following(offset)
        while index < len(self.tokens) and self.tokens[index].kind != token.NEWLINE:
            index += 1
        return self.tokens[index].start if index < len(self.tokens) else len(self.text)

    def line_start(self, offset: int) -> int:
        """Where the first token of the logical line around an offset begins."""
        index = self.preceding(offset)
        while index >= 0 and self.tokens[index].kind != token.NEWLINE:
            index -= 1
        return self.tokens[index + 1].start if index + 1 < len(self.tokens) else offset

    def first_row(self, offset: int) -> int:
        """The row where the logical line around an offset begins, a blank row that a backslash continues included."""
        row = self.row(self.line_start(offset))
        while row > 1 and self.lines[row - 2].strip() == "\\":
            row -= 1
        return row

    def indentation(self, row: int) -> str:
        """The white space a row begins with; a form feed in it starts the count afresh."""
        line = self.lines[row - 1]
        return line[: len(line) - len(line.lstrip(" \t\f"))].rpartition("\f")[2]
