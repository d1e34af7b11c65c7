"""GitLab code quality report: a JSON array whose fingerprints stay when code moves to other rows."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from auditlint.baseline import Key, keyed
from auditlint.diagnostics import Diagnostic


def render(diagnostics: Sequence[Diagnostic], read: Callable[[str], bytes]) -> str:
    """Return the report; paths are relative to `CI_PROJECT_DIR`, or to the working directory without it."""
    root = os.environ.get("CI_PROJECT_DIR") or os.getcwd()
    seen: Counter[Key] = Counter()
    report = []
    for diagnostic, key in keyed(diagnostics, read, root):
        report.append(_entry(diagnostic, key, seen[key]))
        seen[key] += 1
    return json.dumps(report, indent=2) + "\n"


def _entry(diagnostic: Diagnostic, key: Key, copy: int) -> dict[str, Any]:
    begin, end = diagnostic.location, diagnostic.end_location
    return {
        "description": f"{diagnostic.code}: {diagnostic.message}",
        "check_name": diagnostic.code,
        "fingerprint": hashlib.sha256(repr((*key, copy)).encode("utf-8", "surrogatepass")).hexdigest(),
        "severity": _severity(diagnostic),
        "location": {
            "path": key.filename,
            "positions": {
                "begin": {"line": begin.row, "column": begin.column},
                "end": {"line": end.row, "column": end.column},
            },
        },
    }


def _severity(diagnostic: Diagnostic) -> str:
    if diagnostic.code in ("AUD901", "AUD902"):
        return "info"
    return "minor" if diagnostic.confidence == "possible" else "major"
