"""One JSON document. Rows and columns are 1-based, columns count code points, ends are exclusive."""

from __future__ import annotations

import json
from typing import Any

from auditlint.runtime.report import STATUSES, Check, Reconciled, Site
from auditlint.runtime.reports.outline import by_finding, by_place, measured


def render(check: Check) -> str:
    """Return the document; the text is ASCII, so any output encoding can carry it."""
    return json.dumps(document(check), indent=2, allow_nan=False) + "\n"


def document(check: Check) -> dict[str, Any]:
    """Return the check as objects, arrays, texts and numbers; equal checks give equal documents."""
    report = check.report
    return {
        "backend": report.backend,
        "device": report.environment.device,
        "torch": report.environment.torch,
        "script": check.script,
        "script_status": check.status,
        "totals": report.totals._asdict(),
        "sites": [_site(site) for site in sorted(report.sites, key=by_place)],
        "reconciliation": [_reconciled(item) for item in sorted(check.reconciliation, key=_order)],
        "blind_spots": list(report.blind_spots),
        "notes": list(report.notes),
        "doubt": report.doubt,
        "environment": report.environment._asdict(),
        "potential": report.potential,
    }


def _site(site: Site) -> dict[str, Any]:
    return {
        "filename": site.filename,
        "row": site.row,
        "column": site.column,
        "end_row": site.end_row,
        "end_column": site.end_column,
        "op": site.op,
        "kind": site.kind,
        "count": site.count,
        "raw": site.raw,
        # JSON has no word for what is no number.
        "waited_us": site.waited_us if measured(site.waited_us) else None,
        "thread": site.thread,
        "hook": site.hook._asdict() if site.hook else None,
        "allowed": site.allowed,
        "modules": dict(site.modules),
    }


def _reconciled(item: Reconciled) -> dict[str, Any]:
    return {
        "filename": item.filename,
        "row": item.row,
        "column": item.column,
        "code": item.code,
        "status": item.status,
        "count": item.count,
        "message": item.message,
        "loaded": item.loaded,
    }


def _order(item: Reconciled) -> tuple[object, ...]:
    return (*by_finding(item), STATUSES.index(item.status) if item.status in STATUSES else -1)
