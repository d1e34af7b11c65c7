"""Unified diffs of bytes, such as `git apply` and `patch -p1` take them."""

from __future__ import annotations

import difflib
import io
import os
from collections.abc import Iterator

_NO_NEWLINE = b"\n\\ No newline at end of file\n"
_QUOTED = {"\n": "\\n", "\t": "\\t", "\r": "\\r", '"': '\\"', "\\": "\\\\"}


def unified_diff(name: str, before: bytes, after: bytes) -> bytes:
    """What leads from `before` to `after`; rows keep their bytes, whatever the encoding and the line endings."""
    return b"".join(_rows(name, before, after))


def _rows(name: str, before: bytes, after: bytes) -> Iterator[bytes]:
    path = name.replace(os.sep, "/").lstrip("/")
    old, new = (os.fsencode(_quoted(f"{side}/{path}")) for side in "ab")
    # Only a line feed ends a row, as in git: a carriage return before it is part of the row.
    rows, new_rows = (io.BytesIO(data).readlines() for data in (before, after))
    for row in difflib.diff_bytes(difflib.unified_diff, rows, new_rows, old, new):
        yield row if row.endswith(b"\n") else row + _NO_NEWLINE


def _quoted(path: str) -> str:
    """A path as git writes it: in quotes where it would break the line, followed by a tab where it has blanks."""
    if not _QUOTED.keys().isdisjoint(path):
        return '"' + "".join(_QUOTED.get(character, character) for character in path) + '"'
    return path + "\t" if " " in path else path
