"""One line a finding, in the form that editors and grep know."""

from __future__ import annotations

from collections.abc import Sequence

from auditlint.diagnostics import Diagnostic
from auditlint.reporters.style import Painter, plain


def render(diagnostics: Sequence[Diagnostic], color: bool, unsafe_fixes: bool = False) -> str:
    """Return `file:row:column: CODE message` for each finding; `[*]` before the message marks what can be fixed.

    Unsafe fixes count with `unsafe_fixes`.
    """
    paint = Painter(color)
    lines = []
    for item in diagnostics:
        place = paint("dim", f":{item.location.row}:{item.location.column}:")
        tone = "yellow" if item.confidence == "possible" else "red"
        code = paint(tone, item.code)
        if item.fix and (unsafe_fixes or item.fix.applicability == "safe"):
            code += f" [{paint('cyan', '*')}]"
        lines.append(f"{paint('bold', plain(item.filename))}{place} {code} {plain(item.message)}\n")
    return "".join(lines)
