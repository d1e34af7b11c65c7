"""The report for a person at a terminal: each finding with its source line, its hook and the way from one to the other.

pkg/stats.py:31:27 AUD101 `.item()` makes the host wait for the device
   |
31 |     return float(values.mean().item())
   |                                ^^^^^^
   = hook        Probe.on_forward       pkg/probe.py:18
   = registered  register_forward_hook  pkg/probe.py:12 in Probe.attach
   = path        Probe.on_forward       pkg/probe.py:21
                 summarise              pkg/stats.py:31
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from auditlint.diagnostics import Diagnostic
from auditlint.reporters.excerpt import excerpt, opening
from auditlint.reporters.style import Painter, plain, width_of
from auditlint.source.source_file import parse_source

_NARROWEST = 40
_LABEL_WIDTH = len("registered")


class _Row(NamedTuple):
    """A line of the table below the excerpt: what it tells, a name, a place, and words that follow the place."""

    label: str
    name: str
    place: str
    remark: str = ""


def render(diagnostics: Sequence[Diagnostic], read: Callable[[str], bytes], color: bool, width: int) -> str:
    """Return the report, findings parted by blank lines."""
    paint = Painter(color)
    width = max(width, _NARROWEST)
    sources: dict[str, tuple[str, ...]] = {}
    blocks = []
    for diagnostic in diagnostics:
        if diagnostic.filename not in sources:
            sources[diagnostic.filename] = _rows(diagnostic.filename, read)
        block = [*_header(diagnostic, paint, width), *_body(diagnostic, sources[diagnostic.filename], paint, width)]
        blocks.append("\n".join(block) + "\n")
    return "\n".join(blocks)


def _rows(filename: str, read: Callable[[str], bytes]) -> tuple[str, ...]:
    try:
        return parse_source(read(filename)).lines
    except OSError:
        return ()


def _tone(diagnostic: Diagnostic) -> str:
    return "yellow" if diagnostic.confidence == "possible" else "red"


def _header(diagnostic: Diagnostic, paint: Painter, width: int) -> list[str]:
    filename, place = plain(diagnostic.filename), f":{diagnostic.location.row}:{diagnostic.location.column}"
    taken = width_of(filename) + len(place) + len(diagnostic.code) + 2
    message = plain(diagnostic.message)
    start = f"{paint('bold', filename)}{paint('dim', place)} {paint(_tone(diagnostic), diagnostic.code)}"
    # Where the path leaves little room the message begins on its own line instead of in a narrow column.
    if taken + width_of(message) <= width:
        return [f"{start} {message}"]
    if width - taken >= _NARROWEST // 2:
        first, *more = _wrap(message, width, " " * taken, "    ")
        return [f"{start} {first[taken:]}", *more]
    return [start, *_wrap(message, width, "    ", "    ")]


def _wrap(text: str, width: int, first: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=indent,
        # Paths, codes and options in a message stay whole.
        break_long_words=False,
        break_on_hyphens=False,
    )


def _body(diagnostic: Diagnostic, rows: tuple[str, ...], paint: Painter, width: int) -> Iterator[str]:
    row = diagnostic.location.row
    margin = " " * len(str(row))
    bar = paint("blue", "|")
    if 1 <= row <= len(rows) and rows[row - 1].strip():
        room = width - len(margin) - 3
        yield f"{margin} {bar}"
        # The rest of an expression over several rows says little without the row that it begins on.
        first = diagnostic.statement[0]
        if 1 <= first < row:
            yield f"{paint('blue', f'{first:>{len(margin)}}')} {bar} {opening(rows[first - 1], room)}"
            if first + 1 < row:
                yield f"{margin} {paint('blue', ':')}"
        part = excerpt(rows[row - 1], diagnostic, room)
        yield f"{paint('blue', str(row))} {bar} {part.text}"
        yield f"{margin} {bar} {' ' * part.start}{paint(_tone(diagnostic), '^' * part.length)}"
    yield from _table(_facts(diagnostic), f"{margin} ", paint, width)
    yield from _remedy(diagnostic, margin, paint, width)


def _remedy(diagnostic: Diagnostic, margin: str, paint: Painter, width: int) -> Iterator[str]:
    """What the fix does, or why there is none; nothing where nobody asked."""
    if fix := diagnostic.fix:
        text = f"{fix.applicability}: {plain(fix.message)}"
    elif diagnostic.unfixed:
        text = f"none: {plain(diagnostic.unfixed)}"
    else:
        return
    indent = f"{margin} = {'fix':<{_LABEL_WIDTH}}  "
    first, *more = _wrap(text, width, indent, " " * len(indent))
    yield f"{margin} {paint('blue', '=')} {paint('cyan', 'fix')}{first[len(margin) + 6 :]}"
    yield from more


def _facts(diagnostic: Diagnostic) -> list[_Row]:
    facts = []
    hook, path = diagnostic.hook, diagnostic.path
    if hook:
        where = plain(hook.registered.name)
        remark = f"in {where}" if where and where != "<module>" else ""
        facts.append(_Row("hook", hook.name, f"{hook.filename}:{hook.row}"))
        facts.append(_Row("registered", hook.registrar, f"{hook.registered.filename}:{hook.registered.row}", remark))
    # A path of one step says no more than the hook does.
    if len(path) > 1 or (path and not hook):
        steps = [_Row("", step.name, f"{step.filename}:{step.row}") for step in path]
        facts += [steps[0]._replace(label="path"), *steps[1:]]
    return [_Row(fact.label, plain(fact.name), plain(fact.place), fact.remark) for fact in facts]


def _table(facts: list[_Row], margin: str, paint: Painter, width: int) -> Iterator[str]:
    """Lay out names and places in two columns; a row too long for them has its place on a line of its own."""
    left = len(margin) + 2 + _LABEL_WIDTH + 2
    room = width - left
    beside = [(width_of(fact.name), width_of(fact.place)) for fact in facts if _fits(fact, room)]
    widest = max((place for _, place in beside), default=0)
    column = max((name for name, _ in beside if name + 2 + widest <= room), default=0)
    # Places that stand alone do so below each other, as far to the right as the longest of them allows.
    longest = max((width_of(fact.place) for fact in facts if not _fits(fact, room)), default=0)
    shared = max(min(left + 2, width - longest), len(margin) + 4)
    for fact in facts:
        sign = paint("blue", "=") if fact.label else " "
        label = paint("cyan", fact.label) + " " * (_LABEL_WIDTH - len(fact.label))
        start = f"{margin}{sign} {label}  {_tail(fact.name, room)}"
        if _fits(fact, room):
            pad = max(column - width_of(fact.name), 0) + 2
            yield from _place(fact, start + " " * pad, left + width_of(fact.name) + pad, paint, width)
        else:
            yield start
            yield from _place(fact, " " * shared, shared, paint, width)


def _fits(fact: _Row, room: int) -> bool:
    return width_of(fact.name) + 2 + width_of(fact.place) <= room


def _place(fact: _Row, start: str, indent: int, paint: Painter, width: int) -> Iterator[str]:
    place = _tail(fact.place, width - indent)
    if not fact.remark:
        yield f"{start}{place}"
    elif indent + width_of(place) + 1 + width_of(fact.remark) <= width:
        yield f"{start}{place} {paint('dim', fact.remark)}"
    else:
        yield f"{start}{place}"
        yield f"{' ' * indent}{paint('dim', _tail(fact.remark, width - indent))}"


def _tail(text: str, room: int) -> str:
    """Return the end of a text that is too long, cut before a folder or a name where there is one."""
    if width_of(text) <= room:
        return text
    end = text
    while end and width_of(end) > room - 3:
        end = end[1:]
    mark = min((at for at in (end.find("/"), end.find(".<")) if at >= 0), default=0)
    return f"...{end[mark:]}"
