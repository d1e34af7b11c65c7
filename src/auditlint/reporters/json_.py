"""One JSON array, an object a finding. Rows and columns are 1-based, columns count code points, ends are exclusive."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from auditlint.diagnostics import Diagnostic, Edit, Fix, Hook, Location, Step
from auditlint.rules import url


def render(diagnostics: Sequence[Diagnostic]) -> str:
    """Return the array; the text is ASCII, so any output encoding can carry it."""
    return json.dumps([_finding(diagnostic) for diagnostic in diagnostics], indent=2) + "\n"


def _finding(diagnostic: Diagnostic) -> dict[str, Any]:
    return {
        "code": diagnostic.code,
        "name": diagnostic.name,
        "message": diagnostic.message,
        "filename": diagnostic.filename,
        "location": _location(diagnostic.location),
        "end_location": _location(diagnostic.end_location),
        "confidence": diagnostic.confidence,
        "hook": _hook(diagnostic.hook) if diagnostic.hook else None,
        "path": [_step(step) for step in diagnostic.path],
        "noqa_row": diagnostic.noqa_row,
        "url": url(diagnostic.code),
        "fix": _fix(diagnostic.fix) if diagnostic.fix else None,
        "unfixed": diagnostic.unfixed or None,
    }


def _location(location: Location) -> dict[str, int]:
    return {"row": location.row, "column": location.column}


def _step(step: Step) -> dict[str, Any]:
    return {"name": step.name, "filename": step.filename, "row": step.row}


def _hook(hook: Hook) -> dict[str, Any]:
    return {
        "name": hook.name,
        "filename": hook.filename,
        "row": hook.row,
        "registrar": hook.registrar,
        "registered": _step(hook.registered),
    }


def _fix(fix: Fix) -> dict[str, Any]:
    return {
        "applicability": fix.applicability,
        "message": fix.message,
        "edits": [_edit(edit) for edit in fix.edits],
    }


def _edit(edit: Edit) -> dict[str, Any]:
    shown = {
        "content": edit.content,
        "location": _location(edit.location),
        "end_location": _location(edit.end_location),
    }
    # Named only where it is another file than the finding's.
    return {**shown, "filename": edit.filename} if edit.filename else shown
