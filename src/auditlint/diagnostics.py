"""The words that every room speaks: where something is, which hook it happens in, how it is reached."""

from __future__ import annotations

from typing import NamedTuple


class Location(NamedTuple):
    """A point in a file; row and column are 1-based, the column counts code points."""

    row: int
    column: int


class Step(NamedTuple):
    """One function on the way from a hook to a site: its name, its file, and the row that leads on."""

    name: str
    filename: str
    row: int


class Hook(NamedTuple):
    """A callable that torch calls during forward or backward.

    `row` is where the callable is defined, `registered` the function, file and row of the registering call
    (the decorator, class or configuration entry for hooks that no call registers).
    """

    name: str
    filename: str
    row: int
    registrar: str
    registered: Step


class Edit(NamedTuple):
    """Replace the text from `location` up to `end_location` by `content`, whose lines end in `\\n`.

    `filename` is the file to change where that is not the one of the finding.
    """

    content: str
    location: Location
    end_location: Location
    filename: str = ""


class Fix(NamedTuple):
    """A rewrite that removes a sync; `applicability` is "safe" or "unsafe".

    `edits` do not overlap; those of several fixes may be the same edit, which is then made once. They are only there
    where somebody asked for them.
    """

    applicability: str
    message: str
    edits: tuple[Edit, ...]


class Diagnostic(NamedTuple):
    """One finding.

    `filename` is relative to the project root until the linter makes it relative to the working directory.
    `path` leads from the hook to the function that holds the site; its first step is the hook itself.
    `statement` holds the first and last row of the logical line around the site: a suppression comment
    counts anywhere in it. `noqa_row` is where such a comment is best put. `unfixed` says why there is no `fix` (""
    where nobody asked).
    """

    code: str
    name: str
    message: str
    filename: str
    location: Location
    end_location: Location
    confidence: str = "definite"
    hook: Hook | None = None
    path: tuple[Step, ...] = ()
    statement: tuple[int, int] = (0, 0)
    noqa_row: int = 0
    fix: Fix | None = None
    unfixed: str = ""
