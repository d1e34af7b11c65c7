"""SARIF 2.1.0: the rules with their pages, and each finding with its hook and the way from the hook to the site."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import auditlint
from auditlint.diagnostics import Diagnostic, Edit, Fix, Location, Step
from auditlint.rules import RULES, page, url

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def render(diagnostics: Sequence[Diagnostic]) -> str:
    """Return the log: one run, every rule, every finding; columns count code points."""
    codes = sorted({*RULES, *(diagnostic.code for diagnostic in diagnostics)})
    indices = {code: index for index, code in enumerate(codes)}
    run = {
        "tool": {
            "driver": {
                "name": "auditlint",
                "version": auditlint.__version__,
                "rules": [described_rule(code) for code in codes],
            }
        },
        "columnKind": "unicodeCodePoints",
        "results": [_result(diagnostic, indices[diagnostic.code]) for diagnostic in diagnostics],
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def described_rule(code: str) -> dict[str, Any]:
    if code not in RULES:
        return {"id": code}
    rule = RULES[code]
    text = page(code)
    return {
        "id": code,
        "name": rule.name,
        "shortDescription": {"text": rule.summary},
        "fullDescription": {"text": rule.summary},
        "help": {"text": text, "markdown": text},
        "defaultConfiguration": {"level": _level(code, "definite")},
        "helpUri": url(code),
    }


def _level(code: str, confidence: str) -> str:
    if code in ("AUD901", "AUD902"):
        return "note"
    return "error" if confidence == "definite" else "warning"


def _result(diagnostic: Diagnostic, index: int) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": diagnostic.code,
        "ruleIndex": index,
        "level": _level(diagnostic.code, diagnostic.confidence),
        "message": {"text": diagnostic.message},
        "locations": [location_of(diagnostic.filename, region_of(diagnostic.location, diagnostic.end_location))],
        "properties": {"confidence": diagnostic.confidence},
    }
    if hook := diagnostic.hook:
        at = hook.registered
        result["relatedLocations"] = [
            location_of(hook.filename, row_region(hook.row), f"hook {hook.name}", 0),
            location_of(at.filename, row_region(at.row), f"registered by {hook.registrar}", 1),
        ]
    if diagnostic.path:
        result["codeFlows"] = [{"threadFlows": [{"locations": _flow(diagnostic)}]}]
    # The schema wants at least one replacement in a fix.
    if diagnostic.fix and diagnostic.fix.edits:
        result["fixes"] = [_fix(diagnostic.fix, diagnostic.filename)]
    if diagnostic.unfixed:
        result["properties"]["unfixed"] = diagnostic.unfixed
    return result


def _flow(diagnostic: Diagnostic) -> list[dict[str, Any]]:
    """Return where each function on the path leads on, and the site at the end."""
    steps = [location_of(step.filename, row_region(step.row), _leads(step)) for step in diagnostic.path[:-1]]
    last = diagnostic.path[-1]
    region = region_of(diagnostic.location, diagnostic.end_location)
    return [
        {"location": location} for location in (*steps, location_of(diagnostic.filename, region, f"in {last.name}"))
    ]


def _leads(step: Step) -> str:
    return f"{step.name} calls on"


def _fix(fix: Fix, filename: str) -> dict[str, Any]:
    by_file: dict[str, list[Edit]] = {}
    for edit in fix.edits:
        by_file.setdefault(edit.filename or filename, []).append(edit)
    changes = [
        {"artifactLocation": _artifact(name), "replacements": [_replacement(edit) for edit in edits]}
        for name, edits in by_file.items()
    ]
    return {
        "description": {"text": fix.message},
        "artifactChanges": changes,
        "properties": {"applicability": fix.applicability},
    }


def _replacement(edit: Edit) -> dict[str, Any]:
    return {
        "deletedRegion": region_of(edit.location, edit.end_location),
        "insertedContent": {"text": edit.content},
    }


def location_of(filename: str, region: dict[str, int], message: str = "", number: int | None = None) -> dict[str, Any]:
    location: dict[str, Any] = {"physicalLocation": {"artifactLocation": _artifact(filename), "region": region}}
    if message:
        location["message"] = {"text": message}
    if number is not None:
        location["id"] = number
    return location


def _artifact(filename: str) -> dict[str, Any]:
    path = quote(os.fsencode(filename.replace(os.sep, "/")), safe="/")
    if os.path.isabs(filename):
        return {"uri": f"file://{'' if path.startswith('/') else '/'}{path}"}
    return {"uri": path, "uriBaseId": "%SRCROOT%"}


def region_of(begin: Location, end: Location) -> dict[str, int]:
    """Return a region; rows and columns start at 1 in SARIF, and findings about a whole file may have none."""
    start = Location(max(begin.row, 1), max(begin.column, 1))
    stop = max(Location(*end), start)
    return {"startLine": start.row, "startColumn": start.column, "endLine": stop.row, "endColumn": max(stop.column, 1)}


def row_region(row: int) -> dict[str, int]:
    return {"startLine": max(row, 1)}
