"""The line below a report for people: how much was found, fixed, and could be fixed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from auditlint.console import count
from auditlint.diagnostics import Diagnostic


def closing(diagnostics: Sequence[Diagnostic], *, unsafe_fixes: bool = False) -> str:
    """Return the line for a run that fixed nothing; `unsafe_fixes` says that the user asks for unsafe fixes too."""
    if not diagnostics:
        return "All checks passed!\n"
    safe, unsafe = _fixable(diagnostics)
    if unsafe_fixes or not safe:
        both = safe + unsafe
        fixable = f"{both} fixable with --fix{' --unsafe-fixes' if unsafe else ''}" if both else ""
    else:
        fixable = f"{safe} fixable with --fix" + (f", {unsafe} more with --unsafe-fixes" if unsafe else "")
    return f"Found {_amount(diagnostics)}{f' ({fixable})' if fixable else ''}.\n"


def closing_after_fixes(found: Sequence[Diagnostic], left: Sequence[Diagnostic], *, unsafe_fixes: bool) -> str:
    """Return the line for a run with `--fix` that had `found` at its beginning and has `left` at its end."""
    if not found and not left:
        return "All checks passed!\n"
    fixed, new = changed(found, left)
    unsafe = 0 if unsafe_fixes else _fixable(left)[1]
    parts = [f"{fixed} fixed, {len(left) - new} left", f", {new} new" if new else ""]
    parts += [f"; {unsafe} fixable with --unsafe-fixes" if unsafe else ""]
    return f"Found {_amount(found or left)} ({''.join(parts)}).\n"


def changed(found: Sequence[Diagnostic], left: Sequence[Diagnostic]) -> tuple[int, int]:
    """Return how many findings are gone, and how many have come."""
    before, after = (Counter((item.filename, item.code) for item in each) for each in (found, left))
    return (before - after).total(), (after - before).total()


def _fixable(diagnostics: Sequence[Diagnostic]) -> tuple[int, int]:
    """How many of the findings have a safe fix, and how many an unsafe one."""
    fixes = [item.fix.applicability for item in diagnostics if item.fix]
    safe = fixes.count("safe")
    return safe, len(fixes) - safe


def _amount(diagnostics: Sequence[Diagnostic]) -> str:
    # Findings about what is kept (AUD3xx), and about files and comments (AUD9xx), are no syncs.
    syncs = [item for item in diagnostics if not item.code.startswith(("AUD3", "AUD9"))]
    hooks = {(item.hook.filename, item.hook.row, item.hook.name) for item in syncs if item.hook}
    others = len(diagnostics) - len(syncs)
    parts = []
    if syncs:
        parts.append(count(len(syncs), "sync") + (f" in {count(len(hooks), 'hook')}" if hooks else ""))
    if others:
        parts.append(count(others, "other finding" if syncs else "finding"))
    return " and ".join(parts)
