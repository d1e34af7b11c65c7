"""`noqa` comments that are added keep the program, the bytes around them, and are enough."""

from __future__ import annotations

import ast
import textwrap

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from auditlint.diagnostics import Diagnostic, Location
from auditlint.source.suppressions import add_noqa, apply

FILE = "pkg/hooks.py"


def finding(row: int, first: int = 0, last: int = 0, code: str = "AUD101") -> Diagnostic:
    span = (first or row, last or row)
    return Diagnostic(
        code, "name", "message", FILE, Location(row, 1), Location(row, 2), statement=span, noqa_row=span[1]
    )


def added(data: bytes, *found: Diagnostic) -> bytes:
    """Return the file after `add_noqa`, checked: same program, nothing left to say, nothing done the second time."""
    written = {FILE: data}
    read, write = written.__getitem__, written.__setitem__
    add_noqa(found, read, write)
    once = written[FILE]
    assert ast.dump(ast.parse(once)) == ast.dump(ast.parse(data))
    assert apply(found, read, set()) == []
    assert add_noqa(found, read, write) == 0
    assert written[FILE] == once
    return once


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"x.item()\n", b"x.item()  # noqa: AUD101\n"),
        (b"x.item()", b"x.item()  # noqa: AUD101"),
        (b"x.item() \t\r\ny = 1\r\n", b"x.item()  # noqa: AUD101\r\ny = 1\r\n"),
        (b"x.item()\ry = 1\r", b"x.item()  # noqa: AUD101\ry = 1\r"),
        (b"x.item()  # type: ignore\n", b"x.item()  # type: ignore  # noqa: AUD101\n"),
        (b"x.item()  # noqa: E501\n", b"x.item()  # noqa: E501, AUD101\n"),
        (b"x.item()  # noqa: E501 # why\n", b"x.item()  # noqa: E501, AUD101 # why\n"),
        (b"x.item()  # auditlint: allow-sync[AUD2]\n", b"x.item()  # auditlint: allow-sync[AUD2]  # noqa: AUD101\n"),
        (b"\xef\xbb\xbfx.item()\n", b"\xef\xbb\xbfx.item()  # noqa: AUD101\n"),
        (b"x.item(), '# noqa'\n", b"x.item(), '# noqa'  # noqa: AUD101\n"),
    ],
)
def test_a_comment_is_added_or_joined(before: bytes, after: bytes) -> None:
    assert add_noqa([finding(1)], lambda name: before, lambda name, data: None) == 1
    written: dict[str, bytes] = {}
    add_noqa([finding(1)], lambda name: before, written.__setitem__)
    assert written == {FILE: after}
    assert ast.dump(ast.parse(before)) == ast.dump(ast.parse(after))


def test_several_codes_share_one_comment() -> None:
    assert (
        added(b"x.item()\n", finding(1, code="AUD201"), finding(1), finding(1)) == b"x.item()  # noqa: AUD101, AUD201\n"
    )


def test_the_encoding_stays() -> None:
    data = "# coding: shift_jis\nx.item(), '表ソ'\n".encode("shift_jis")
    assert added(data, finding(2)) == data[:-1] + b"  # noqa: AUD101\n"


@pytest.mark.parametrize(
    ("text", "row", "marked"),
    [
        # The statement's last row is the best place,
        ("f(\n    x.item(),\n)\n", 2, 3),
        # a row inside a string or before a backslash takes no comment,
        ('f(x.item(), """a\nb\n""")\n', 1, 3),
        ("y = x.item() + \\\n    1\n", 1, 2),
        ('f(x.item(), f"""a\n{b}\n""", 1)\n', 1, 3),
        # and of a compound statement in one line, its end.
        ("if x.item(): f(\n    1)\n", 1, 2),
    ],
)
def test_the_row_can_take_a_comment(text: str, row: int, marked: int) -> None:
    statement = ast.parse(text).body[0]
    rows = added(text.encode(), finding(row, 1, statement.end_lineno or 0)).decode().split("\n")
    assert [number for number, line in enumerate(rows, 1) if line.endswith("# noqa: AUD101")] == [marked]
    rows = added(text.encode(), finding(row)).decode().split("\n")
    assert sum(line.endswith("# noqa: AUD101") for line in rows) == 1


@pytest.mark.parametrize("data", [b"x = (\n", b"\0\n", b"# coding: nonsense\nx.item()\n", b"# \xff\nx.item()\n"])
def test_a_file_that_python_cannot_read_is_left_alone(data: bytes) -> None:
    written: dict[str, bytes] = {}
    assert add_noqa([finding(1)], lambda name: data, written.__setitem__) == 0
    assert not written


def test_a_file_that_cannot_be_analysed_gets_no_comment() -> None:
    written: dict[str, bytes] = {}
    assert add_noqa([finding(1, code="AUD900")], lambda name: b"x\n", written.__setitem__) == 0
    assert not written


STATEMENTS = st.sampled_from(
    [
        "x.item()",
        "x.item()  # noqa: E501",
        "x.item();y = 1 # é",
        "f(\n  x.item(),  # one\n\n  2,\n)",
        'f("""a\n# noqa\n""", \\\n  x)',
        "y = x \\\n  + 1",
        "if x: f(\n  1)",
        "def g(\n  a=x.item(),\n): return '''\n'''  # type: ignore",
        'z = f"{x!r:>{y}}" f"""\n{x}\n"""',
        "[\n]",
        "'''\\\n'''",
    ]
)


@given(st.lists(STATEMENTS, min_size=1, max_size=6), st.sampled_from(["\n", "\r\n", "\r"]), st.data())
def test_any_statement_of_any_file_can_be_silenced(parts: list[str], newline: str, data: st.DataObject) -> None:
    text = "\n".join(parts) + "\n"
    tree = ast.parse(text)
    found = []
    for node in tree.body:
        last = node.end_lineno or node.lineno
        row = data.draw(st.integers(node.lineno, last))
        found.append(finding(row, node.lineno, last))
    added(text.replace("\n", newline).encode(), *found)


@given(st.text("x=#'\"\\ \n\r\t\f()\x0bé:;", max_size=40), st.integers(1, 5))
@example("\r\t\x0b#", 1)  # begins with an indented line that is none
def test_whatever_the_text_a_change_keeps_the_program(text: str, row: int) -> None:
    written = {FILE: textwrap.dedent(text).encode()}
    before = written[FILE]
    add_noqa([finding(row)], written.__getitem__, written.__setitem__)
    if written[FILE] != before:
        try:
            program = ast.dump(ast.parse(before))
        except SyntaxError:
            return
        assert ast.dump(ast.parse(written[FILE])) == program
