"""What every account of a check tells alike: the order of things, sites grouped by hook, and the words and numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from auditlint.reporters.style import plain
from auditlint.runtime.report import (
    CONFIRMED,
    EXECUTED_NO_SYNC,
    MISSED,
    NOT_EXECUTED,
    Check,
    Reconciled,
    RuntimeHook,
    Site,
    SyncReport,
)

# What needs a person first.
STATUSES = {
    MISSED: "a sync in a hook that no finding names",
    EXECUTED_NO_SYNC: "a finding whose line ran and did not sync",
    CONFIRMED: "a finding, and a sync counted there",
    NOT_EXECUTED: "a finding whose line did not run",
}

POTENTIAL = "potential syncs: counted on the CPU, they would wait on a device"
MAIN = "MainThread"
SIMULATED = "simulated: the device is a model, and its times are those of a virtual clock"

# Numbers up to here are written out.
_EXACT = 10_000_000
# So many modules are named for each site.
_NAMED = 12
_PREFIXES = "kMGTPE"


class Sums(NamedTuple):
    """Calls that synced, waits under them, and microseconds waited (None: not measured)."""

    calls: int
    waits: int
    waited_us: float | None


class HookGroup(NamedTuple):
    """A hook and its sites. `sums` leaves out accepted sites, `accepted` are the calls at those."""

    hook: RuntimeHook
    sites: tuple[Site, ...]
    sums: Sums
    accepted: int


def hooks(report: SyncReport) -> list[HookGroup]:
    """Return the hooks that synced, and in each its sites, those with the most calls first."""
    found: dict[RuntimeHook, list[Site]] = {}
    for site in report.sites:
        if site.hook:
            found.setdefault(site.hook, []).append(site)
    groups = []
    for hook, sites in found.items():
        counted = [site for site in sites if site.allowed is None]
        accepted = sum(site.count for site in sites if site.allowed is not None)
        groups.append(HookGroup(hook, tuple(heaviest(sites)), sums(counted), accepted))
    return sorted(groups, key=lambda group: (-group.sums.calls, -group.sums.waits, -group.accepted, group.hook))


def outside(report: SyncReport) -> list[Site]:
    """Return the sites outside hooks, those with the most calls first."""
    return heaviest(site for site in report.sites if not site.hook)


def heaviest(sites: Iterable[Site]) -> list[Site]:
    """Return sites by falling number of calls; equals in the order of their places."""
    return sorted(sites, key=lambda site: (-site.count, -site.raw, by_place(site)))


def by_place(site: Site) -> tuple[object, ...]:
    """Sorts sites by file, row and column, and leaves no two different ones to chance."""
    return (
        *site[:7],
        site.thread,
        site.hook or (),
        site.allowed or "",
        site.modules,
        site.count,
        site.raw,
        site.waited_us or 0,
    )


def sums(sites: Sequence[Site]) -> Sums:
    """Return the sums over `sites`; time is the sum of what was measured."""
    times = [site.waited_us for site in sites if measured(site.waited_us)]
    waited = sum(time for time in times if time is not None) if times else None
    return Sums(sum(site.count for site in sites), sum(site.raw for site in sites), waited)


def measured(waited_us: float | None) -> bool:
    """Return whether a waiting time is a number that can be told."""
    return waited_us is not None and math.isfinite(waited_us)


class Reconciliation(NamedTuple):
    """The findings of each status in the order of `STATUSES`, and a sentence ("" if needless) about unloaded files."""

    listed: dict[str, list[Reconciled]]
    unloaded: str


def reconciliation(check: Check) -> Reconciliation:
    """Return the findings by status, without those in files that this run never loaded."""
    listed = {status: sorted(_of(check, status), key=by_finding) for status in STATUSES}
    unloaded = sum(1 for item in check.reconciliation if not item.loaded)
    return Reconciliation(listed, f"{plural(unloaded, 'finding')} in files that this run never loaded" * bool(unloaded))


def _of(check: Check, status: str) -> list[Reconciled]:
    return [item for item in check.reconciliation if item.status == status and item.loaded]


def by_finding(item: Reconciled) -> tuple[object, ...]:
    """Sorts findings by file, row and column, and leaves no two different ones of a status to chance."""
    return (item.filename, item.row, item.column, item.code or "", item.message, item.count)


def caution(report: SyncReport) -> str:
    """Return what a reader must know before any number, "" where the numbers were measured on a device."""
    if report.doubt:
        return report.doubt.removesuffix(".")
    if report.potential:
        return POTENTIAL
    return SIMULATED if report.backend == "simulated" else ""


def verdict(report: SyncReport) -> str:
    """Return the outcome in one sentence, such as "12 syncs in 3 hooks; 4 outside."."""
    totals = report.totals
    count = sum(1 for group in hooks(report) if group.sums.calls)
    kind = "potential sync" if report.potential else "sync"
    parts = [f"{plural(totals.in_hooks, kind)} in {plural(count, 'hook')}" if count else f"No {kind} in a hook"]
    if totals.outside:
        parts.append(f"{number(totals.outside)} outside")
    if totals.allowed:
        parts.append(f"{number(totals.allowed)} allowed")
    return "; ".join(parts) + "."


def environment(report: SyncReport) -> list[tuple[str, str]]:
    """Return what is known of the place of the counting, as pairs of a name and what it is."""
    it = report.environment
    pairs = [("device", it.device), ("driver", it.driver), ("torch", it.torch), ("Python", it.python)]
    return [(name, text) for name, text in (*pairs, ("platform", it.platform)) if text]


def plural(count: int, noun: str) -> str:
    return f"{number(count)} {noun}{'' if count == 1 else 's'}"


def modules(site: Site) -> str:
    """Return which modules a hook ran for there, and how often: "layers.0 x5, layers.1 x5"; "" where it tells nothing.

    Of many, those with the most calls are named.
    """
    if not site.modules:
        return ""
    ordered = sorted(site.modules, key=lambda pair: -pair[1])
    named = ", ".join(f"{plain(name)} x{number(calls)}" for name, calls in ordered[:_NAMED])
    return named + (f", and {number(len(ordered) - _NAMED)} more" if len(ordered) > _NAMED else "")


def number(count: int) -> str:
    """Return a count in at most nine characters: exact below ten million, then in units (`12.3M`)."""
    if abs(count) < _EXACT:
        return f"{count:,}"
    scaled, unit = count, ""
    for prefix in _PREFIXES:
        # Integers of any size; what follows the point is cut off.
        if abs(scaled) < 1_000_000:
            return f"{scaled // 1000}.{scaled % 1000 // 100}{prefix}"
        scaled, unit = scaled // 1000, prefix
    return f">999{unit}"


def duration(waited_us: float | None) -> str:
    """Return a time in µs, ms or s with three digits, or "-" where there is none."""
    if waited_us is None or not math.isfinite(waited_us):
        return "-"
    for scale, unit in ((1.0, "\xb5s"), (1e3, "ms"), (1e6, "s")):
        value = waited_us / scale
        for limit, digits in ((9.995, 2), (99.95, 1), (999.5, 0)):
            if value < limit:
                return f"{value:.{digits}f} {unit}"
    return f"{value:,.0f} s" if value < _EXACT else f"{value:.1e} s"


def place(filename: str, row: int, column: int | None = None) -> str:
    return f"{filename}:{row}" if column is None else f"{filename}:{row}:{column}"
