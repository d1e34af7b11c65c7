"""Colours for a terminal, and text that is safe to show on one."""

from __future__ import annotations

import unicodedata
from typing import NamedTuple

_CODES = {"bold": "1", "dim": "2", "red": "1;31", "yellow": "1;33", "blue": "1;34", "cyan": "36"}


class Painter(NamedTuple):
    """Wraps text in the escape codes of a named colour, or leaves it as it is."""

    color: bool

    def __call__(self, name: str, text: str) -> str:
        return f"\x1b[{_CODES[name]}m{text}\x1b[0m" if self.color and text else text


class Cell(NamedTuple):
    """What one character of a source line looks like, and how many columns it takes."""

    shown: str
    width: int


def cell(character: str) -> Cell:
    """Return how a character is shown: tabs as four blanks, and what could steer the terminal as a visible sign."""
    if " " <= character < "\x7f":
        return Cell(character, 1)
    if character == "\t":
        return Cell("    ", 4)
    if character == "\f":
        return Cell(" ", 1)
    match unicodedata.category(character):
        case "Mn" | "Me":
            return Cell(character, 0)
        # Controls, and format characters that can reorder the line (only joiners are harmless).
        case "Cc" | "Cf" | "Cs" | "Zl" | "Zp" | "Cn" if character != "\u200d":
            return Cell("\ufffd", 1)
        case "Cf":
            return Cell(character, 0)
    return Cell(character, 2 if unicodedata.east_asian_width(character) in "WF" else 1)


def plain(text: str) -> str:
    """Return `text` on one line, without anything that could steer a terminal."""
    return "".join(" " if character in "\t\f\r\n" else cell(character).shown for character in text)


def width_of(text: str) -> int:
    """Return the number of columns that a text without colours takes."""
    return len(text) if text.isascii() else sum(cell(character).width for character in text)
