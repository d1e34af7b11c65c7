"""One line a finding, in the form that editors and grep know."""

from __future__ import annotations

from collections.abc import Sequence

from auditlint.diagnostics import Diagnostic
from auditlint.reporters.style import Painter, plain


def render(diagnostics: Sequence[Diagnostic], color: bool) -> str:
    """Return `file:row:column: CODE message` for each finding."""
    paint = Painter(color)
    lines = []
    for item in diagnostics:
        place = paint("dim", f":{item.location.row}:{item.location.column}:")
        tone = "yellow" if item.confidence == "possible" else "red"
        lines.append(f"{paint('bold', plain(item.filename))}{place} {paint(tone, item.code)} {plain(item.message)}\n")
    return "".join(lines)
