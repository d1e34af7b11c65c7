"""Python source as its readers see it: physical lines, logical lines and comments.

A logical line is what the tokenizer ends with NEWLINE: one simple statement (or several, parted by semicolons), or the
header of a compound statement. Comments are taken from tokens, so text inside a string is never one. Where the
tokenizer gives up, a scan of the physical lines stands in: every line is then a logical line of its own.
"""

from __future__ import annotations

import io
import tokenize
from typing import NamedTuple

# Multi-line strings arrive as one STRING token, or as the tokens of an f-string (3.12) or t-string (3.14).
_STRING_STARTS = ("FSTRING_START", "TSTRING_START")
_STRING_ENDS = ("FSTRING_END", "TSTRING_END")
_SILENT = (tokenize.COMMENT, tokenize.NL, tokenize.ENDMARKER)


class Comment(NamedTuple):
    """A comment: its row and column (1-based, code points), its text with the `#`, and whether it stands alone."""

    row: int
    column: int
    text: str
    own_line: bool


class LogicalLine(NamedTuple):
    """Rows of one logical line; `opens` is "def", "class", "decorator" or ""; `block_last` ends what it opens."""

    first: int
    last: int
    opens: str
    block_last: int


class Layout(NamedTuple):
    """A file's lines and comments; `closed` holds the rows whose end lies in a string or before a continuation."""

    rows: tuple[str, ...]
    lines: tuple[LogicalLine, ...]
    comments: tuple[Comment, ...]
    closed: frozenset[int]
    tokenized: bool


def layout(text: str) -> Layout:
    """Return where the lines and comments of `text` are."""
    # Only LF, CR and CRLF end a row in Python; `str.splitlines` knows more.
    rows = tuple(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"))
    try:
        return _from_tokens(rows)
    except (tokenize.TokenError, SyntaxError, RecursionError, ValueError):
        return _from_rows(rows)


def _from_tokens(rows: tuple[str, ...]) -> Layout:
    lines: list[LogicalLine] = []
    comments: list[Comment] = []
    closed: set[int] = set()
    blocks: list[int] = []
    string_starts: list[int] = []
    head: list[str] = []
    first = last = 0
    for kind, text, start, end, _ in tokenize.generate_tokens(io.StringIO("\n".join(rows)).readline):
        if kind == tokenize.COMMENT:
            comments.append(Comment(start[0], start[1] + 1, text, not rows[start[0] - 1][: start[1]].strip()))
        elif kind == tokenize.INDENT:
            blocks.append(len(lines) - 1)
        elif kind == tokenize.DEDENT:
            opener = blocks.pop()
            if opener >= 0:  # nothing opens a block that a file begins with, which is no program
                lines[opener] = lines[opener]._replace(block_last=lines[-1].last)
        elif kind == tokenize.NEWLINE:
            if first:
                lines.append(LogicalLine(first, last, _opens(head), last))
            head, first = [], 0
        elif kind not in _SILENT:
            first, last = first or start[0], end[0]
            if len(head) < 2:
                head.append(text)
            name = tokenize.tok_name[kind]
            if name in _STRING_STARTS:
                string_starts.append(start[0])
            elif name in _STRING_ENDS:
                closed.update(range(string_starts.pop(), end[0]))
            elif kind == tokenize.STRING:
                closed.update(range(start[0], end[0]))
    commented = {comment.row for comment in comments}
    closed.update(
        row for row, line in enumerate(rows, 1) if row not in commented and line.endswith("\\") and row < len(rows)
    )
    return Layout(rows, tuple(lines), tuple(comments), frozenset(closed), True)


def _opens(head: list[str]) -> str:
    match head:
        case ["def" | "class" as word, *_]:
            return word
        case ["async", "def"]:
            return "def"
        case ["@", *_]:
            return "decorator"
    return ""


def _from_rows(rows: tuple[str, ...]) -> Layout:
    lines: list[LogicalLine] = []
    comments: list[Comment] = []
    for number, row in enumerate(rows, 1):
        code, mark, rest = row.partition("#")
        if mark:
            comments.append(Comment(number, len(code) + 1, mark + rest, not code.strip()))
        if code.strip():
            lines.append(LogicalLine(number, number, "", number))
    return Layout(rows, tuple(lines), tuple(comments), frozenset(range(1, len(rows) + 1)), False)
