"""Lint, fix what goes together, lint again: until nothing is left to fix, and without touching a file.

The new texts lie over those on disk while this goes on. A fix is only ever made in bytes that were linted themselves,
not in what a file holds by the time that its findings are known.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from auditlint import fixes
from auditlint.diagnostics import Diagnostic, Edit
from auditlint.fixes.applying.apply import Refusal, apply
from auditlint.linter import Result

MOST_ROUNDS = 10

Lint = Callable[[Mapping[str, bytes]], Result]


class Fixed(NamedTuple):
    """What fixing leads to.

    `found` are the findings at the beginning, `left` is the result at the end, with the fixes of what is left. `before`
    and `after` hold the bytes of each file that changes (under one of its names), `together` the files that one fix
    changes. `refused` are fixes that were not made; `unfinished` says that there was more to do after the last round.
    """

    found: list[Diagnostic]
    left: Result
    before: dict[str, bytes]
    after: dict[str, bytes]
    together: list[frozenset[str]]
    refused: list[Refusal]
    unfinished: bool


def fix(lint: Lint, *, unsafe: bool, alone: str | None = None) -> Fixed:
    """Fix what `lint` finds, with the unsafe fixes or without; `lint` takes bytes that stand in for files, by name.

    With `alone`, a file's name, no other file is changed.
    """
    before: dict[str, bytes] = {}
    after: dict[str, bytes] = {}
    together: dict[frozenset[str], None] = {}
    found: list[Diagnostic] | None = None
    for number in range(MOST_ROUNDS + 1):
        result, ready = _linted(lint, before, after, unsafe)
        found = result.diagnostics if found is None else found
        outside = [item for item in ready if alone is not None and _names(item) != {alone}]
        refused = [Refusal(item, "it changes other files too") for item in outside]
        inside = [item for item in ready if alone is None or _names(item) == {alone}]
        same = _canonical(after)
        made = apply((_renamed(item, same) for item in inside), after.__getitem__)
        refused += made.refused
        if not made.contents or number == MOST_ROUNDS:
            break
        after.update({name: made.contents[real] for name, real in same.items() if real in made.contents})
        together.update(dict.fromkeys(made.together))
    changed = [name for name, real in _canonical(after).items() if name == real and after[name] != before[name]]
    return Fixed(
        found or [],
        result,
        {name: before[name] for name in changed},
        {name: after[name] for name in changed},
        list(together),
        refused,
        bool(made.contents),
    )


def _linted(
    lint: Lint, before: dict[str, bytes], after: dict[str, bytes], unsafe: bool
) -> tuple[Result, list[Diagnostic]]:
    """The result with its fixes, and those of its findings that can be fixed, found in the bytes that `after` holds."""
    while True:
        result = lint(after)
        planned = fixes.planned(result, edits=False)
        if not _ready(planned, unsafe):
            return planned, []
        planned = fixes.planned(result, edits=True, together=lambda item: _applies(item, unsafe))
        ready = [item for item in _ready(planned, unsafe) if item.fix and item.fix.edits]
        unseen = _all_names(ready) - after.keys()
        if not unseen:
            return planned, ready
        for name in sorted(unseen):
            before[name] = after[name] = result.read(name)


def _ready(result: Result, unsafe: bool) -> list[Diagnostic]:
    return [item for item in result.diagnostics if _applies(item, unsafe)]


def _applies(item: Diagnostic, unsafe: bool) -> bool:
    return item.fix is not None and (unsafe or item.fix.applicability == "safe")


def _names(diagnostic: Diagnostic) -> set[str]:
    return {edit.filename or diagnostic.filename for edit in (diagnostic.fix.edits if diagnostic.fix else ())}


def _all_names(diagnostics: Iterable[Diagnostic]) -> set[str]:
    return set().union(*map(_names, diagnostics))


def _canonical(names: Iterable[str]) -> dict[str, str]:
    """Each name with the one name that stands for its file: links give a file several."""
    first: dict[str, str] = {}
    return {name: first.setdefault(os.path.realpath(name), name) for name in sorted(names)}


def _renamed(diagnostic: Diagnostic, names: Mapping[str, str]) -> Diagnostic:
    """The finding, with the file named in each of its edits."""
    if diagnostic.fix is None:
        return diagnostic

    def renamed(edit: Edit) -> Edit:
        return edit._replace(filename=names[edit.filename or diagnostic.filename])

    return diagnostic._replace(fix=diagnostic.fix._replace(edits=tuple(map(renamed, diagnostic.fix.edits))))
