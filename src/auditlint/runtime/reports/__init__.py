"""A runtime check as text: one small module a format, imported when it is asked for.

`html` makes a page instead; it is called by itself because it may be wanted beside any of these.
"""

from __future__ import annotations

from collections.abc import Callable

from auditlint.runtime.report import Check, SyncReport

FORMATS = ("full", "concise", "json", "github", "sarif")


def render(format: str, check: Check, *, read: Callable[[str], bytes], color: bool, width: int) -> str:
    """Return the check as text in one of `FORMATS`; it ends with a newline unless it is empty.

    `color` and `width` (columns) concern `full` and `concise`. `read` gives the bytes of a file that the check names;
    none of these formats shows source yet needs it.
    """
    match format:
        case "full":
            from auditlint.runtime.reports import full

            return full.render(check, color, width)
        case "concise":
            from auditlint.runtime.reports import concise

            return concise.render(check, color)
        case "json":
            from auditlint.runtime.reports import json_

            return json_.render(check)
        case "github":
            from auditlint.runtime.reports import github

            return github.render(check)
        case "sarif":
            from auditlint.runtime.reports import sarif

            return sarif.render(check)
    raise ValueError(f"no such output format: {format}")


def table(report: SyncReport, *, width: int) -> str:
    """Return the sites in hooks and outside them as a table without colours."""
    from auditlint.reporters.style import Painter
    from auditlint.runtime.reports import full

    return "\n".join(full.tables(report, Painter(False), width))
