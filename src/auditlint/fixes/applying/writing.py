"""Fixed files on disk: each is replaced whole, and only where it still holds what was linted."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping

from auditlint.source.atomic import write_atomically
from auditlint.source.discovery import FileError


def write_back(
    before: Mapping[str, bytes], after: Mapping[str, bytes], together: Iterable[frozenset[str]]
) -> list[FileError]:
    """Replace the files named in `after`, which held `before`; returns those that could not be, each with the reason.

    Of files that one fix changes `together`, none is written when it is known beforehand that one cannot be.
    """
    errors: list[FileError] = []
    for group in _groups(after, together):
        problems = [problem for name in group if (problem := _problem(name, before[name]))]
        if problems:
            held_up = sorted(set(group) - {problem.path for problem in problems})
            errors += [*problems, *(FileError(name, f"not fixed without {problems[0].path}") for name in held_up)]
            continue
        for name in group:
            # Looked at once more, right before it is replaced.
            problem = _problem(name, before[name]) or _replaced(name, after[name])
            errors += [problem] if problem else []
    return errors


def _replaced(name: str, data: bytes) -> FileError | None:
    try:
        write_atomically(name, data)
    except OSError as error:
        return FileError(name, f"cannot be written: {error.strerror or error}")
    return None


def _problem(name: str, before: bytes) -> FileError | None:
    """What keeps a file from being replaced, as far as looking at it tells."""
    try:
        with open(name, "rb") as file:
            now = file.read()
            mode = os.fstat(file.fileno()).st_mode
    except OSError as error:
        return FileError(name, f"cannot be read: {error.strerror or error}")
    if now != before:
        return FileError(name, "was changed by someone else meanwhile, and is left as it is")
    # Replacing a file needs no permission for the file itself, but whoever made it read-only meant it.
    if not (mode & 0o222 and os.access(name, os.W_OK)):
        return FileError(name, "is read-only, and is left as it is")
    return None


def _groups(names: Iterable[str], together: Iterable[frozenset[str]]) -> Iterator[list[str]]:
    """The names, sorted; those that belong together, directly or by way of others, in one group."""
    group_of = {name: {name} for name in names}
    for linked in together:
        merged = set().union(*(group_of.get(name, set()) for name in linked))
        group_of.update(dict.fromkeys(merged, merged))
    seen: set[str] = set()
    for name in sorted(group_of):
        if name not in seen:
            seen |= group_of[name]
            yield sorted(group_of[name])
