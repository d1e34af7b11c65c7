"""Where a source names something that may make a callable a hook: plain searches, at the speed of memory."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from auditlint.config import Config
from auditlint.facts.registrars import DYNAMIC, HOOK_CLASSES, LIST_KEYWORDS, REGISTRARS

_DYNAMIC = re.compile(DYNAMIC.encode())
_WORD = re.compile(rb"\w*")
_IDENTIFIER = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
# `f"register_{kind}_hook"` is one word.
_BEFORE = _IDENTIFIER | frozenset(b"{}")


class Naming:
    """The names of registrars, of the project's own wrappers, and of what the configuration adds."""

    def __init__(self, config: Config, names: Iterable[str] = ()) -> None:
        configured = {*(name for name, _ in config.registrars), *config.decorators}
        wanted = {*names, *(name.rpartition(".")[2] for name in configured)}
        self._exact = {name.encode() for name in {*wanted, *REGISTRARS, *LIST_KEYWORDS, *HOOK_CLASSES}}
        # A file that holds none of these words names no registrar.
        self.words = [b"hook", *sorted(name.encode() for name in wanted if "hook" not in name)]
        self._plain = sorted({name for name in self._exact if b"hook" not in name.lower()} | {b"with_kwargs"})

    def may_occur(self, source: bytes | bytearray, size: int) -> bool:
        """Whether the first `size` bytes hold one of the words that every match has or stands beside."""
        return any(source.find(word, 0, size) >= 0 for word in self.words)

    def occurs(self, source: bytes | bytearray, size: int) -> bool:
        return next(self._positions(source, size), -1) >= 0

    def rows(self, source: bytes) -> list[int]:
        """Rows (1-based, ascending) that name a registrar."""
        if not self.may_occur(source, len(source)):
            return []
        return rows_at(source, sorted(self._positions(source, len(source))))

    def _positions(self, source: bytes | bytearray, size: int) -> Iterator[int]:
        for at in (*_places(source, b"hook", size), *_places(source, b"Hook", size)):
            start = at
            while start and source[start - 1] in _BEFORE:
                start -= 1
            word = _WORD.match(source, start, size)
            name = word[0] if word is not None else b""
            if (
                name in self._exact
                or _DYNAMIC.fullmatch(name)
                or source[start : start + 10] == b"register_{"
                or (name.endswith(b"_hooks") and source[start - 4 : start] == b"def ")
            ):
                yield at
        for name in self._plain:
            for at in _places(source, name, size):
                end = at + len(name)
                if not (at and source[at - 1] in _IDENTIFIER) and not (end < size and source[end] in _IDENTIFIER):
                    yield at


def _places(source: bytes | bytearray, word: bytes, size: int) -> Iterator[int]:
    at = source.find(word, 0, size)
    while at >= 0:
        yield at
        at = source.find(word, at + len(word), size)


def call_rows(source: bytes, name: bytes) -> list[int]:
    """Rows on which a name is called."""
    found = []
    for at in _places(source, name, len(source)):
        rest = source[at + len(name) : at + len(name) + 8].lstrip()
        if rest[:1] == b"(" and not (at and source[at - 1] in _IDENTIFIER):
            found.append(at)
    return rows_at(source, found)


def rows_at(source: bytes, positions: Iterable[int]) -> list[int]:
    """The rows of ascending positions, each once."""
    if b"\r" in source:
        # As Python counts them; no position moves.
        source = source.replace(b"\r\n", b" \n").replace(b"\r", b"\n")
    rows: list[int] = []
    row, last = 1, 0
    for at in positions:
        row += source.count(b"\n", last, at)
        last = at
        if not rows or rows[-1] != row:
            rows.append(row)
    return rows


def word_rows(source: bytes, word: bytes) -> list[int]:
    """Rows on which a word stands, or is part of a longer one."""
    return rows_at(source, _places(source, word, len(source)))
