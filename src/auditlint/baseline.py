"""Known findings, kept in a file so that only new ones are shown.

A finding is known by its file, its code, its hook and the text of its statement, never by its row: code that moves
stays known. Each such key has a count, so a second copy of a known line is new. The file is JSON, sorted, with one
finding a line group, and names files relative to its own folder, so that it can be kept under version control.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from auditlint.diagnostics import Diagnostic
from auditlint.source.logical_lines import layout
from auditlint.source.source_file import parse_source

_VERSION = 1
_LONGEST_TEXT = 160
_BLANKS = re.compile(r"\s+")
_FIELDS = ("filename", "code", "hook", "statement")


class Key(NamedTuple):
    """What a finding is recognised by, whatever its row."""

    filename: str
    code: str
    hook: str
    statement: str


class Baseline(NamedTuple):
    """The known findings, with file names relative to `folder`."""

    folder: str
    counts: dict[Key, int]


def write(path: str, diagnostics: Iterable[Diagnostic], read: Callable[[str], bytes]) -> None:
    """Write these findings, and nothing else, as the baseline at `path`."""
    import json

    from auditlint.source.atomic import write_atomically

    counts = Counter(key for _, key in keyed(diagnostics, read, _folder(path)))
    findings = [{**key._asdict(), "count": count} for key, count in sorted(counts.items())]
    text = json.dumps({"version": _VERSION, "findings": findings}, indent=1)
    write_atomically(path, text.encode("ascii") + b"\n")


def load(path: str) -> Baseline:
    """Return the baseline at `path`; ValueError, with a message for its user, when it is not one."""
    import json

    with open(path, "rb") as file:
        data = file.read()
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _damage(path, f"not JSON ({error})") from None
    findings = document.get("findings") if isinstance(document, dict) else None
    if not isinstance(findings, list):
        raise _damage(path, "no list of findings in it")
    if document.get("version") != _VERSION:
        raise ValueError(f"{path} is a baseline of version {document.get('version')!r}, not {_VERSION}; write it anew")
    counts: Counter[Key] = Counter()
    for number, entry in enumerate(findings, 1):
        key, count = _entry(path, number, entry)
        # Two branches that were merged may both have brought the same entry.
        counts[key] += count
    return Baseline(_folder(path), dict(counts))


def filter(diagnostics: Iterable[Diagnostic], baseline: Baseline, read: Callable[[str], bytes]) -> list[Diagnostic]:
    """Return the findings that the baseline does not know: of several with one key, those that come last."""
    left = dict(baseline.counts)
    new = []
    for diagnostic, key in keyed(diagnostics, read, baseline.folder):
        if left.get(key, 0) > 0:
            left[key] -= 1
        else:
            new.append(diagnostic)
    return new


def keyed(diagnostics: Iterable[Diagnostic], read: Callable[[str], bytes], folder: str) -> list[tuple[Diagnostic, Key]]:
    """Return each finding with its key, sorted by place; file names are made relative to `folder`."""
    sources: dict[str, _Source] = {}
    pairs = []
    for diagnostic in sorted(diagnostics, key=lambda item: (item.filename, item.location, item.code)):
        filename = diagnostic.filename
        if filename not in sources:
            sources[filename] = _source(filename, read)
        hook = diagnostic.hook.name if diagnostic.hook else ""
        text = _statement(diagnostic, sources[filename])
        pairs.append((diagnostic, Key(_relative(filename, folder), diagnostic.code, hook, text)))
    return pairs


class _Source(NamedTuple):
    """A file's rows, and for each row with a comment the index at which that begins."""

    rows: tuple[str, ...]
    comments: dict[int, int]


def _source(filename: str, read: Callable[[str], bytes]) -> _Source:
    try:
        found = layout(parse_source(read(filename)).text)
    except OSError:
        return _Source((), {})
    return _Source(found.rows, {comment.row: comment.column - 1 for comment in found.comments})


def _statement(diagnostic: Diagnostic, source: _Source) -> str:
    """Return the statement's text without comments, with single blanks; long ones are cut and sealed with a hash."""
    row = diagnostic.location.row
    first = max(1, diagnostic.statement[0] or row)
    last = max(first, diagnostic.statement[1] or row)
    rows = [line[: source.comments.get(number)] for number, line in enumerate(source.rows[first - 1 : last], first)]
    text = _BLANKS.sub(" ", " ".join(rows)).strip()
    if len(text) <= _LONGEST_TEXT:
        return text
    import hashlib

    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{text[:_LONGEST_TEXT]}... {digest[:16]}"


def _folder(path: str) -> str:
    return os.path.dirname(os.path.abspath(path))


def _relative(filename: str, folder: str) -> str:
    path = os.path.abspath(filename)
    # A path on another drive cannot be made relative.
    if os.path.splitdrive(path)[0] == os.path.splitdrive(folder)[0]:
        path = os.path.relpath(path, folder)
    return path.replace(os.sep, "/")


def _entry(path: str, number: int, entry: Any) -> tuple[Key, int]:
    if isinstance(entry, dict):
        values = [value for field in _FIELDS if isinstance(value := entry.get(field), str)]
        count = entry.get("count")
        if len(values) == len(_FIELDS) and type(count) is int and count > 0:
            return Key(*values), count
    raise _damage(path, f"finding {number} is damaged")


def _damage(path: str, what: str) -> ValueError:
    return ValueError(f"{path} is not a baseline: {what}")
