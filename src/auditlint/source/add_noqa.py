"""`# noqa: AUD101` added to the statements of findings, with every other byte of the file kept."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from auditlint.diagnostics import Diagnostic
from auditlint.source.directives import NOQA, directives, rows_around
from auditlint.source.logical_lines import Layout, layout
from auditlint.source.source_file import BOM, SourceFile, parse_source

_BYTE_ROWS = re.compile(rb"(\r\n|\r|\n)")


def add_noqa(
    diagnostics: Iterable[Diagnostic], read: Callable[[str], bytes], write: Callable[[str, bytes], None]
) -> int:
    """Add a `noqa` comment for each finding that none covers yet; return the number of findings now silenced.

    `write` gets a file's name and its new bytes, once for each file that changes. A file that does not tokenize is left
    as it is, and so are findings that the file cannot be analysed (AUD900).
    """
    by_file: dict[str, list[Diagnostic]] = {}
    for diagnostic in diagnostics:
        if diagnostic.code != "AUD900":
            by_file.setdefault(diagnostic.filename, []).append(diagnostic)
    silenced = 0
    for filename, found in by_file.items():
        file = parse_source(read(filename))
        source = layout(file.text)
        codes, count = _codes_by_row(found, source)
        changed = _rewrite(file, source, codes)
        if changed is not None:
            write(filename, changed)
            silenced += count
    return silenced


def _codes_by_row(diagnostics: list[Diagnostic], source: Layout) -> tuple[dict[int, set[str]], int]:
    present = directives(source)
    codes: dict[int, set[str]] = {}
    count = 0
    for diagnostic in diagnostics:
        row = diagnostic.location.row
        first, last = rows_around(source, diagnostic.statement[0] or row, max(row, diagnostic.statement[1]))
        place = _open_row(source, (diagnostic.noqa_row, last, row), first, last)
        if place and not any(item.covers(diagnostic.code, first, last) for item in present):
            codes.setdefault(place, set()).add(diagnostic.code)
            count += 1
    return codes, count


def _open_row(source: Layout, wanted: tuple[int, ...], first: int, last: int) -> int | None:
    """Return the first of the wanted rows that can take a comment, else the last of the statement's that can."""
    last = min(last, len(source.rows))
    rows = (*wanted, *range(last, first - 1, -1))
    return next((row for row in rows if first <= row <= last and row not in source.closed), None)


def _rewrite(file: SourceFile, source: Layout, codes: dict[int, set[str]]) -> bytes | None:
    """Return the file with the comments in it, or None where nothing is to be or can be changed."""
    mark = BOM if file.bom else b""
    # Rows and the ends of rows by turns.
    parts = _BYTE_ROWS.split(file.data[len(mark) :])
    if not codes or file.problem or len(parts) != 2 * len(source.rows) - 1:
        return None
    comments = {comment.row: comment.column - 1 for comment in source.comments}
    for row, names in codes.items():
        old = source.rows[row - 1]
        # Rows that stay keep their bytes even where the encoding could write them in another way.
        if old.encode(file.encoding) != parts[2 * row - 2]:
            return None
        parts[2 * row - 2] = _with_codes(old, comments.get(row), sorted(names)).encode(file.encoding)
    return mark + b"".join(parts)


def _with_codes(row: str, comment: int | None, names: list[str]) -> str:
    match = NOQA.search(row, comment) if comment is not None else None
    if match is None or match["codes"] is None:
        bare = row.rstrip(" \t")
        return f"{bare}  # noqa: {', '.join(names)}"
    end = match.end("codes")
    present = re.split(r"[,\s]+", match["codes"].upper())
    fresh = [name for name in names if name not in present]
    return f"{row[:end]}, {', '.join(fresh)}{row[end:]}" if fresh else row
