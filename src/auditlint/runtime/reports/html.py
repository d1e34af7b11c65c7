"""One page to look at or to pass on: it needs no network, and nothing in a script or its names can become markup."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from html import escape
from importlib.resources import files

from auditlint.reporters.style import plain
from auditlint.runtime.report import NOT_EXECUTED, Check, RuntimeHook, Site, SyncReport
from auditlint.runtime.reports.outline import (
    MAIN,
    STATUSES,
    HookGroup,
    Sums,
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
from auditlint.runtime.reports.source import Excerpt, Line, Sources, excerpts


def render(check: Check, read: Callable[[str], bytes]) -> str:
    """Return the page; it can be encoded as UTF-8. `read` gives the bytes of a file that the check names."""
    groups = hooks(check.report)
    parts = (
        _header(check),
        _totals(check.report),
        _bars(groups),
        _sites(check.report, groups),
        _sources(groups, Sources(read)),
        _reconciliation(check),
        _listed("Blind spots", check.report.blind_spots),
        _listed("Notes", check.report.notes),
        _environment(check.report),
    )
    body = "\n".join(line for part in parts for line in part)
    script = _asset("page.js")
    return _PAGE.format(
        title=_text(f"auditlint: {check.script}"),
        style=_asset("page.css"),
        script=script,
        hash=_hash(script),
        body=body,
    )


_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src '{hash}'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
{body}
<script>{script}</script>
</body>
</html>
"""


