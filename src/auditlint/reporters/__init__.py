"""Findings for people, CI and editors: one small module a format, imported when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from auditlint.diagnostics import Diagnostic

FORMATS = ("full", "concise", "json", "github", "gitlab", "sarif", "junit")


def render(
    format: str,
    diagnostics: Sequence[Diagnostic],
    *,
    read: Callable[[str], bytes],
    color: bool,
    width: int,
    unsafe_fixes: bool = False,
) -> str:
    """Return the findings as text in one of `FORMATS`; it ends with a newline unless it is empty.

    `read` gives the bytes of a file that a finding names. `color` and `width` (columns) concern `full` and `concise`;
    `unsafe_fixes`, which says that unsafe fixes are wanted, `concise`.
    """
    match format:
        case "full":
            from auditlint.reporters import full

            return full.render(diagnostics, read, color, width)
        case "concise":
            from auditlint.reporters import concise

            return concise.render(diagnostics, color, unsafe_fixes)
        case "json":
            from auditlint.reporters import json_

            return json_.render(diagnostics)
        case "github":
            from auditlint.reporters import github

            return github.render(diagnostics)
        case "gitlab":
            from auditlint.reporters import gitlab

            return gitlab.render(diagnostics, read)
        case "sarif":
            from auditlint.reporters import sarif

            return sarif.render(diagnostics)
        case "junit":
            from auditlint.reporters import junit

            return junit.render(diagnostics)
    raise ValueError(f"no such output format: {format}")


def statistics(diagnostics: Sequence[Diagnostic]) -> str:
    """Return one line a code, the most frequent first: count, code, name."""
    counts: dict[tuple[str, str], int] = {}
    for diagnostic in diagnostics:
        counts[diagnostic.code, diagnostic.name] = counts.get((diagnostic.code, diagnostic.name), 0) + 1
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    digits = len(str(ordered[0][1])) if ordered else 0
    return "".join(f"{count:>{digits}}  {code}  {name}\n" for (code, name), count in ordered)
