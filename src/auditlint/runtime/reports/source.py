"""The lines of a hook, and of what it reached, that a page shows: which rows, and what is marked in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from auditlint.reporters.style import cell
from auditlint.runtime.report import Site
from auditlint.runtime.reports.outline import HookGroup, by_place
from auditlint.source.source_file import parse_source

_CONTEXT = 3
# Of a longer hook only what surrounds its syncs is shown.
_BODY = 40
_LONGEST = 1000


class Piece(NamedTuple):
    """A part of a line as it is shown, safe on any terminal or page, and whether it synced."""

    text: str
    marked: bool


class Line(NamedTuple):
    """A line, in pieces, and the sites that begin on it. `row` 0 stands for rows that are left out."""

    row: int
    pieces: tuple[Piece, ...]
    sites: tuple[Site, ...]


class Excerpt(NamedTuple):
    """The lines of one file that matter to a hook, and the sites there that no line could be shown for."""

    filename: str
    lines: tuple[Line, ...]
    unplaced: tuple[Site, ...]


class Sources:
    """Files, each read once."""

    def __init__(self, read: Callable[[str], bytes]) -> None:
        self._read = read
        self._lines: dict[str, tuple[str, ...]] = {}

    def lines(self, filename: str) -> tuple[str, ...]:
        """Return the lines of a file; none if it is gone."""
        if filename not in self._lines:
            try:
                data = self._read(filename)
            except (OSError, ValueError):
                # A name may be one that no file can have.
                data = b""
            lines = parse_source(data).lines
            # What follows the last line ending is no line to show.
            self._lines[filename] = lines[:-1] if lines and not lines[-1] else lines
        return self._lines[filename]


def excerpts(group: HookGroup, sources: Sources) -> list[Excerpt]:
    """Return the excerpts of a hook: of its own file first, then of the other files that it reached."""
    home = group.hook.filename
    names = sorted({home, *(site.filename for site in group.sites)}, key=lambda name: (name != home, name))
    return [_excerpt(group, name, sources.lines(name)) for name in names]


def _excerpt(group: HookGroup, filename: str, lines: Sequence[str]) -> Excerpt:
    here = sorted((site for site in group.sites if site.filename == filename), key=by_place)
    sites: dict[int, list[Site]] = {}
    for site in here:
        sites.setdefault(site.row, []).append(site)
    own = _body(lines, group.hook.row) if filename == group.hook.filename else range(0)
    shown = {row for row in own if 1 <= row <= len(lines)}
    for site in here:
        if 1 <= site.row <= len(lines):
            last = min(max(site.end_row, site.row), site.row + _CONTEXT)
            shown |= set(range(max(site.row - _CONTEXT, 1), min(last + _CONTEXT, len(lines)) + 1))
    unplaced = tuple(site for site in here if not 1 <= site.row <= len(lines))
    return Excerpt(filename, tuple(_shown(lines, sorted(shown), here, sites)), unplaced)


def _shown(
    lines: Sequence[str], rows: Sequence[int], here: Sequence[Site], sites: dict[int, list[Site]]
) -> Iterator[Line]:
    previous = 0
    for row in rows:
        if previous and row > previous + 1:
            # A sign that rows are left out takes no less room than a row that is.
            if row == previous + 2:
                yield Line(row - 1, _pieces(lines[row - 2], row - 1, ()), ())
            else:
                yield Line(0, (), ())
        yield Line(row, _pieces(lines[row - 1], row, here), tuple(sites.get(row, ())))
        previous = row


def _body(lines: Sequence[str], first: int) -> range:
    """Return the rows of the function whose `def` is on row `first`, found by its indent; one row if it is long."""
    if not 1 <= first <= len(lines):
        return range(0)
    # A lambda ends with its row, as far as can be told from here.
    if not lines[first - 1].lstrip().startswith(("def ", "async def ", "@")):
        return range(first, first + 1)
    indent = _indent(lines[first - 1])
    last = first
    header = True
    for row in range(first + 1, min(first + _BODY, len(lines)) + 1):
        line = lines[row - 1].strip()
        if not line:
            continue
        outdented = _indent(lines[row - 1]) <= indent
        # Between decorators and the colon anything may stand at the indent of the `def`.
        if outdented and not (header and line.startswith(("@", "def ", "async def ", ")"))):
            return range(first, last + 1)
        header = header and outdented
        last = row
    return range(first, last + 1) if last == len(lines) or last < first + _BODY else range(first, first + 1)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _pieces(line: str, row: int, sites: Sequence[Site]) -> tuple[Piece, ...]:
    """Return the line cut where the expressions that synced begin and end."""
    text = line[:_LONGEST]
    spans = [_span(site, row, text) for site in sites if site.row <= row <= max(site.end_row, site.row)]
    cuts = sorted({0, len(text), *(edge for span in spans for edge in span)})
    pieces: list[Piece] = []
    for start, stop in pairwise(cuts):
        marked = any(begin <= start < end for begin, end in spans)
        shown = "".join(cell(character).shown for character in text[start:stop])
        if pieces and pieces[-1].marked == marked:
            pieces[-1] = Piece(pieces[-1].text + shown, marked)
        else:
            pieces.append(Piece(shown, marked))
    if len(line) > _LONGEST:
        pieces.append(Piece("...", False))
    return tuple(pieces)


def _span(site: Site, row: int, text: str) -> tuple[int, int]:
    indent = min(_indent(text), len(text))
    start = site.column - 1 if row == site.row else indent
    stop = site.end_column - 1 if row == site.end_row else len(text.rstrip())
    start = min(max(start, 0), len(text))
    return start, min(max(stop, start), len(text))
