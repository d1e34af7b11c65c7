"""One file's bytes as Python sees them: encoding, byte order mark, line endings, lines."""

from __future__ import annotations

import io
from typing import NamedTuple

BOM = b"\xef\xbb\xbf"


class SourceFile(NamedTuple):
    """A file's text and how it was written.

    `lines` are split as Python splits them (`\\n`, `\\r\\n` and a lone `\\r`; a form feed does not end a line) and
    carry no line ending. `newline` is the ending of the first line, `"\\n"` for a file of one line. `problem` says
    why Python cannot read the file ("" when it can); `lines` are then a best effort, good enough to show.
    """

    data: bytes
    encoding: str
    bom: bool
    newline: str
    lines: tuple[str, ...]
    problem: str = ""

    @property
    def text(self) -> str:
        """The whole text with `\\n` line endings."""
        return "\n".join(self.lines)


def parse_source(data: bytes) -> SourceFile:
    """What `data` holds; never raises."""
    encoding, problem = _declared_encoding(data)
    bom = data.startswith(BOM)
    body = data[len(BOM) :] if bom else data
    try:
        text = body.decode(encoding)
    except (UnicodeError, LookupError) as error:
        problem = problem or f"cannot be decoded as {encoding}: {_reason(error)}"
        encoding = "utf-8"
        text = body.decode(encoding, "replace")
    if not problem and b"\0" in data:
        problem = "holds a NUL byte"
    return SourceFile(data, encoding, bom, _first_newline(text), _split(text), problem)


def encode_text(text: str) -> bytes:
    """`text` as bytes that Python decodes back to it: a PEP 263 comment in its first two lines is obeyed."""
    encoding, problem = _declared_encoding(text.encode("utf-8", "surrogatepass"))
    if not problem:
        try:
            return text.encode(encoding)
        except UnicodeError:
            pass
    return text.encode("utf-8", "replace")


def _declared_encoding(data: bytes) -> tuple[str, str]:
    """The encoding that PEP 263 gives `data`, and the complaint if that encoding is not to be had."""
    if b"coding" not in data[:4096]:
        return "utf-8", ""
    import tokenize

    try:
        # Lines after the second are never asked for, so one undecodable byte further down does no harm here.
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
    except (SyntaxError, UnicodeError, LookupError) as error:
        return "utf-8", str(error)
    return ("utf-8" if encoding == "utf-8-sig" else encoding), ""


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"{error.reason} at byte {error.start}"
    return str(error)


def _first_newline(text: str) -> str:
    end = len(text)
    feed, back = text.find("\n"), text.find("\r")
    feed, back = feed if feed >= 0 else end, back if back >= 0 else end
    if back < feed:
        return "\r\n" if feed == back + 1 else "\r"
    return "\n"


def _split(text: str) -> tuple[str, ...]:
    return tuple(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"))
