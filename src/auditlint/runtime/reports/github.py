"""GitHub workflow commands: syncs in hooks, and where the linter was wrong, become annotations on their lines."""

from __future__ import annotations

import os
from collections.abc import Iterator

from auditlint.reporters.github import data, property_value
from auditlint.runtime.report import EXECUTED_NO_SYNC, MISSED, Check, Reconciled, Site
from auditlint.runtime.reports.outline import duration, heaviest, measured, place, plural, reconciliation


def render(check: Check) -> str:
    """Return an error for each sync in a hook that is not allowed, the most frequent first as GitHub shows only some.

    A missed sync is a warning as well, and a finding that ran without a sync a notice.
    """
    return "".join(f"{line}\n" for line in _commands(check))


def _commands(check: Check) -> Iterator[str]:
    report = check.report
    kind = "potential sync in hook" if report.potential else "sync in hook"
    for site in heaviest(site for site in report.sites if site.hook and site.allowed is None):
        yield _command("error", kind, site.filename, site.row, site.column, _text(site))
    listed = reconciliation(check).listed
    for item in listed[MISSED]:
        yield _command("warning", _title("missed", item), item.filename, item.row, item.column, _about(item))
    for item in listed[EXECUTED_NO_SYNC]:
        yield _command("notice", _title("executed, no sync", item), item.filename, item.row, item.column, _about(item))


def _command(level: str, title: str, filename: str, row: int, column: int, text: str) -> str:
    # GitHub counts from 1, and drops what does not.
    properties = {"title": title, "file": filename.replace(os.sep, "/"), "line": str(max(row, 1))}
    properties["col"] = str(max(column, 1))
    listed = ",".join(f"{key}={property_value(value)}" for key, value in properties.items())
    return f"::{level} {listed}::{data(text)}"


def _title(status: str, item: Reconciled) -> str:
    return f"{status}: {item.code}" if item.code else status


def _text(site: Site) -> str:
    waited = f", {duration(site.waited_us)} waited" if measured(site.waited_us) else ""
    counts = f"{plural(site.count, 'call')}, {plural(site.raw, 'wait')} of the device{waited}"
    lines = [f"{place(site.filename, site.row, site.column)}: {site.op}: {counts}"]
    if hook := site.hook:
        lines.append(f"in hook {hook.name} ({hook.kind}), {place(hook.filename, hook.row)}")
    return "\n".join(lines)


def _about(item: Reconciled) -> str:
    return f"{place(item.filename, item.row, item.column)}: {item.message}"
