"""The source line of a finding with carets below the expression, cut to fit the width."""

from __future__ import annotations

from typing import NamedTuple

from auditlint.diagnostics import Diagnostic, Location
from auditlint.reporters.style import Cell, cell

_CUT = "..."
# Columns of context kept before the carets when the start of a long line is cut.
_LEAD = 24
_REACH = 2000


class Excerpt(NamedTuple):
    """A line as shown, and the columns (0-based) where the carets begin and how many there are."""

    text: str
    start: int
    length: int


def excerpt(line: str, diagnostic: Diagnostic, width: int) -> Excerpt:
    """Return the part of `line` around the finding's expression in at most `width` columns (at least 20).

    Of an expression over several rows, the first row's part is marked.
    """
    begin, end = diagnostic.location, diagnostic.end_location
    shown = len(line.rstrip())
    first = min(max(begin.column - 1, 0), shown)
    last = max(min(end.column - 1, shown) if end.row == begin.row else shown, first)
    # A generated line can have millions of characters; no more are looked at than can be shown.
    low, high = max(first - _REACH, 0), min(first + _REACH, shown)
    part = _Part([cell(character) for character in line[low:high]], first - low, min(last, high) - low)
    if low == 0 and high == shown and _columns(part.cells) + (first == shown) <= width:
        return _excerpt(part, 0, len(part.cells), "", "")
    return _window(part, max(width, 20), low > 0, high < shown)


def opening(line: str, width: int) -> str:
    """Return a line without an expression to mark, cut at its end to fit in `width` columns."""
    start = Location(1, 1)
    return excerpt(line, Diagnostic("", "", "", "", start, start), width).text


class _Part(NamedTuple):
    """Characters of a line, and where among them the expression begins and ends."""

    cells: list[Cell]
    first: int
    last: int


def _window(part: _Part, width: int, more_before: bool, more_after: bool) -> Excerpt:
    """Return a window that begins with the text, or a little before the expression where that lies too far right."""
    cells, first, last = part
    indent = next((index for index, item in enumerate(cells[:first]) if not item.shown.isspace()), first)
    marked = _columns(cells[first:last])
    room = width - 2 * len(_CUT)
    low = indent
    if more_before or _columns(cells[indent:first]) + min(marked, room) > room:
        low = _back(cells, first, indent, min(_LEAD, max(room - marked, 0)))
    high = low
    used = 0
    while high < len(cells) and used + cells[high].width <= room:
        used += cells[high].width
        high += 1
    # Room that the end of the line leaves is given to what comes before.
    low = _back(cells, low, indent, room - used)
    before = _CUT if more_before or low > indent else ""
    after = _CUT if more_after or high < len(cells) else ""
    return _excerpt(part, low, high, before, after)


def _back(cells: list[Cell], index: int, least: int, room: int) -> int:
    """Return how far back from `index`, but not before `least`, the cells fit into `room` columns."""
    while index > least and cells[index - 1].width <= room:
        index -= 1
        room -= cells[index].width
    return index


def _excerpt(part: _Part, low: int, high: int, before: str, after: str) -> Excerpt:
    cells, first, last = part
    start = len(before) + _columns(cells[low:first])
    length = _columns(cells[first : max(min(last, high), first)])
    text = "".join(item.shown for item in cells[low:high])
    return Excerpt(f"{before}{text}{after}", start, max(length, 1))


def _columns(cells: list[Cell]) -> int:
    return sum(item.width for item in cells)
