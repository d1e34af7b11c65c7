"""Reports of several processes as one, and a report as bytes, for its way from one process to another.

Imports nothing but the standard library, as the words in `report` do.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from auditlint.runtime.report import Environment, RuntimeHook, Site, SyncReport


def merge(reports: Sequence[SyncReport], labels: Sequence[str]) -> SyncReport:
    """One report of all `reports`; `labels` name their processes ("rank 1", "worker Process-2").

    A label goes before the thread of each site ("rank 1: MainThread"); an empty one leaves the thread as it is. Sites
    that are equal but for their counts become one. Blind spots and notes are united, in order. The backend and the
    environment are the first report's, and a note names each process that counted on something else. Raises
    `ValueError` where there is no report.
    """
    if not reports:
        raise ValueError("no report to merge")
    first = reports[0]
    sites: dict[Site, Site] = {}
    for label, report in zip(labels, reports, strict=True):
        for site in report.sites:
            _add(sites, site._replace(thread=f"{label}: {site.thread}") if label else site)
    elsewhere = [
        _elsewhere(label, report) for label, report in zip(labels, reports, strict=True) if _differs(report, first)
    ]
    return first._replace(
        potential=any(report.potential for report in reports),
        sites=tuple(sites.values()),
        blind_spots=_united(report.blind_spots for report in reports),
        notes=_united([*(report.notes for report in reports), elsewhere]),
        doubt=first.doubt if all(report.doubt for report in reports) else "",
    )


def to_json(report: SyncReport) -> bytes:
    """`report` as ASCII JSON, from which `from_json` makes an equal one."""
    return json.dumps(report, separators=(",", ":")).encode("ascii")


def from_json(data: bytes) -> SyncReport:
    """The report that `to_json` has written. Raises `ValueError` for anything else, such as half a file."""
    try:
        backend, potential, environment, sites, blind_spots, notes, doubt = json.loads(data)
        places = tuple(_site(*site) for site in sites)
        return SyncReport(
            backend, potential, Environment(*environment), places, tuple(blind_spots), tuple(notes), doubt
        )
    except TypeError as error:
        raise ValueError(f"not a report: {error}") from error


def _site(*fields: Any) -> Site:
    site = Site(*fields)
    hook = RuntimeHook(*site.hook) if site.hook else None
    return site._replace(hook=hook, modules=tuple((name, calls) for name, calls in site.modules))


def _add(sites: dict[Site, Site], site: Site) -> None:
    place = site._replace(count=0, raw=0, waited_us=None, modules=())
    known = sites.get(place)
    if known is None:
        sites[place] = site
        return
    waits = [wait for wait in (known.waited_us, site.waited_us) if wait is not None]
    modules = dict(known.modules)
    for name, calls in site.modules:
        modules[name] = modules.get(name, 0) + calls
    sites[place] = site._replace(
        count=known.count + site.count,
        raw=known.raw + site.raw,
        waited_us=sum(waits) if waits else None,
        modules=tuple(modules.items()),
    )


def _differs(report: SyncReport, first: SyncReport) -> bool:
    return (report.backend, report.environment.device) != (first.backend, first.environment.device)


def _elsewhere(label: str, report: SyncReport) -> str:
    return f"{label or 'this process'} counted with the {report.backend} backend on {report.environment.device}"


def _united(texts: Iterable[Iterable[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for some in texts for text in some))
