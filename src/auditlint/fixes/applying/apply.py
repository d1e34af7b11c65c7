"""Edits to bytes: which fixes go together, and what their files hold afterwards.

Everything that no edit touches keeps its bytes: encoding, byte order mark, the ending of each line, a last line without
one. What would not be a program any more is never handed out.
"""

from __future__ import annotations

import itertools
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from auditlint.diagnostics import Diagnostic, Edit, Location
from auditlint.source.source_file import BOM, SourceFile, parse_source

_ENDING = re.compile("\r\n|\r|\n")
# What `compile` raises for bytes that are no program, and for those that are too deeply nested to be one.
_NO_PROGRAM = (SyntaxError, ValueError, RecursionError, MemoryError)


class Refusal(NamedTuple):
    """A finding whose fix is not made, and why."""

    diagnostic: Diagnostic
    reason: str


class Applied(NamedTuple):
    """The files that change, with what they hold then; the findings whose fixes that makes; and those refused.

    `together` are the files that one fix changes, for each fix that changes several. A finding that is in neither list
    has a fix that overlaps another one's: it has to be found again in the new text.
    """

    contents: dict[str, bytes]
    fixed: list[Diagnostic]
    together: list[frozenset[str]]
    refused: list[Refusal]


class _Change(NamedTuple):
    """Replace the characters from `start` up to `end`, line endings counted as they are, by `text`."""

    start: int
    end: int
    text: str


class _Refused(Exception):
    """A fix that cannot be made; the message is the reason."""


def apply(diagnostics: Iterable[Diagnostic], read: Callable[[str], bytes]) -> Applied:
    """Make the fixes of these findings, as far as they go together; of two that do not, the first is made.

    `read` gives the bytes of a file that a finding or an edit names. A fix is made in all of its files or in none, and
    an edit that several fixes share is made once.
    """
    texts = _Texts(read)
    wanted: list[tuple[Diagnostic, dict[str, list[_Change]]]] = []
    refused = []
    for diagnostic in diagnostics:
        try:
            wanted.append((diagnostic, _changes(diagnostic, texts)))
        except _Refused as error:
            refused.append(Refusal(diagnostic, str(error)))
    choice = _Choice(texts)
    made = [fix for fix in wanted if choice.takes(fix[1])]
    if not choice.is_sound(choice.changes):
        # One of them is wrong: each has to prove itself upon those before it.
        choice = _Choice(texts)
        made = []
        for diagnostic, changes in wanted:
            if not choice.fits(changes):
                continue
            if not choice.is_sound(changes):
                refused.append(Refusal(diagnostic, "the result would not be valid Python"))
            elif choice.takes(changes):
                made.append((diagnostic, changes))
    contents = {name: data for name in choice.changes if (data := choice.content(name)) != texts[name].file.data}
    together = dict.fromkeys(frozenset(changes) for _, changes in made if len(changes) > 1)
    return Applied(contents, [diagnostic for diagnostic, _ in made], list(together), refused)


class _Text:
    """A file's text with its own line endings, and where in it each row begins and ends."""

    def __init__(self, data: bytes) -> None:
        self.file = parse_source(data)
        body = data[len(BOM) :] if self.file.bom else data
        self.raw = "" if self.file.problem else body.decode(self.file.encoding)
        # Some encodings can write a text in several ways: what stays has to stay as it was written.
        self.problem = self.file.problem or (
            "" if self.encoded(self.raw) == data else "its text can be written in several ways"
        )
        endings = list(_ENDING.finditer(self.raw))
        self.starts = [0, *(found.end() for found in endings)]
        self.ends = [*(found.start() for found in endings), len(self.raw)]

    def change(self, edit: Edit) -> _Change:
        """The edit in terms of the text. Raises _Refused."""
        (row, _), content = edit.location, edit.content
        if row == len(self.starts) + 1 and self.starts[-1] < self.ends[-1] and edit.location == edit.end_location:
            # A new line below a last one that has no ending: neither has the new one then.
            return _Change(len(self.raw), len(self.raw), self._with_endings("\n" + content.removesuffix("\n"), row))
        start, end = self._offset(edit.location), self._offset(edit.end_location)
        if end < start:
            raise _Refused("an edit ends before it begins")
        text = self._with_endings(content, row)
        try:
            text.encode(self.file.encoding)
        except UnicodeEncodeError as error:
            character = error.object[error.start : error.end]
            raise _Refused(f"{self.file.encoding} has no place for `{character}`") from None
        return _Change(start, end, text)

    def encoded(self, raw: str) -> bytes:
        return (BOM if self.file.bom else b"") + raw.encode(self.file.encoding, "replace")

    def _offset(self, location: Location) -> int:
        row, column = location
        if not 1 <= row <= len(self.starts) or not 1 <= column <= self.ends[row - 1] - self.starts[row - 1] + 1:
            raise _Refused(f"there is no row {row}, column {column}")
        return self.starts[row - 1] + column - 1

    def _with_endings(self, content: str, row: int) -> str:
        return content.replace("\n", self._ending(row)) if "\n" in content else content

    def _ending(self, row: int) -> str:
        """The ending of a row, of the one above where it has none, of the first row where there is none above."""
        for index in (row - 1, row - 2):
            if 0 <= index < len(self.starts) - 1:
                return self.raw[self.ends[index] : self.starts[index + 1]]
        return self.file.newline


