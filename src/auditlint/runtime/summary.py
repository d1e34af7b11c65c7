"""From what was recorded to a report: places in the source, operations, accepted syncs, sums."""

from __future__ import annotations

import functools
import linecache
import os
from collections.abc import Iterable
from types import CodeType

from auditlint.runtime.backends import Backend
from auditlint.runtime.modules import module_names
from auditlint.runtime.positions import Place, place
from auditlint.runtime.report import Site, SyncReport, Totals, total
from auditlint.runtime.watch import Event, Recording, Tally
from auditlint.source.suppressions import Allowance, allowances


def totals(recording: Recording, backend: Backend, folder: str) -> Totals:
    """The sums that a report would have, without what takes long to look up for one."""
    counted = _sites(recording, backend, folder)
    return total(site._replace(count=tally.count, raw=tally.raw) for site, tally in counted)


def summary(recording: Recording, backend: Backend, folder: str) -> SyncReport:
    """The report of what `recording` holds; file names are relative to `folder` where they lie beneath it."""
    tallies = _sites(recording, backend, folder)
    names = module_names(tally.module for _, tally in tallies)
    sites: dict[Site, Tally] = {}
    modules: dict[Site, dict[str, int]] = {}
    for site, tally in tallies:
        sites.setdefault(site, Tally()).add(tally.count, tally.raw, tally.waited)
        if tally.module is not None:
            calls, name = modules.setdefault(site, {}), names[id(tally.module)]
            calls[name] = calls.get(name, 0) + tally.count
    counted = [
        site._replace(
            count=tally.count,
            raw=tally.raw,
            waited_us=tally.waited,
            modules=tuple(modules.get(site, {}).items()),
        )
        for site, tally in sites.items()
    ]
    return SyncReport(
        backend.name,
        backend.potential,
        backend.environment(),
        tuple(sorted(counted, key=_order)),
        tuple(backend.blind_spots),
        doubt=backend.doubt,
    )


def _sites(recording: Recording, backend: Backend, folder: str) -> list[tuple[Site, Tally]]:
    """Each tally with its site, whose counts are still 0, but for operations that do not wait on a device."""
    found = [(_site(event, tally.code, folder), tally) for event, tally in list(recording.tallies.items())]
    return [(site, tally) for site, tally in found if site.op not in backend.not_syncs]


def _site(event: Event, code: CodeType | None, folder: str) -> Site:
    at = place(code, event.offset, event.op, event.kind, event.implicit)
    path = os.path.join(folder, code.co_filename) if code is not None else ""
    hook = event.hook
    if hook is not None:
        hook = hook._replace(filename=shown(os.path.join(folder, hook.filename), folder))
    allowed = event.allowed if event.allowed is not None else _accepted(path, at)
    return Site(shown(path, folder), *at[:4], at.op, at.kind, 0, 0, None, event.thread, hook, allowed)


def shown(path: str, folder: str) -> str:
    """The name to show for an absolute path."""
    return path.removeprefix(os.path.join(folder, ""))


def _accepted(path: str, at: Place) -> str | None:
    """The reason that a comment gives for accepting a sync there; None if none does."""
    code = _code(at.kind)
    for item in _allowances(path):
        speaks = item.first <= at.statement[1] and at.statement[0] <= item.last
        if speaks and (not item.codes or code is None or code.startswith(item.codes)):
            return item.reason or item.form
    return None


def _code(kind: str) -> str | None:
    from auditlint.rules import BY_KIND

    rule = BY_KIND.get(kind)
    return rule.code if rule else None


@functools.lru_cache(maxsize=512)
def _allowances(path: str) -> tuple[Allowance, ...]:
    text = "".join(linecache.getlines(path))
    return tuple(allowances(text)) if "auditlint" in text or "noqa" in text.lower() else ()


def _order(site: Site) -> tuple[object, ...]:
    hook: Iterable[object] = site.hook or ()
    return site.filename, site.row, site.column, site.op, tuple(hook), site.thread, site.allowed or ""
