"""What all commands share: exit statuses, errors in one line, parsers that complain so, and where reports go.

Imports nothing that takes time.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # type checkers take it for true; `typing` itself takes longer to import than a version to print
if TYPE_CHECKING:
    import argparse
    from typing import Any, NoReturn, TextIO

CLEAN, FOUND, FAILED, INTERRUPTED = 0, 1, 2, 130

# Formats that may be coloured, and that fit a width.
FOR_PEOPLE = ("full", "concise")


class UsageError(Exception):
    """A command line that cannot be obeyed; the message is one line."""


def failed(message: str) -> int:
    """Say in one line on standard error what is wrong; returns the exit status."""
    print(f"auditlint: error: {message}", file=sys.stderr)
    return FAILED


def new_parser(**settings: Any) -> argparse.ArgumentParser:
    """A parser whose complaints are one line, as all of ours are: it raises UsageError."""
    import argparse

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            raise UsageError(f"{message} (see `{self.prog} --help`)")

    # Flags are not to be shortened: `--fix` must never mean `--fixture`.
    return Parser(allow_abbrev=False, **settings)


def write(text: str, output_file: str | None, stream: TextIO) -> None:
    """Write a report to the file of that name, else to `stream`.

    Raises:
        UsageError: the file cannot be written.
    """
    if output_file is None:
        stream.write(text)
        return
    try:
        with open(output_file, "w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            file.write(text)
    except OSError as error:
        raise UsageError(f"{output_file}: cannot be written: {error.strerror}") from None


def write_bytes(data: bytes, output_file: str | None, stream: TextIO) -> None:
    """Write what must reach its reader byte by byte to the file of that name, else to `stream`.

    Raises:
        UsageError: the file cannot be written.
    """
    if output_file is None:
        stream.flush()
        stream.buffer.write(data)
        stream.buffer.flush()
        return
    try:
        with open(output_file, "wb") as file:
            file.write(data)
    except OSError as error:
        raise UsageError(f"{output_file}: cannot be written: {error.strerror}") from None


def warned(message: str) -> None:
    """Say in one line on standard error what the user should know, though nothing failed."""
    print(f"auditlint: warning: {message}", file=sys.stderr)


def wants_color(stream: TextIO) -> bool:
    """Whether text on `stream` is to be coloured: NO_COLOR and FORCE_COLOR decide, else whether it is a terminal."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def width_of(stream: TextIO) -> int:
    """Columns to fill: those of COLUMNS, else of the terminal, else 80."""
    try:
        return max(40, int(os.environ.get("COLUMNS") or os.get_terminal_size(stream.fileno()).columns))
    except (OSError, ValueError):
        return 80


def count(number: int, noun: str) -> str:
    """A number with its noun: "1 sync", "2 syncs"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