class _Texts(dict[str, _Text]):
    """Each file's text, read when it is first asked for."""

    def __init__(self, read: Callable[[str], bytes]) -> None:
        super().__init__()
        self._read = read

    def __missing__(self, name: str) -> _Text:
        self[name] = _Text(self._read(name))
        return self[name]


def _changes(diagnostic: Diagnostic, texts: _Texts) -> dict[str, list[_Change]]:
    """The changes that a finding's fix makes in each file, sorted. Raises _Refused."""
    changes: dict[str, set[_Change]] = {}
    for edit in diagnostic.fix.edits if diagnostic.fix else ():
        name = edit.filename or diagnostic.filename
        text = texts[name]
        if text.problem:
            raise _Refused(f"{name}: {text.problem}")
        changes.setdefault(name, set()).add(text.change(edit))
    ordered = {name: sorted(found) for name, found in changes.items()}
    for found in ordered.values():
        # Sorted, so that a clash is one between neighbours: the one that begins first and whichever begins in it.
        if any(_clash(one, other) for one, other in itertools.pairwise(found)):
            raise _Refused("its edits overlap")
    return ordered


def _clash(one: _Change, other: _Change) -> bool:
    """Whether two different changes cannot both be made."""
    if one.start == one.end == other.start == other.end:
        return True  # nobody says which of two insertions comes first
    return one.start < other.end and other.start < one.end


class _Choice:
    """The changes chosen so far, by file."""

    def __init__(self, texts: _Texts) -> None:
        self.texts = texts
        self.changes: dict[str, list[_Change]] = {}

    def fits(self, changes: dict[str, list[_Change]]) -> bool:
        """Whether these changes go together with those chosen."""
        return not any(
            one != other and _clash(one, other)
            for name, found in changes.items()
            for one in found
            for other in self.changes.get(name, ())
        )

    def takes(self, changes: dict[str, list[_Change]]) -> bool:
        """Choose these changes too, where they fit; returns whether they did and there are any."""
        if not changes or not self.fits(changes):
            return False
        self.changes.update(self._with(changes))
        return True

    def is_sound(self, changes: dict[str, list[_Change]]) -> bool:
        """Whether the files of `changes` are still what Python reads when these are made too."""
        together = self._with(changes)
        return all(_is_sound(self.texts[name], _edited(self.texts[name].raw, together[name])) for name in changes)

    def content(self, name: str) -> bytes:
        text = self.texts[name]
        return text.encoded(_edited(text.raw, self.changes[name]))

    def _with(self, changes: dict[str, list[_Change]]) -> dict[str, list[_Change]]:
        """The changes chosen in the files of `changes`, with these."""
        return {name: sorted({*self.changes.get(name, ()), *found}) for name, found in changes.items()}


def _edited(raw: str, changes: Sequence[_Change]) -> str:
    return "".join(_pieces(raw, changes))


def _pieces(raw: str, changes: Sequence[_Change]) -> Iterator[str]:
    at = 0
    for change in changes:
        yield raw[at : change.start]
        yield change.text
        at = change.end
    yield raw[at:]


def _is_sound(text: _Text, raw: str) -> bool:
    data = text.encoded(raw)
    # A line put above the comment that declares an encoding may leave it without effect.
    after: SourceFile = parse_source(data)
    if after.problem or after.encoding != text.file.encoding or after.lines != tuple(_ENDING.split(raw)):
        return False
    return _compiles(data) or (_parses(data) and not _compiles(text.file.data))


def _compiles(data: bytes) -> bool:
    return _is_program(data, 0)


def _parses(data: bytes) -> bool:
    import ast

    return _is_program(data, ast.PyCF_ONLY_AST)


def _is_program(data: bytes, flags: int) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(data, "<fixed>", "exec", flags, dont_inherit=True)
    except _NO_PROGRAM:
        return False
    return True
