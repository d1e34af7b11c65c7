"""The comments that silence findings, read into directives: which codes, on which rows, for what reason.

Four forms are known; letters may be in either case, codes are prefixes (`AUD1` covers `AUD101`):

    # noqa                                      the statement, every code
    # noqa: AUD101, AUD2                        the statement, these codes; blanks or commas part them
    # flake8: noqa        # flake8: noqa: AUD101    alone on a line: the whole file
    # auditlint: allow-sync reason              every code but AUD9xx
    # auditlint: allow-sync[AUD101, AUD2] reason    these codes
    # auditlint: allow-sync-file[AUD101] reason     alone on a line, anywhere: the whole file

What an `allow-sync` covers depends on where it stands:

- behind code, or alone on a row inside brackets: the statement it belongs to; of a compound statement (`if`, `for`,
  `with`, ...) that is the header only;
- alone on a row: the statement that starts on the next row that is no comment. A blank row parts them;
- on or above the header of a `def` or `class`, or one of its decorators: the whole function or class.

The top of a file is no special place: an `allow-sync` there covers the first statement. A reason ends where the next
comment on its row begins (a `#` with a blank before and after it, or before `noqa` or a name and a colon).
"""

from __future__ import annotations

import re
from bisect import bisect_left
from typing import NamedTuple

from auditlint.source.logical_lines import Comment, Layout, LogicalLine

_CODES = r"[A-Z]+[0-9]+(?:[,\s]+[A-Z]+[0-9]+)*"
NOQA = re.compile(rf"#\s*noqa\b(?:\s*:\s*(?P<codes>{_CODES}))?", re.IGNORECASE)
_FILE_NOQA = re.compile(rf"#\s*flake8\s*[:=]\s*noqa\b(?:\s*:\s*(?P<codes>{_CODES}))?", re.IGNORECASE)
_ALLOW = re.compile(r"#\s*auditlint\s*:\s*allow(?P<rest>.*)", re.IGNORECASE)
_ALLOW_REST = re.compile(
    r"[-_]sync(?P<file>-file)?(?![\w-])\s*"
    r"(?:\[\s*(?P<codes>[A-Z]+[0-9]*(?:[,\s]+[A-Z]+[0-9]*)*)[\s,]*\])?"
    # Codes without square brackets are a slip that would allow every code.
    r"(?!\s*[\[(]|[\s:]*AUD[0-9])[\s:]*(?P<reason>.*)",
    re.IGNORECASE,
)
_NEXT_COMMENT = re.compile(r"(?:^|\s)#(?=\s|noqa|[a-z][\w-]*:)", re.IGNORECASE)
_SEPARATORS = re.compile(r"[,\s]+")
# What the bytes of a file hold if it may hold any directive, and one that can be unused.
_ANY = re.compile(rb"noqa|auditlint", re.IGNORECASE)
_MARK = re.compile(rb"auditlint\s*:\s*allow|noqa\s*:[^\r\n]{0,200}\bAUD", re.IGNORECASE)


class Directive(NamedTuple):
    """One suppression: its form, its codes (none: all), its reason, the rows it covers, and where its text is.

    `form` is "noqa", "file-noqa", "allow-sync", "allow-sync-file" or "malformed"; a malformed one covers no rows
    (`first` > `last`). `row` and `column` are 1-based, `end_column` is one past the comment's text.
    """

    form: str
    codes: tuple[str, ...]
    reason: str
    first: int
    last: int
    row: int
    column: int
    end_column: int

    def covers(self, code: str, first: int, last: int) -> bool:
        """Say whether a finding of `code` on these rows is what this directive is about."""
        if last < self.first or self.last < first:
            return False
        if self.codes:
            return code.startswith(self.codes)
        return not code.startswith("AUD9") or self.form in ("noqa", "file-noqa")


def may_hold_directives(data: bytes) -> bool:
    """Say, from a search of its bytes, whether a file without findings may hold a suppression of ours."""
    return _MARK.search(data) is not None


def may_be_suppressed(data: bytes) -> bool:
    """Say, from a search of its bytes, whether a file may hold a comment that silences a finding."""
    return _ANY.search(data) is not None


def directives(source: Layout) -> list[Directive]:
    """Return the suppressions in a file, in the order of their rows."""
    found = []
    alone = {comment.row for comment in source.comments if comment.own_line}
    for comment in source.comments:
        if directive := _allow(source, comment, alone):
            found.append(directive)
        if comment.own_line and (match := _FILE_NOQA.match(comment.text)):
            found.append(_noqa("file-noqa", comment, match, (1, len(source.rows))))
        elif match := NOQA.search(comment.text):
            found.append(_noqa("noqa", comment, match, rows_around(source, comment.row, comment.row)))
    return found


def rows_around(source: Layout, first: int, last: int) -> tuple[int, int]:
    """Return the given rows, widened to the logical lines that they lie in."""
    for row in (first, last):
        index = _line_at(source.lines, row)
        if index is not None:
            line = source.lines[index]
            first, last = min(first, line.first), max(last, line.last)
    return first, last


def _noqa(form: str, comment: Comment, match: re.Match[str], rows: tuple[int, int]) -> Directive:
    start, end = match.span()
    column = comment.column
    return Directive(form, _codes(match["codes"]), "", *rows, comment.row, column + start, column + end)


def _allow(source: Layout, comment: Comment, alone: set[int]) -> Directive | None:
    match = _ALLOW.search(comment.text)
    if match is None:
        return None
    start, end = match.span()
    place = (comment.row, comment.column + start, comment.column + end)
    rest = _ALLOW_REST.fullmatch(match["rest"])
    if rest is None or (rest["file"] and not comment.own_line):
        return Directive("malformed", (), "", 1, 0, *place)
    reason = _NEXT_COMMENT.split(rest["reason"], maxsplit=1)
    if len(reason) > 1:
        place = (*place[:2], place[2] - len(rest["reason"]) + len(reason[0].rstrip()))
    codes, words = _codes(rest["codes"]), reason[0].strip(" \t-")
    if rest["file"]:
        return Directive("allow-sync-file", codes, words, 1, len(source.rows), *place)
    return Directive("allow-sync", codes, words, *_scope(source, comment.row, alone), *place)


def _codes(text: str | None) -> tuple[str, ...]:
    return tuple(code for code in _SEPARATORS.split((text or "").upper()) if code)


def _scope(source: Layout, row: int, alone: set[int]) -> tuple[int, int]:
    """Return the rows that an `allow-sync` on `row` covers; an empty range where no statement follows it."""
    index = _line_at(source.lines, row)
    if index is None:
        while row in alone:
            row += 1
        index = _line_at(source.lines, row)
    if index is None:
        return 1, 0
    line = header = source.lines[index]
    while header.opens == "decorator" and index + 1 < len(source.lines):
        index += 1
        header = source.lines[index]
    return line.first, header.block_last if header.opens else line.last


def _line_at(lines: tuple[LogicalLine, ...], row: int) -> int | None:
    """Return the index of the logical line that holds a row."""
    index = bisect_left(lines, row, key=lambda line: line.last)
    return index if index < len(lines) and lines[index].first <= row else None
