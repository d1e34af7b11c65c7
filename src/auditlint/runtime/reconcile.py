"""The findings held against the counts: confirmed, not executed, executed without a sync, or missed."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

from auditlint.diagnostics import Diagnostic, Location
from auditlint.rules import BY_KIND
from auditlint.runtime.report import (
    CONFIRMED,
    EXECUTED_NO_SYNC,
    MISSED,
    NOT_EXECUTED,
    Reconciled,
    Site,
    SyncReport,
)

__all__ = ["SYNC_CODES", "reconcile"]

# The families of findings that say "this waits for the device": what a count can confirm.
SYNC_CODES = ("AUD1", "AUD2")

# Registrars of findings that the configuration asks for outside hooks: there, a wait anywhere confirms.
_SCOPES = frozenset({"forward", "hot path"})

_UNSEEN = {"h2d": "copies from the host to the device", "synchronize": "waits that the program asks for"}

_Span = tuple[Location, Location]


class _Finding(NamedTuple):
    """A finding, its file as an absolute path without links, and the span that it marks."""

    item: Diagnostic
    file: str
    span: _Span

    @property
    def in_scope(self) -> bool:
        """Whether the finding speaks of every execution, not only of those in a hook."""
        return self.item.hook is not None and self.item.hook.registrar in _SCOPES


class _Place(NamedTuple):
    """What syncs have in common that are told as one: where they are and what waits there."""

    filename: str
    row: int
    column: int
    op: str
    kind: str


class _Tally(NamedTuple):
    """Calls that synced in hooks and outside them, by the finding that names them; sites in hooks that none names."""

    inside: dict[_Finding, int]
    outside: dict[_Finding, int]
    missed: dict[_Place, list[Site]]


def reconcile(
    findings: Sequence[Diagnostic],
    report: SyncReport,
    *,
    executed: Collection[tuple[str, int, int]],
    loaded: Collection[str],
    uncertain: Collection[str] = (),
    root: str = "",
    project: Callable[[str], bool] = lambda _: True,
    registered: Collection[tuple[str, int]] = (),
    unseen_kinds: frozenset[str] = frozenset(),
) -> tuple[Reconciled, ...]:
    """Every finding with what became of it, and every sync in a hook that no finding names, sorted by place.

    File names of findings and sites are absolute or relative to `root` (the working directory by default). `executed`
    are file, row and column of the findings whose expression was executed, `loaded` the files that were loaded,
    `uncertain` those of them of which it is not known what was executed. Findings in a file for which `project` (asked
    about absolute paths) is false are told only if they matter to this run: confirmed, executed, or in a hook that is
    among `registered` (file and row of its definition). `unseen_kinds` are kinds of syncs that the backend is blind to.
    """
    whole = _whole(root)
    known = _known(findings, whole)
    tally = _counted(known, report, whole)
    counted = {whole(site.filename) for site in report.sites}
    seen = {whole(path) for path in loaded}
    # A file in which something waited was loaded in some way or other; nobody watched then what it executed.
    vague = {whole(path) for path in uncertain} | (counted - seen)
    reached = {(whole(path), row, column) for path, row, column in executed}
    hooks = {(whole(path), row) for path, row in registered}
    told: list[Reconciled] = []
    for finding in known:
        item, count = finding.item, tally.inside.get(finding, 0)
        ran = (finding.file, *item.location) in reached
        hook = item.hook is not None and (whole(item.hook.filename), item.hook.row) in hooks
        if count or ran or hook or project(finding.file):
            there = finding.file in seen or finding.file in counted
            status, remark = _status(finding, tally, ran, finding.file in vague, unseen_kinds)
            message = f"{item.message} ({remark})" if remark else item.message
            told.append(Reconciled(item.filename, *item.location, item.code, status, count, message, there))
    told += [_told(place, sites, report.potential) for place, sites in tally.missed.items()]
    return tuple(sorted(told, key=_order))


def _whole(root: str) -> Callable[[str], str]:
    """Makes names of files absolute, without links: the linter and the import system may spell them differently."""
    known: dict[str, str] = {}

    def whole(name: str) -> str:
        if name not in known:
            known[name] = os.path.realpath(os.path.join(root, name))
        return known[name]

    return whole


def _known(findings: Iterable[Diagnostic], whole: Callable[[str], str]) -> list[_Finding]:
    """The findings that counts speak about; several at one place, reached from several hooks, are one."""
    first: dict[tuple[str, str, _Span], _Finding] = {}
    for item in findings:
        if item.code.startswith(SYNC_CODES):
            finding = _Finding(item, whole(item.filename), (item.location, item.end_location))
            first.setdefault((finding.file, item.code, finding.span), finding)
    return list(first.values())


def _counted(known: Iterable[_Finding], report: SyncReport, whole: Callable[[str], str]) -> _Tally:
    """Every site given to the finding that names it best."""
    by_file: dict[str, list[_Finding]] = defaultdict(list)
    for finding in known:
        by_file[finding.file].append(finding)
    tally = _Tally(defaultdict(int), defaultdict(int), defaultdict(list))
    for site in report.sites:
        match = _match(site, by_file.get(whole(site.filename), ()))
        if match is not None:
            held = tally.inside if site.hook is not None or match.in_scope else tally.outside
            held[match] += site.count
        elif site.hook is not None and site.allowed is None:
            place = _Place(site.filename, site.row, site.column, site.op, site.kind)
            tally.missed[place].append(site)
    return tally


def _match(site: Site, findings: Iterable[_Finding]) -> _Finding | None:
    ranked = [(rank, finding) for finding in findings if (rank := _rank(site, finding)) is not None]
    return min(ranked, key=lambda pair: pair[0])[1] if ranked else None


def _rank(site: Site, finding: _Finding) -> tuple[object, ...] | None:
    """How well a finding names a site, the smaller the better; None where it does not.

    An expression that waits in another way than the finding says comes last, except at the very same place: the rules'
    families overlap there (`if x.any():` is a truth value and a call).
    """
    item, (start, end) = finding.item, finding.span
    rule = BY_KIND.get(site.kind)
    alike = rule is not None and rule.code == item.code
    first, last = Location(site.row, site.column), Location(site.end_row, site.end_column)
    rows = item.statement if item.statement[0] else (start.row, end.row)
    overlaps = first < end and start < last
    if (first, last) == (start, end):
        tier = 0
    elif alike and first == start:
        tier = 1
    elif alike and last == end:
        tier = 2
    elif alike and overlaps:
        tier = 3
    elif alike and rows[0] <= site.row and site.end_row <= rows[1]:
        tier = 4
    elif overlaps:
        tier = 5
    else:
        return None
    row_distance = abs(first.row - start.row) + abs(last.row - end.row)
    column_distance = abs(first.column - start.column) + abs(last.column - end.column)
    return tier, not alike, row_distance, column_distance, start, end, item.code


def _status(finding: _Finding, tally: _Tally, ran: bool, vague: bool, unseen_kinds: frozenset[str]) -> tuple[str, str]:
    """The status of a finding, and what a reader must know about it ("" for nothing)."""
    if tally.inside.get(finding):
        return CONFIRMED, ""
    if outside := tally.outside.get(finding, 0):
        # It waits where it is executed, so it was not executed in a hook.
        return NOT_EXECUTED, f"outside hooks it waited {outside} time{'s' * (outside > 1)}"
    if ran:
        unseen = [kind for kind in sorted(unseen_kinds) if kind in BY_KIND and BY_KIND[kind].code == finding.item.code]
        words = ", ".join(_UNSEEN.get(kind, f"syncs of kind {kind}") for kind in unseen)
        return EXECUTED_NO_SYNC, f"this backend cannot see it: {words}" if unseen else ""
    return NOT_EXECUTED, "whether it was executed is not known: its file was not watched" if vague else ""


def _told(place: _Place, sites: Sequence[Site], potential: bool) -> Reconciled:
    rule = BY_KIND.get(place.kind)
    names = sorted({f"`{site.hook.name}`" for site in sites if site.hook is not None})
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    waits = "would wait for the device" if potential else "waited for the device"
    message = f"`{place.op}` {waits} in {'hooks' if len(names) > 1 else 'hook'} {shown}, and no finding names it"
    count = sum(site.count for site in sites)
    return Reconciled(place.filename, place.row, place.column, rule.code if rule else None, MISSED, count, message)


def _order(line: Reconciled) -> tuple[object, ...]:
    return line.filename, line.row, line.column, line.code or "", line.status, line.message
