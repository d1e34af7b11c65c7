"""GitHub workflow commands: each finding becomes an annotation on the line that it is about."""

from __future__ import annotations

import os
from collections.abc import Sequence

from auditlint.diagnostics import Diagnostic


def render(diagnostics: Sequence[Diagnostic]) -> str:
    """Return one command a finding: an error, or a warning for a possible finding and for comments."""
    return "".join(_command(diagnostic) + "\n" for diagnostic in diagnostics)


def _command(diagnostic: Diagnostic) -> str:
    begin, end = diagnostic.location, diagnostic.end_location
    properties = {"title": f"{diagnostic.code} {diagnostic.name}", "file": diagnostic.filename.replace(os.sep, "/")}
    properties |= {"line": str(begin.row), "endLine": str(max(end.row, begin.row))}
    # Columns beside two different lines make GitHub drop the annotation.
    if begin.row == end.row:
        properties |= {"col": str(begin.column), "endColumn": str(max(end.column, begin.column))}
    listed = ",".join(f"{key}={property_value(value)}" for key, value in properties.items())
    return f"::{_level(diagnostic)} {listed}::{data(_text(diagnostic))}"


def _level(diagnostic: Diagnostic) -> str:
    minor = diagnostic.confidence == "possible" or diagnostic.code in ("AUD901", "AUD902")
    return "warning" if minor else "error"


def _text(diagnostic: Diagnostic) -> str:
    place = f"{diagnostic.filename}:{diagnostic.location.row}:{diagnostic.location.column}"
    lines = [f"{place}: {diagnostic.code} {diagnostic.message}"]
    if hook := diagnostic.hook:
        at = hook.registered
        lines.append(f"in hook {hook.name}, registered by {hook.registrar} at {at.filename}:{at.row}")
    if len(diagnostic.path) > 1:
        steps = (f"{step.name} ({step.filename}:{step.row})" for step in diagnostic.path)
        lines.append("path: " + " -> ".join(steps))
    return "\n".join(lines)


def data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def property_value(text: str) -> str:
    return data(text).replace(":", "%3A").replace(",", "%2C")
