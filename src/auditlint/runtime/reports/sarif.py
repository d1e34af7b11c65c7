"""SARIF 2.1.0: each sync in a hook with its counts, and each finding that ran without a sync."""

from __future__ import annotations

import json
import os
from typing import Any

import auditlint
from auditlint.diagnostics import Location
from auditlint.reporters.sarif import SCHEMA, described_rule, location_of, region_of, row_region
from auditlint.rules import BY_KIND, RULES
from auditlint.runtime.report import CONFIRMED, EXECUTED_NO_SYNC, MISSED, Check, Reconciled, Site
from auditlint.runtime.reports.json_ import document
from auditlint.runtime.reports.outline import by_place, duration, measured, plural, reconciliation

# The rule of a sync that no rule of the linter speaks of.
_OTHER = "sync"


def render(check: Check) -> str:
    """Return the log: one run, its totals and the whole reconciliation as properties; columns count code points."""
    sites = sorted((site for site in check.report.sites if site.hook), key=by_place)
    silent = reconciliation(check).listed[EXECUTED_NO_SYNC]
    results = [_sync(site, check) for site in sites] + [_silent(item) for item in silent]
    ids = sorted({*RULES, *(result["ruleId"] for result in results)})
    for result in results:
        result["ruleIndex"] = ids.index(result["ruleId"])
    driver = {"name": "auditlint", "version": auditlint.__version__, "rules": [described_rule(code) for code in ids]}
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": results,
        "properties": {key: value for key, value in document(check).items() if key != "sites"},
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2, allow_nan=False) + "\n"


def _code(site: Site, check: Check) -> str:
    """Return the code of the finding at the site: by the kind of sync, or failing that by the place."""
    expected = BY_KIND[site.kind].code if site.kind in BY_KIND else _OTHER
    here = {
        (item.column, item.code)
        for item in check.reconciliation
        if item.code and item.status in (CONFIRMED, MISSED) and (item.filename, item.row) == (site.filename, site.row)
    }
    if any(code == expected for _, code in here):
        return expected
    return min((code for column, code in here if column == site.column), default=expected)


def _status(site: Site, code: str, check: Check) -> str | None:
    """Return whether a finding named the site; None where nothing was held against it."""
    place = (site.filename, site.row, None if code == _OTHER else code)
    found = {item.status for item in check.reconciliation if (item.filename, item.row, item.code) == place}
    return next((status for status in (MISSED, CONFIRMED) if status in found), None)


def _sync(site: Site, check: Check) -> dict[str, Any]:
    hook, code = site.hook, _code(site, check)
    assert hook is not None
    waited = f", {duration(site.waited_us)} waited" if measured(site.waited_us) else ""
    counts = f"{plural(site.count, 'call')}, {plural(site.raw, 'wait')} of the device{waited}"
    kind = "potential sync" if check.report.potential else "sync"
    begin, end = Location(site.row, site.column), Location(site.end_row, site.end_column)
    result: dict[str, Any] = {
        "ruleId": code,
        "level": "error",
        "message": {"text": f"`{site.op}`: {kind} in hook {hook.name}: {counts}"},
        "locations": [location_of(_encodable(site.filename), region_of(begin, end))],
        "relatedLocations": [location_of(_encodable(hook.filename), row_region(hook.row), f"hook {hook.name}", 0)],
        "properties": {
            "op": site.op,
            "kind": site.kind,
            "count": site.count,
            "raw": site.raw,
            "waited_us": site.waited_us if measured(site.waited_us) else None,
            "thread": site.thread,
            "hook": hook._asdict(),
            "reconciliation": _status(site, code, check),
        },
    }
    if site.allowed is not None:
        result["suppressions"] = [{"kind": "inSource", "justification": site.allowed}]
    return result


def _silent(item: Reconciled) -> dict[str, Any]:
    place = Location(item.row, item.column)
    return {
        "ruleId": item.code or _OTHER,
        "level": "note",
        "message": {"text": f"This line ran and did not sync, against the finding: {item.message}"},
        "locations": [location_of(_encodable(item.filename), region_of(place, place))],
        "properties": {"reconciliation": item.status},
    }


def _encodable(filename: str) -> str:
    """Return a name that can stand in a URI: code can be compiled under names that no file can have."""
    try:
        os.fsencode(filename)
    except UnicodeError:
        return filename.encode("utf-8", "replace").decode("utf-8")
    return filename