def _asset(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _text(text: str) -> str:
    """Return text for between tags or within a quoted attribute: one line, nothing but what can be seen."""
    return escape(plain(text))


def _header(check: Check) -> Iterator[str]:
    report = check.report
    about = [report.backend, report.environment.device, f"torch {report.environment.torch}"]
    yield "<header><div>"
    yield f"<h1>Runtime check of <code>{_text(check.script) or '-'}</code></h1>"
    yield f'<p class="faint">{_text(", ".join(dict.fromkeys(part for part in about if part)))}</p>'
    yield '</div><button id="theme" type="button" hidden>Theme</button></header>'
    yield "<main>"
    yield f'<p class="verdict{" bad" if report.totals.in_hooks else ""}">{_text(verdict(report))}</p>'
    if check.status:
        yield f'<p class="notice">The program ended with status {check.status}.</p>'
    if words := caution(report):
        yield f'<p class="notice">{words[0].upper()}{words[1:]}.</p>'


def _totals(report: SyncReport) -> Iterator[str]:
    totals, total = report.totals, sums(report.sites)
    tiles = [("in hooks", number(totals.in_hooks)), ("outside hooks", number(totals.outside))]
    if totals.allowed:
        tiles.append(("allowed", number(totals.allowed)))
    tiles.append(("waits of the device", number(totals.raw)))
    if total.waited_us is not None:
        tiles.append(("time waited", duration(total.waited_us)))
    shown = "".join(f"<div><dt>{_text(name)}</dt><dd>{_text(value)}</dd></div>" for name, value in tiles)
    yield f'<dl class="totals">{shown}</dl>'


# Hooks beside each other.


def _bars(groups: Sequence[HookGroup]) -> Iterator[str]:
    if not groups:
        return
    most = max(group.sums.calls for group in groups)
    longest = max(group.sums.waited_us or 0.0 for group in groups)
    yield '<h2 id="hooks">Hooks</h2>'
    yield '<ul class="bars">'
    for index, group in enumerate(groups, 1):
        hook = group.hook
        at = f"{_text(hook.kind)}, {_text(place(hook.filename, hook.row))}"
        name = f'<a href="#hook-{index}"><code>{_text(hook.name) or "-"}</code></a>'
        yield f'<li><div class="name">{name}<br><span class="faint">{at}</span></div>'
        yield _bar("count", group.sums.calls / most if most else 0.0, _calls(group.sums, group.accepted))
        if measured(group.sums.waited_us) and longest > 0:
            share = (group.sums.waited_us or 0.0) / longest
            yield _bar("time", share, f"{duration(group.sums.waited_us)} waited")
        yield "</li>"
    yield "</ul>"


def _bar(kind: str, share: float, label: str) -> str:
    style = f"--share:{min(max(share, 0.0), 1.0):.4f}"
    return f'<div class="bar {kind}"><i style="{style}"></i>{_text(label)}</div>'


def _calls(total: Sums, accepted: int) -> str:
    if accepted and not total.calls:
        return f"{number(accepted)} allowed"
    return plural(total.calls, "call") + (f", {number(accepted)} allowed" if accepted else "")


# Every site in one table.


def _sites(report: SyncReport, groups: Sequence[HookGroup]) -> Iterator[str]:
    anchors = {group.hook: f"hook-{index}" for index, group in enumerate(groups, 1)}
    ordered = [site for group in groups for site in group.sites] + outside(report)
    if not ordered:
        return
    timed = any(measured(site.waited_us) for site in ordered)
    heads = [("Place", ""), ("Operation", ""), ("Hook", ""), ("Calls", "number"), ("Waits", "number")]
    heads += [("Waited", "number")] if timed else []
    yield '<h2 id="sites">Sites</h2>'
    yield "<table><thead><tr>"
    yield "".join(f'<th scope="col" class="{kind}" data-sortable>{name}</th>' for name, kind in heads)
    yield "</tr></thead><tbody>"
    for site in ordered:
        yield _site(site, anchors, timed)
    yield "</tbody></table>"


def _site(site: Site, anchors: dict[RuntimeHook, str], timed: bool) -> str:
    order = f"{site.filename}:{site.row:09}:{site.column:06}"
    op = _text(site.op)
    if named := modules(site):
        op += f'<br><span class="faint">modules: {_text(named)}</span>'
    if site.thread != MAIN:
        op += f'<br><span class="faint">thread {_text(site.thread)}</span>'
    if site.allowed is not None:
        op += f'<br><span class="allowed">allowed: {_text(site.allowed) or "no reason given"}</span>'
    hook = '<span class="faint">outside</span>'
    if site.hook:
        hook = f'<a href="#{anchors[site.hook]}">{_text(site.hook.name) or "-"}</a>'
    cells = [
        _cell("Place", f'<span class="place">{_text(place(site.filename, site.row, site.column))}</span>', order),
        _cell("Operation", f'<span class="op">{op}</span>', site.op),
        _cell("Hook", hook, site.hook.name if site.hook else ""),
        _cell("Calls", number(site.count), str(site.count), "number"),
        _cell("Waits", number(site.raw), str(site.raw), "number"),
    ]
    if timed:
        known = measured(site.waited_us)
        cells.append(_cell("Waited", duration(site.waited_us), str(site.waited_us if known else -1), "number"))
    return f"<tr>{''.join(cells)}</tr>"


def _cell(label: str, content: str, order: str = "", kind: str = "") -> str:
    """Return a cell; `content` is markup, `order` is the text or number that it is sorted by."""
    sort = f' data-sort="{_text(order)}"' if order else ""
    return f'<td data-label="{label}" class="{kind}"{sort}>{content}</td>'


# The source of each hook.


def _sources(groups: Sequence[HookGroup], sources: Sources) -> Iterator[str]:
    if groups:
        yield '<h2 id="source">Where they synced</h2>'
    for index, group in enumerate(groups, 1):
        hook = group.hook
        yield f'<section><h3 id="hook-{index}"><code>{_text(hook.name) or "-"}</code> ({_text(hook.kind)})</h3>'
        waited = f", {duration(group.sums.waited_us)} waited" if measured(group.sums.waited_us) else ""
        told = f"{_calls(group.sums, group.accepted)}{waited}; defined at {place(hook.filename, hook.row)}"
        yield f'<p class="faint">{_text(told)}</p>'
        for excerpt in excerpts(group, sources):
            yield from _excerpt(excerpt)
        yield "</section>"


def _excerpt(excerpt: Excerpt) -> Iterator[str]:
    name = _text(excerpt.filename) or "-"
    if excerpt.lines:
        yield f'<figure class="source"><figcaption class="place">{name}</figcaption><div tabindex="0"><ol>'
        for line in excerpt.lines:
            yield from _line(line)
        yield "</ol></div></figure>"
    elif not excerpt.unplaced:
        yield f'<p class="faint">The source of <code>{name}</code> cannot be read.</p>'
    if excerpt.unplaced:
        yield f'<p class="faint">No source can be shown for these in <code>{name}</code>:</p><ul>'
        for site in excerpt.unplaced:
            yield f"<li>row {site.row}: {_told(site)}</li>"
        yield "</ul>"


def _line(line: Line) -> Iterator[str]:
    if not line.row:
        yield '<li class="gap">...</li>'
        return
    code = "".join(
        f"<mark>{escape(piece.text)}</mark>" if piece.marked else escape(piece.text) for piece in line.pieces
    )
    # Accepted calls are told below the line, and in the margin only where there are no others.
    counted = [site for site in line.sites if site.allowed is None]
    kind = f' class="hit{"" if counted else " quiet"}"' if line.sites else ""
    count = f"\xd7{number(sum(site.count for site in counted or line.sites))}" if line.sites else ""
    margin = f'<span class="count">{count}</span><span class="row">{line.row}</span>'
    yield f"<li{kind}>{margin}<code>{code}</code></li>"
    for site in line.sites:
        yield f'<li class="told">{_told(site)}</li>'


def _told(site: Site) -> str:
    parts = [f"{plural(site.count, 'call')} of {site.op}", plural(site.raw, "wait")]
    parts += [f"{duration(site.waited_us)} waited"] if measured(site.waited_us) else []
    parts += [f"thread {site.thread}"] if site.thread != MAIN else []
    parts += [f"allowed: {site.allowed or 'no reason given'}"] if site.allowed is not None else []
    return _text(", ".join(parts))


# What was said beforehand, and what is not known.


def _reconciliation(check: Check) -> Iterator[str]:
    listed, unloaded = reconciliation(check)
    if not unloaded and not any(listed.values()):
        return
    yield '<h2 id="findings">Findings held against the counts</h2>'
    for status, items in listed.items():
        if not items:
            continue
        opened = "" if status == NOT_EXECUTED else " open"
        told = f'<span class="status {status}">{status}</span> ({number(len(items))}): {STATUSES[status]}'
        yield f"<details{opened}><summary>{told}</summary>"
        yield '<table><thead class="plain"><tr><th scope="col">Place</th>'
        yield '<th scope="col">Finding</th><th scope="col" class="number">Calls</th><th scope="col">Message</th>'
        yield "</tr></thead><tbody>"
        for item in items:
            at = _text(place(item.filename, item.row, item.column))
            cells = [_cell("Place", f'<span class="place">{at}</span>'), _cell("Finding", _text(item.code or ""))]
            cells.append(_cell("Calls", number(item.count) if item.count else "", "", "number"))
            yield f"<tr>{''.join(cells)}{_cell('Message', _text(item.message))}</tr>"
        yield "</tbody></table></details>"
    if unloaded:
        yield f'<p class="faint">{_text(unloaded)}.</p>'


def _listed(title: str, items: Iterable[str]) -> Iterator[str]:
    shown = "".join(f"<li>{_text(item)}</li>" for item in items)
    if shown:
        yield f"<h2>{title}</h2><ul>{shown}</ul>"


def _environment(report: SyncReport) -> Iterator[str]:
    pairs = "".join(f"<dt>{_text(name)}</dt><dd>{_text(text)}</dd>" for name, text in environment(report))
    yield f'<h2>Environment</h2><dl class="environment">{pairs}</dl>'
    yield "</main>"
