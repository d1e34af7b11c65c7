"""Source files: bytes to text as Python reads them, and back."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlint.source.source_file import encode_text, parse_source


def test_lines_are_those_of_python() -> None:
    source = parse_source(b"a = 1\r\n\x0cb = 2\rc = '\\x0b \x0b'\n")
    assert source.lines == ("a = 1", "\x0cb = 2", "c = '\\x0b \x0b'", "")
    assert [node.lineno for node in ast.parse(source.data).body] == [1, 2, 3]


@pytest.mark.parametrize(
    ("data", "newline"), [(b"a\nb\r\n", "\n"), (b"a\r\nb\n", "\r\n"), (b"a\rb\n", "\r"), (b"a", "\n"), (b"", "\n")]
)
def test_the_first_line_ending_is_the_files(data: bytes, newline: str) -> None:
    assert parse_source(data).newline == newline


def test_a_byte_order_mark_is_no_text() -> None:
    source = parse_source(b"\xef\xbb\xbfx = 1\n")
    assert (source.bom, source.encoding, source.lines[0]) == (True, "utf-8", "x = 1")


@pytest.mark.parametrize(
    ("head", "encoding"),
    [
        ("# -*- coding: latin-1 -*-", "iso-8859-1"),
        ("#!/usr/bin/python\n# vim: set fileencoding=cp1252 :", "cp1252"),
        ("# coding: koi8-r", "koi8-r"),
        ("x = 1\ny = 2\n# coding: latin-1", "utf-8"),
    ],
)
def test_the_declared_encoding_counts_in_the_first_two_lines(head: str, encoding: str) -> None:
    source = parse_source(f"{head}\nname = 'x'\n".encode(encoding))
    assert (source.encoding, source.problem) == (encoding, "")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"x = '\xe9'\n", "cannot be decoded as utf-8: invalid continuation byte at byte 5"),
        (b"# coding: nonsense\n", "unknown encoding: nonsense"),
        (b"\xef\xbb\xbf# coding: latin-1\n", "encoding problem"),
        (b"x = 1\0\n", "NUL"),
        (b"# coding: ascii\nx = '\xc3\xa9'\n", "cannot be decoded as ascii"),
        (b"# coding: rot13\n", "rot13"),
    ],
)
def test_a_problem_is_told_and_the_lines_can_still_be_shown(data: bytes, words: str) -> None:
    source = parse_source(data)
    assert words in source.problem
    assert len(source.lines) == data.count(b"\n") + 1


@given(st.binary() | st.binary().map(lambda data: b"# coding: utf-7\n" + data))
def test_any_bytes_are_a_source_file(data: bytes) -> None:
    source = parse_source(data)
    assert source.data == data
    assert all("\n" not in line and "\r" not in line for line in source.lines)


@given(st.text(alphabet=st.characters(codec="utf-8")))
def test_text_goes_there_and_back(text: str) -> None:
    assert parse_source(encode_text(text)).text == "\n".join(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"))


def test_text_is_written_in_the_encoding_that_it_declares() -> None:
    assert encode_text("# coding: latin-1\nx = 'é'\n") == "# coding: latin-1\nx = 'é'\n".encode("latin-1")
