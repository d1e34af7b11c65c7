"""The report for a person at a terminal.

auditlint runtime check of train.py: cuda, GPU 1, torch 2.13.0
10 syncs in 1 hook; 4 outside.
14 waits of the device, 3.10 ms waited

In hooks                           calls  waits   waited
Probe.on_forward (forward) pkg/probe.py:18
  pkg/probe.py:21:15  Tensor.item     10     10  1.20 ms
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from auditlint.reporters.style import Painter, plain, width_of
from auditlint.runtime.report import CONFIRMED, EXECUTED_NO_SYNC, MISSED, Check, Reconciled, Site, SyncReport
from auditlint.runtime.reports.outline import (
    MAIN,
    STATUSES,
    caution,
    duration,
    environment,
    hooks,
    measured,
    modules,
    number,
    outside,
    place,
    plural,
    reconciliation,
    sums,
    verdict,
)

_NARROWEST = 70
_OUTSIDE = 10
_TONES = {MISSED: "red", EXECUTED_NO_SYNC: "yellow", CONFIRMED: "cyan"}


def render(check: Check, color: bool, width: int) -> str:
    """Return the report in lines of at most `width` columns, 70 at the least."""
    paint = Painter(color)
    width = max(width, _NARROWEST)
    blocks = [
        list(block)
        for block in (
            _head(check, paint, width),
            tables(check.report, paint, width),
            _reconciliation(check, paint, width),
            _list("Blind spots", check.report.blind_spots, paint, width),
            _list("Notes", check.report.notes, paint, width),
            _environment(check.report, paint, width),
            [_verdict(check.report, paint)],
        )
    ]
    return "\n".join("\n".join(block) + "\n" for block in blocks if block)


def _head(check: Check, paint: Painter, width: int) -> Iterator[str]:
    report = check.report
    about = [report.backend, report.environment.device, f"torch {report.environment.torch}"]
    if not report.environment.device or report.environment.device == report.backend:
        about.pop(1)
    title = plain(f"auditlint runtime check of {check.script or '-'}: {', '.join(about)}")
    for line in _wrap(title, width, "", "  "):
        yield paint("bold", line)
    if check.status:
        yield paint("yellow", f"the program ended with status {check.status}")
    if words := caution(report):
        yield paint("yellow", words)
    total = sums(report.sites)
    yield verdict(report)
    if total.waits:
        waited = f", {duration(total.waited_us)} waited" if total.waited_us is not None else ""
        yield f"{plural(total.waits, 'wait')} of the device{waited}"


def _verdict(report: SyncReport, paint: Painter) -> str:
    return paint("red" if report.totals.in_hooks else "bold", verdict(report))


# The tables of sites.


class _Columns(NamedTuple):
    """How wide the columns of both tables are, so that they stand below each other. `timed`: some waiting was timed."""

    width: int
    timed: bool
    place: int
    op: int
    numeric: tuple[int, ...]

    @property
    def titles(self) -> tuple[str, ...]:
        return ("calls", "waits", "waited") if self.timed else ("calls", "waits")

    def numbers(self, site: Site) -> tuple[str, ...]:
        counts = (number(site.count), number(site.raw))
        return (*counts, duration(site.waited_us)) if self.timed else counts

    def aligned(self, texts: Iterable[str]) -> str:
        return "".join(f"  {text:>{size}}" for text, size in zip(texts, self.numeric, strict=True))

    def title(self, text: str, paint: Painter) -> str:
        left = 4 + self.place + self.op
        return f"{paint('bold', text)}{' ' * (left - len(text))}{paint('dim', self.aligned(self.titles))}".rstrip()

    def site(self, site: Site, paint: Painter) -> Iterator[str]:
        where, op = _where(site), elided(plain(site.op), self.op)
        if width_of(where) > self.place:
            yield f"  {elided(where, self.width - 2)}"
            where = ""
        tone = "dim" if site.allowed is not None or not site.hook else "red"
        end = paint(tone, op) + " " * (self.op - width_of(op)) + self.aligned(self.numbers(site))
        yield f"  {where}{' ' * (self.place - width_of(where))}  {end}"
        remarks = [f"modules: {named}"] if (named := modules(site)) else []
        if site.thread != MAIN:
            remarks.append(f"thread {plain(site.thread)}")
        if site.allowed is not None:
            remarks.append(f"allowed: {plain(site.allowed) or 'no reason given'}")
        for line in _wrap("; ".join(remarks), self.width, "    ", "    ") if remarks else ():
            yield paint("dim", line)


def _columns(sites: Sequence[Site], width: int) -> _Columns:
    timed = any(measured(site.waited_us) for site in sites)
    columns = _Columns(width, timed, 0, 0, ())
    rows = [columns.titles, *(columns.numbers(site) for site in sites)]
    numeric = tuple(max(map(len, column)) for column in zip(*rows, strict=True))
    taken = 4 + sum(2 + size for size in numeric)
    longest = max((width_of(plain(site.op)) for site in sites), default=0)
    op = min(longest, (width - taken) // 2)
    # A place that is longer stands alone above its numbers.
    room = width - taken - op
    place = max((size for site in sites if (size := width_of(_where(site))) <= room), default=0)
    return _Columns(width, timed, place, min(longest, width - taken - place), numeric)


def tables(report: SyncReport, paint: Painter, width: int) -> Iterator[str]:
    """Yield the lines that show the sites: by hook, then outside hooks."""
    groups, rest = hooks(report), outside(report)
    shown = rest[:_OUTSIDE]
    columns = _columns([*(site for group in groups for site in group.sites), *shown], width)
    if groups:
        yield columns.title("In hooks", paint)
    for group in groups:
        name = f"{plain(group.hook.name)} ({plain(group.hook.kind)})"
        at = plain(place(group.hook.filename, group.hook.row))
        if width_of(name) + 1 + width_of(at) <= width:
            yield f"{paint('bold', name)} {paint('dim', at)}"
        else:
            yield paint("bold", elided(name, width))
            yield f"  {paint('dim', elided(at, width - 2))}"
        for site in group.sites:
            yield from columns.site(site, paint)
    if groups and shown:
        yield ""
    if shown:
        yield columns.title("Outside hooks", paint)
    for site in shown:
        yield from columns.site(site, paint)
    if hidden := rest[_OUTSIDE:]:
        yield paint("dim", f"  and {number(len(hidden))} more with {plural(sums(hidden).calls, 'call')}")


def _where(site: Site) -> str:
    return plain(place(site.filename, site.row, site.column))


# What was said beforehand, and what is not known.


def _reconciliation(check: Check, paint: Painter, width: int) -> Iterator[str]:
    listed, unloaded = reconciliation(check)
    if not unloaded and not any(listed.values()):
        return
    yield paint("bold", "Findings held against the counts")
    for status, items in listed.items():
        if items:
            tone = _TONES.get(status, "dim")
            yield f"  {paint(tone, status)} ({number(len(items))}): {STATUSES[status]}"
        for item in items:
            yield from _reconciled(item, paint, width)
    if unloaded:
        yield paint("dim", f"  {unloaded}")


def _reconciled(item: Reconciled, paint: Painter, width: int) -> Iterator[str]:
    at = plain(place(item.filename, item.row, item.column))
    about = " ".join(part for part in (item.code or "", f"x{number(item.count)}" if item.count else "") if part)
    message = plain(f"{about} {item.message}" if about else item.message)
    room = width - 4 - width_of(at) - 1
    # Beside a long place a message would be cut to nothing.
    if room >= _NARROWEST // 2 or width_of(message) <= room:
        yield f"    {at} {paint('dim', _cut(message, room))}"
    else:
        yield f"    {elided(at, width - 4)}"
        yield f"      {paint('dim', _cut(message, width - 6))}"


def _list(title: str, items: Sequence[str], paint: Painter, width: int) -> Iterator[str]:
    if items:
        yield paint("bold", title)
    for item in items:
        yield from _wrap(plain(item), width, "  - ", "    ")


def _environment(report: SyncReport, paint: Painter, width: int) -> Iterator[str]:
    pairs = environment(report)
    if pairs:
        yield paint("bold", "Environment")
    size = max((len(name) for name, _ in pairs), default=0)
    for name, text in pairs:
        first, *more = _wrap(plain(text), width, " " * (size + 4), " " * (size + 4))
        yield f"  {paint('dim', name)}{first[len(name) + 2 :]}"
        yield from more


def elided(text: str, room: int) -> str:
    """Return a text that is too long without a part of its middle; its end, which tells most, keeps more room."""
    if width_of(text) <= room:
        return text
    start, end = "", ""
    for character in text:
        if width_of(start + character) > (room - 3) // 3:
            break
        start += character
    for character in reversed(text):
        if width_of(character + end) > room - 3 - width_of(start):
            break
        end = character + end
    return f"{start}...{end}"


def _cut(text: str, room: int) -> str:
    if width_of(text) <= room:
        return text
    while text and width_of(text) > room - 3:
        text = text[: min(len(text) - 1, room)]
    return f"{text.rstrip()}..."


def _wrap(text: str, width: int, first: str, indent: str) -> list[str]:
    lines = textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=indent, break_long_words=True, break_on_hyphens=False
    )
    return lines or [first]
