"""One line a site in a hook, one line a finding that was held against the counts, and one line of totals."""

from __future__ import annotations

from collections.abc import Iterator

from auditlint.reporters.style import Painter, plain
from auditlint.runtime.report import CONFIRMED, EXECUTED_NO_SYNC, MISSED, Check
from auditlint.runtime.reports.outline import MAIN, by_place, caution, reconciliation, verdict

_TONES = {MISSED: "red", EXECUTED_NO_SYNC: "yellow", CONFIRMED: "cyan"}


def render(check: Check, color: bool) -> str:
    """Return the lines; findings in files that the run never loaded are a number in the last one."""
    return "".join(f"{line}\n" for line in _lines(check, Painter(color)))


def _lines(check: Check, paint: Painter) -> Iterator[str]:
    report = check.report
    for site in sorted((site for site in report.sites if site.hook), key=by_place):
        assert site.hook is not None
        tone = "dim" if site.allowed is not None else "red"
        counts = f"{site.count} call{'' if site.count == 1 else 's'} (raw {site.raw})"
        line = f"{paint(tone, plain(site.op))} {counts} in hook {plain(site.hook.name)}"
        if site.allowed is not None:
            line += f", allowed: {plain(site.allowed) or 'no reason given'}"
        if site.thread != MAIN:
            line += f" ({plain(site.thread)})"
        yield f"{_at(paint, site.filename, site.row, site.column)} {line}"
    for note in report.notes:
        yield f"note: {plain(note)}"
    listed, unloaded = reconciliation(check)
    for status, items in listed.items():
        for item in items:
            about = " ".join(part for part in (item.code or "", item.message) if part)
            line = f"{paint(_TONES.get(status, 'dim'), status)} {plain(about)}"
            yield f"{_at(paint, item.filename, item.row, item.column)} {line}"
    total = verdict(report)
    if unloaded:
        total += f" {unloaded}."
    if words := caution(report):
        total += f" {words[0].upper()}{words[1:]}."
    yield paint("bold", total)


def _at(paint: Painter, filename: str, row: int, column: int) -> str:
    return f"{paint('bold', plain(filename))}{paint('dim', f':{row}:{column}:')}"
