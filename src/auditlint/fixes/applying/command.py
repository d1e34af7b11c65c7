"""`--fix` and `--diff`, between the command line and the fixer."""

from __future__ import annotations

import os

from auditlint import fixes
from auditlint.console import count, failed, warned
from auditlint.fixes.applying import rounds
from auditlint.fixes.applying.difference import unified_diff
from auditlint.fixes.applying.rounds import Fixed, Lint
from auditlint.fixes.applying.writing import write_back
from auditlint.linter import NO_FILE, Result, Shown, Stdin
from auditlint.reporters.closing import changed


def fix(lint: Lint, unsafe: bool, stdin: Stdin | None) -> Fixed:
    """Fix what `lint` finds, in memory, and say which fixes were not made; of `stdin` that text alone."""
    alone = Shown().path(os.path.abspath(stdin.filename or NO_FILE)) if stdin else None
    fixed = rounds.fix(lint, unsafe=unsafe, alone=alone)
    for item, reason in fixed.refused:
        warned(f"{item.filename}:{item.location.row}:{item.location.column}: {item.code} is not fixed: {reason}")
    if fixed.unfinished:
        warned(f"fixes were still being made after {rounds.MOST_ROUNDS} rounds; run it again for the rest")
    return fixed


def difference(fixed: Fixed) -> bytes:
    """What fixing changes, as one diff."""
    return b"".join(unified_diff(name, fixed.before[name], fixed.after[name]) for name in sorted(fixed.after))


def tell_unreadable(fixed: Fixed) -> None:
    """Say which files cannot be analysed; a diff has no other place for it."""
    for item in fixed.left.diagnostics:
        if item.code == "AUD900":
            warned(f"{item.filename}:{item.location.row}:{item.location.column}: {item.code} {item.message}")


def would_fix(fixed: Fixed) -> str:
    """One line about it."""
    gone, _ = changed(fixed.found, fixed.left.diagnostics)
    return f"Would fix {gone} of {count(len(fixed.found), 'finding')}." if fixed.after else "Nothing to fix."


def written(fixed: Fixed, lint: Lint) -> Result:
    """Write the files; returns what is left, with its fixes and an error for each file that could not be written.

    The errors have been told by then.
    """
    errors = write_back(fixed.before, fixed.after, fixed.together)
    if not errors:
        return fixed.left
    for path, message in errors:
        failed(f"{path}: {message}")
    left = fixes.planned(lint({}), edits=False)
    return left._replace(errors=[*left.errors, *errors])
