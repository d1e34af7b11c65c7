"""The rules: what each is called and says, and how sites become findings."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from auditlint.diagnostics import Diagnostic, Location
from auditlint.rules import captures, control_flow, deferral, exports, housekeeping, in_pass, reads
from auditlint.rules.rule import Rule

if TYPE_CHECKING:
    from auditlint.analysis.engine import Outcome
    from auditlint.analysis.sites import Site
    from auditlint.project.project import Broken

__all__ = ["RULES", "Rule", "findings", "page", "url"]

# In the order of their codes.
RULES: dict[str, Rule] = {
    rule.code: rule
    for rule in (
        reads.ITEM,
        reads.CPU,
        reads.TOLIST,
        reads.CAST,
        exports.PRINT,
        reads.NUMPY,
        exports.SYNCHRONIZE,
        exports.SERIALISE,
        control_flow.TRUTH,
        control_flow.BUILTIN,
        control_flow.DYNAMIC,
        control_flow.COMPARE,
        control_flow.INDEX,
        control_flow.H2D,
        captures.GRAPH,
        captures.ALIAS,
        captures.GROWTH,
        deferral.UNSYNCHRONISED,
        deferral.ENTRY,
        in_pass.FINALIZE,
        in_pass.PYTHON_STATE,
        housekeeping.BROKEN,
        housekeeping.IDLE,
        housekeeping.UNREASONED,
    )
}

BY_KIND = {rule.kind: rule for rule in RULES.values() if rule.kind}

PAGES = "https://github.com/auditlint/auditlint/blob/main/docs/rules/"

# What a reader wants first when one expression is reached in several ways.
SCOPES = ("hook", "forward", "hot path")


def url(code: str) -> str:
    """Where the page of `code` can be read."""
    return f"{PAGES}{code}.md"


def page(code: str) -> str:
    """The page of `code`, as Markdown; raises KeyError for an unknown code."""
    from auditlint.rules.pages import page as render

    return render(RULES[code])


def findings(outcome: Outcome, read: Callable[[str], bytes]) -> list[Diagnostic]:
    """One diagnostic for each place that syncs and each file that could not be analysed, sorted.

    `read` gives the bytes of a file by the name that its sites carry (an OSError leaves byte offsets for
    columns). A place that several hooks reach is one finding: the definite one, then the one in a hook, then the one
    with the shortest path is kept.
    """
    columns = Columns(read)
    best: dict[tuple[str, str, int, int], Site] = {}
    for site in outcome.sites:
        key = (site.filename, BY_KIND[site.kind].code, site.anchor_row, site.anchor_col)
        if key not in best or preference(site) < preference(best[key]):
            best[key] = site
    found = [reported(site, columns) for site in best.values()]
    found += [unreadable(broken) for broken in outcome.broken]
    return sorted(set(found), key=lambda d: (d.filename, d.location, d.code, d.end_location, d.message))


def preference(site: Site) -> tuple[object, ...]:
    """Sorts the ways to one place; the last parts only make the choice independent of the order of `outcome`."""
    scope = SCOPES.index(site.scope) if site.scope in SCOPES else len(SCOPES)
    hook = (
        (site.hook.filename, site.hook.row, site.hook.name, site.hook.registrar, site.hook.registered)
        if site.hook
        else ()
    )
    return (not site.definite, scope, len(site.path), hook, site.path, site.operation)


def reported(site: Site, columns: Columns) -> Diagnostic:
    rule = BY_KIND[site.kind]
    first, last = site.statement if site.statement[0] else (site.row, site.end_row)
    return Diagnostic(
        code=rule.code,
        name=rule.name,
        message=rule.message(site),
        filename=site.filename,
        location=columns.location(site.filename, site.anchor_row, site.anchor_col),
        end_location=columns.location(site.filename, site.end_row, site.end_col),
        confidence="definite" if site.definite else "possible",
        hook=site.hook,
        path=site.path,
        statement=(first, last),
        # No comment can stand on an earlier line of a statement that a backslash or a string carries on.
        noqa_row=last,
    )


def unreadable(broken: Broken) -> Diagnostic:
    rule = housekeeping.BROKEN
    place = Location(max(broken.row, 1), max(broken.column, 1))
    return Diagnostic(
        code=rule.code,
        name=rule.name,
        message=f"this file cannot be analysed: {broken.message}",
        filename=broken.filename,
        location=place,
        end_location=place,
        statement=(place.row, place.row),
        noqa_row=place.row,
    )


def column(line: str, offset: int) -> int:
    """The 1-based column, in code points, of a 0-based UTF-8 byte offset in `line`."""
    if line.isascii():
        return offset + 1
    return len(line.encode("utf-8", "surrogatepass")[:offset].decode("utf-8", "replace")) + 1


class Columns:
    """Turns the byte offsets of `ast` into columns that count code points; reads only files that have sites."""

    def __init__(self, read: Callable[[str], bytes]) -> None:
        self._read = read
        # None for a file that is all ASCII, where both are the same.
        self._lines: dict[str, tuple[str, ...] | None] = {}

    def location(self, filename: str, row: int, offset: int) -> Location:
        """The 1-based place of a 1-based row and a 0-based UTF-8 byte offset in it."""
        lines = self._file(filename)
        if lines is None or row > len(lines):
            return Location(row, offset + 1)
        return Location(row, column(lines[row - 1], offset))

    def _file(self, filename: str) -> tuple[str, ...] | None:
        if filename not in self._lines:
            try:
                data = self._read(filename)
            except OSError:
                # Gone since it was analysed: byte offsets are the best that is left.
                data = b""
            lines = None
            # An encoding such as UTF-7 writes other characters in ASCII, and is named in a comment then.
            if not data.isascii() or b"coding" in data[:4096]:
                from auditlint.source.source_file import parse_source

                lines = parse_source(data).lines
            self._lines[filename] = lines
        return self._lines[filename]
