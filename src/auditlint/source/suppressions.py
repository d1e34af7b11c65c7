"""Suppression comments applied to findings; `auditlint.source.directives` says which comments there are.

A comment counts for a finding when the rows that it covers meet the rows of the finding's statement. Comments are
looked for only in files that have findings or that are marked as holding a suppression.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

from auditlint.diagnostics import Diagnostic, Location
from auditlint.source.add_noqa import add_noqa
from auditlint.source.directives import Directive, directives, may_be_suppressed, may_hold_directives, rows_around
from auditlint.source.logical_lines import Layout, layout
from auditlint.source.source_file import parse_source

__all__ = ["Allowance", "add_noqa", "allowances", "apply", "may_hold_directives"]

_NOQA_FORMS = ("noqa", "file-noqa")
_HINT = "write `# auditlint: allow-sync[AUD101] reason`, or `allow-sync-file[...]` alone on a line for a file"


class Allowance(NamedTuple):
    """Rows `first` to `last` in which syncs are accepted: the codes (none: all of them), the reason, the form."""

    first: int
    last: int
    codes: tuple[str, ...]
    reason: str
    form: str


def allowances(text: str) -> list[Allowance]:
    """Return what the comments in `text` accept, `noqa` comments included unless they name other tools' codes only."""
    return [
        Allowance(directive.first, directive.last, codes, directive.reason, directive.form)
        for directive in directives(layout(text))
        if directive.first <= directive.last
        for codes in [tuple(code for code in directive.codes if code.startswith("AUD"))]
        if codes or not directive.codes
    ]


def apply(
    diagnostics: Iterable[Diagnostic],
    read: Callable[[str], bytes],
    marked: Collection[str],
    *,
    honour_noqa: bool = True,
    report_unused: bool = True,
    require_reason: bool = False,
) -> list[Diagnostic]:
    """Return the findings that no comment suppresses, and those about the comments, sorted by place.

    Pass every finding, before any selection of codes: a comment that hides a finding which is not selected is in use.
    `marked` names files that have no finding but may hold a suppression. With `report_unused`, AUD901 is added for an
    `allow-sync`, or a `noqa` code of ours, that suppresses nothing; with `require_reason`, AUD902 for an `allow-sync`
    without a reason. Without `honour_noqa`, `noqa` comments neither suppress nor are reported.
    """
    found: dict[str, list[Diagnostic]] = {filename: [] for filename in marked}
    for diagnostic in diagnostics:
        found.setdefault(diagnostic.filename, []).append(diagnostic)
    kept: list[Diagnostic] = []
    for filename, own in found.items():
        try:
            data = read(filename)
        except OSError:
            # The file went away after it was analysed: nothing says that its findings are suppressed.
            kept += own
            continue
        if not _worth_reading(data, own):
            kept += own
            continue
        source = layout(parse_source(data).text)
        known = [item for item in directives(source) if honour_noqa or item.form not in _NOQA_FORMS]
        left, used = _suppress(own, known, source)
        about = _without_reason(filename, known) if require_reason else []
        # Without tokens, or without an analysis, nobody knows what a comment would have suppressed.
        if report_unused and source.tokenized and not any(item.code == "AUD900" for item in own):
            about += _unused(filename, known, used)
        kept += left
        kept += _suppress(about, [item for item in known if item.form in _NOQA_FORMS], source)[0]
    return sorted(kept, key=lambda item: (item.filename, item.location, item.code, item.message))


def _worth_reading(data: bytes, own: list[Diagnostic]) -> bool:
    """Whether a file has to be split into tokens: a plain `noqa` matters only beside a finding."""
    if may_hold_directives(data):
        return True
    if not own or not may_be_suppressed(data):
        return False
    if b"flake8" in data.lower():
        return True
    rows = data.splitlines()
    return any(
        b"noqa" in row.lower()
        for item in own
        for row in rows[min(item.statement[0], item.location.row) - 1 : max(item.statement[1], item.end_location.row)]
    )


def _suppress(
    diagnostics: list[Diagnostic], known: list[Directive], source: Layout
) -> tuple[list[Diagnostic], set[tuple[Directive, str]]]:
    """Return the findings that are left, and the directives in use with the code of theirs that was (blanket: "")."""
    left = []
    used: set[tuple[Directive, str]] = set()
    for diagnostic in diagnostics:
        first, last = rows_of(diagnostic, source)
        hits = [item for item in known if item.covers(diagnostic.code, first, last)]
        if not hits:
            left.append(diagnostic)
        for item in hits:
            used |= {(item, code) for code in item.codes or ("",) if diagnostic.code.startswith(code)}
    return left, used


def rows_of(diagnostic: Diagnostic, source: Layout) -> tuple[int, int]:
    """Return the rows in which a comment speaks for this finding."""
    row = diagnostic.location.row
    first, last = diagnostic.statement
    return rows_around(source, min(first or row, row), max(last, row))


def _without_reason(filename: str, known: list[Directive]) -> list[Diagnostic]:
    return [
        _about(filename, item, "AUD902", f"`{_written(item)}` gives no reason; say why this sync is wanted")
        for item in known
        if item.form.startswith("allow-sync") and not item.reason
    ]


def _unused(filename: str, known: list[Directive], used: set[tuple[Directive, str]]) -> list[Diagnostic]:
    found = []
    for item in known:
        if item.form == "malformed":
            found.append(
                _about(filename, item, "AUD901", f"this comment is not understood and allows nothing; {_HINT}")
            )
            continue
        codes: tuple[str, ...] = item.codes
        if item.form in _NOQA_FORMS:
            # A blanket noqa, other tools' codes, and codes about comments are nobody's business here.
            codes = tuple(code for code in codes if code.startswith("AUD") and not code.startswith("AUD9"))
        elif not codes:
            codes = ("",)
        idle = [code for code in codes if (item, code) not in used]
        if idle:
            found.append(_about(filename, item, "AUD901", _idle_message(item, idle)))
    return found


def _idle_message(item: Directive, idle: list[str]) -> str:
    if item.codes and len(idle) < len(item.codes):
        return f"{', '.join(idle)} in `{_written(item)}` suppresses nothing; remove the code"
    if item.first > item.last:
        return f"`{_written(item)}` suppresses nothing: no statement starts on the row below"
    return f"`{_written(item)}` suppresses nothing; remove it"


def _written(item: Directive) -> str:
    codes = ", ".join(item.codes)
    if item.form in _NOQA_FORMS:
        return f"# {'flake8: ' if item.form == 'file-noqa' else ''}noqa: {codes}"
    return f"{item.form}[{codes}]" if codes else item.form


def _about(filename: str, item: Directive, code: str, message: str) -> Diagnostic:
    from auditlint.rules import RULES

    return Diagnostic(
        code=code,
        name=RULES[code].name,
        message=message,
        filename=filename,
        location=Location(item.row, item.column),
        end_location=Location(item.row, item.end_column),
        statement=(item.row, item.row),
        noqa_row=item.row,
    )
