"""Edits to bytes: which go together, and that everything else stays as it was."""

from __future__ import annotations

import codecs
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlint.diagnostics import Diagnostic, Edit, Fix, Location
from auditlint.fixes.applying.apply import Applied, apply

START = Location(1, 1)


def edit(row: int, column: int, end_row: int, end_column: int, content: str, filename: str = "") -> Edit:
    return Edit(content, Location(row, column), Location(end_row, end_column), filename)


def finding(*edits: Edit, filename: str = "a.py", row: int = 1) -> Diagnostic:
    at = Location(row, 1)
    return Diagnostic("AUD101", "item-in-hook", "a sync", filename, at, at, fix=Fix("safe", "defer it", edits))


def applied(files: Mapping[str, bytes], *found: Diagnostic) -> Applied:
    return apply(found, files.__getitem__)


def changed(data: bytes, *found: Diagnostic) -> bytes:
    """What the file a.py holds afterwards, where every fix is made."""
    result = applied({"a.py": data}, *found)
    assert result.refused == []
    return result.contents.get("a.py", data)


def reasons(result: Applied) -> list[str]:
    return [refusal.reason for refusal in result.refused]


def test_edits_in_one_statement_and_in_others_all_land() -> None:
    fixes = [finding(edit(2, 5, 2, 6, "pear"), edit(1, 1, 1, 1, "import z\n")), finding(edit(2, 1, 2, 2, "plum"))]
    assert changed(b"import q\na = b\n", *fixes) == b"import z\nimport q\nplum = pear\n"


def test_an_edit_that_fixes_share_is_made_once() -> None:
    shared = edit(1, 1, 1, 1, "import z\n")
    fixes = [finding(shared, edit(1, 5, 1, 6, "1")), finding(shared, edit(2, 5, 2, 6, "2"))]
    result = applied({"a.py": b"a = x\nb = y\n"}, *fixes)
    assert result.contents == {"a.py": b"import z\na = 1\nb = 2\n"}
    assert result.fixed == fixes


def test_a_fix_that_overlaps_an_earlier_one_waits_whole() -> None:
    first = finding(edit(1, 5, 1, 10, "f(x)"))
    second = finding(edit(1, 9, 1, 12, "g"), edit(2, 1, 2, 1, "import z\n"))
    third = finding(edit(1, 10, 1, 12, " + 1"))
    result = applied({"a.py": b"a = bbbbbcc\n"}, first, second, third)
    assert result.contents == {"a.py": b"a = f(x) + 1\n"}
    assert (result.fixed, result.refused) == ([first, third], [])


def test_of_two_insertions_at_one_point_one_waits() -> None:
    first, second = finding(edit(1, 1, 1, 1, "x = 1\n")), finding(edit(1, 1, 1, 1, "y = 1\n"))
    result = applied({"a.py": b"z = 1\n"}, first, second)
    assert (result.contents, result.fixed) == ({"a.py": b"x = 1\nz = 1\n"}, [first])


def test_an_insertion_may_touch_what_is_replaced_but_not_lie_in_it() -> None:
    replaced = finding(edit(1, 5, 1, 8, "new"))
    touching = [finding(edit(1, 5, 1, 5, "a + ")), finding(edit(1, 8, 1, 8, " + b"))]
    assert changed(b"x = old\n", replaced, *touching) == b"x = a + new + b\n"
    within = finding(edit(1, 6, 1, 6, "zz"))
    assert applied({"a.py": b"x = old\n"}, replaced, within).fixed == [replaced]


def test_a_fix_is_made_in_all_its_files_or_in_none() -> None:
    files = {"a.py": b"a = x\n", "b.py": b"b = y\n", "c.py": b"c = z\n"}
    both = finding(edit(1, 5, 1, 6, "1"), edit(1, 5, 1, 6, "2", "b.py"))
    result = applied(files, both)
    assert result.contents == {"a.py": b"a = 1\n", "b.py": b"b = 2\n"}
    assert result.together == [frozenset({"a.py", "b.py"})]
    taken = finding(edit(1, 1, 1, 6, "q = 0"), filename="b.py")
    other = finding(edit(1, 5, 1, 6, "3"), filename="c.py")
    result = applied(files, taken, both, other)
    assert result.contents == {"b.py": b"q = 0\n", "c.py": b"c = 3\n"}
    assert (result.fixed, result.together) == ([taken, other], [])


def test_a_result_that_python_would_not_read_is_not_handed_out_and_the_others_are() -> None:
    files = {"a.py": b"a = x\nb = y\n", "b.py": b"b = 1\n"}
    good, late = finding(edit(1, 5, 1, 6, "1")), finding(edit(2, 5, 2, 6, "2"))
    broken = finding(edit(2, 5, 2, 6, "(", ""), edit(1, 5, 1, 6, "0", "b.py"))
    result = applied(files, good, broken, late)
    assert result.contents == {"a.py": b"a = 1\nb = 2\n"}
    assert (result.fixed, reasons(result)) == ([good, late], ["the result would not be valid Python"])
    assert [refusal.diagnostic for refusal in result.refused] == [broken]


def test_what_parses_and_does_not_compile_is_refused_too() -> None:
    data = b"from __future__ import annotations\nx = 1\n"
    result = applied({"a.py": data}, finding(edit(1, 1, 1, 1, "import z\n")))
    assert (result.contents, reasons(result)) == ({}, ["the result would not be valid Python"])
    # Unless the file was no program before: then it is enough that it parses.
    assert changed(b"return 1\n", finding(edit(1, 8, 1, 9, "2"))) == b"return 2\n"


def test_an_edit_must_not_take_the_declared_encoding_away() -> None:
    data = "# coding: latin-1\nx = 'ü'\n".encode("latin-1")
    pushed = finding(edit(1, 1, 1, 1, "import a\nimport b\n"))
    assert applied({"a.py": data}, pushed).contents == {}
    # Bytes that are text in either encoding, but not the same one.
    assert applied({"a.py": "# coding: latin-1\nx = 'Ã¼'\n".encode("latin-1")}, pushed).contents == {}
    kept = finding(edit(2, 1, 2, 1, "import a\nimport b\n"))
    assert changed(data, kept) == "# coding: latin-1\nimport a\nimport b\nx = 'ü'\n".encode("latin-1")


def test_text_that_the_encoding_cannot_hold_is_refused() -> None:
    data = "# coding: latin-1\nx = 'ü'\n".encode("latin-1")
    result = applied({"a.py": data}, finding(edit(2, 5, 2, 8, "'日'")), finding(edit(2, 1, 2, 2, "é")))
    assert result.contents == {"a.py": "# coding: latin-1\né = 'ü'\n".encode("latin-1")}
    assert reasons(result) == ["iso-8859-1 has no place for `日`"]


def test_a_byte_order_mark_stays_and_is_no_column() -> None:
    assert changed(codecs.BOM_UTF8 + b"x = 1\n", finding(edit(1, 1, 1, 2, "ü"))) == codecs.BOM_UTF8 + "ü = 1\n".encode()


def test_columns_count_code_points() -> None:
    assert changed("x = '日本😀', y\n".encode(), finding(edit(1, 12, 1, 13, "z"))) == "x = '日本😀', z\n".encode()


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"])
def test_new_lines_end_as_the_line_that_they_are_put_at(ending: bytes) -> None:
    data = b"a = 1" + ending + b"b = 2\nc = 3" + ending + b"d = 4"
    fixes = [
        finding(edit(1, 6, 1, 6, "\nx = 1")),
        finding(edit(2, 1, 2, 1, "y = 1\n")),
        # A last line has no ending: that of the line above counts.
        finding(edit(4, 6, 4, 6, "\nz = 1")),
    ]
    expected = [b"a = 1", ending, b"x = 1", ending, b"y = 1\nb = 2\nc = 3", ending, b"d = 4", ending, b"z = 1"]
    assert changed(data, *fixes) == b"".join(expected)


@pytest.mark.parametrize(("row", "column", "content"), [(2, 1, "y = 1\n"), (1, 6, "\ny = 1")])
def test_a_missing_last_line_ending_stays_missing(row: int, column: int, content: str) -> None:
    assert changed(b"x = 1", finding(edit(row, column, row, column, content))) == b"x = 1\ny = 1"


def test_lines_can_go_with_their_endings() -> None:
    assert changed(b"a = 1\r\nb = 2\r\nc = 3\r\n", finding(edit(2, 1, 3, 1, ""))) == b"a = 1\r\nc = 3\r\n"


@pytest.mark.parametrize(
    ("edits", "reason"),
    [
        ([edit(9, 1, 9, 2, "")], "there is no row 9, column 1"),
        ([edit(1, 1, 1, 99, "")], "there is no row 1, column 99"),
        ([edit(0, 0, 0, 0, "x")], "there is no row 0, column 0"),
        ([edit(1, 3, 1, 2, "")], "an edit ends before it begins"),
        ([edit(1, 1, 1, 6, "x"), edit(1, 2, 1, 3, "y")], "its edits overlap"),
        ([edit(1, 1, 1, 1, "x"), edit(1, 1, 1, 1, "y")], "its edits overlap"),
    ],
)
def test_edits_that_make_no_sense_are_refused(edits: Sequence[Edit], reason: str) -> None:
    result = applied({"a.py": b"x = 1\n"}, finding(*edits))
    assert (result.contents, reasons(result)) == ({}, [reason])


@pytest.mark.parametrize("data", [b"x = '\xff'\n", b"# coding: nonsense\nx = 1\n", b"x = 1\0\n"])
def test_a_file_that_python_cannot_read_is_left_alone(data: bytes) -> None:
    result = applied({"a.py": data}, finding(edit(1, 1, 1, 1, "y = 1\n")))
    assert result.contents == {}
    assert reasons(result)[0].startswith("a.py: ")


def test_a_text_that_can_be_written_in_several_ways_is_left_alone() -> None:
    data = b"# coding: utf-7\nx = '+AGE-'\n"  # an `a` that utf-7 would write plainly
    assert reasons(applied({"a.py": data}, finding(edit(2, 1, 2, 2, "y")))) == [
        "a.py: its text can be written in several ways"
    ]


def test_a_fix_that_changes_nothing_changes_no_file() -> None:
    assert applied({"a.py": b"x = 1\n"}, finding(edit(1, 1, 1, 2, "x"))).contents == {}
    assert applied({"a.py": b"x = 1\n"}, finding()) == Applied({}, [], [], [])


# A file as the model sees it: rows of letters, each with its own ending. As each row is a comment, most of what is put
# between its letters leaves a program.
letters = st.text(st.sampled_from("ab é日😀\t\f\x1c\u2028"), max_size=6)
endings = st.sampled_from(["\n", "\r\n", "\r"])
rows = st.lists(st.tuples(letters, endings), min_size=1, max_size=6)
encodings = st.sampled_from(["utf-8", "utf-8-sig", "latin-1", "cp932", "koi8-r"])


class Case(NamedTuple):
    """A file in units (letters, and line endings as a whole), edits of it, and the same edits by index of unit."""

    encoding: str
    units: list[str]
    edits: list[Edit]
    changes: list[tuple[int, int, str]]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    encoding = draw(encodings)

    def written(text: str) -> list[str]:
        return [letter for letter in text if letter.encode(encoding, "ignore")]

    heading = "" if encoding.startswith("utf-8") else f" coding: {encoding}"
    units: list[str] = []
    places = []
    for number, (row, ending) in enumerate([(heading, "\n"), *draw(rows)], 1):
        for column, unit in enumerate(["#", *written(row), ending], 1):
            places.append(Location(number, column))
            units.append(unit)
    places.append(Location(places[-1].row + 1, 1))
    if draw(st.booleans()):
        units.pop()
        places.pop()
    first = len(heading) + 2
    points = sorted(draw(st.lists(st.integers(first, len(units)), unique=True, max_size=8)))
    edits, changes = [], []
    for start, end in zip(points[::2], points[1::2], strict=False):
        content = "".join(written(draw(st.sampled_from(["", "#x", "#\n#", "#é日"]))) or ["#"])
        edits.append(Edit(content, places[start], places[end]))
        changes.append((start, end, content))
    return Case(encoding, units, edits, changes)


def modelled(case: Case) -> str:
    """From the back to the front, each edit by itself."""
    left = list(case.units)
    for start, end, content in reversed(case.changes):
        below = (unit for unit in case.units[start:] if unit[0] in "\r\n")
        above = (unit for unit in reversed(case.units[:start]) if unit[0] in "\r\n")
        left[start:end] = [content.replace("\n", next(below, None) or next(above, "\n"))]
    return "".join(left)


@given(cases(), st.permutations(range(4)))
def test_edits_do_what_a_naive_model_does(case: Case, order: list[int]) -> None:
    data, expected = "".join(case.units).encode(case.encoding), modelled(case)
    result = applied({"a.py": data}, *(finding(case.edits[index]) for index in order if index < len(case.edits)))
    if result.refused:
        # Where the sign of a comment went, letters are left that are no program.
        assert set(reasons(result)) == {"the result would not be valid Python"}
        with pytest.raises(SyntaxError):
            compile(expected, "model", "exec")
    else:
        assert result.contents.get("a.py", data) == expected.encode(case.encoding)


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12), st.sampled_from(["", "1", "2"])), max_size=6))
def test_every_fix_that_is_left_out_overlaps_one_that_is_made(spans: list[tuple[int, int, str]]) -> None:
    fixes = [
        finding(edit(1, 2 + min(start, end), 1, 2 + max(start, end), content), row=number)
        for number, (start, end, content) in enumerate(spans, 1)
        if start != end or content
    ]
    result = applied({"a.py": b"#" + b"x" * 12 + b"\n"}, *fixes)
    made = [item.fix.edits[0] for item in result.fixed if item.fix]
    for item in fixes:
        if item in result.fixed or item.fix is None:
            continue
        own = item.fix.edits[0]
        assert any(
            (own.location < other.end_location and other.location < own.end_location)
            or (own.location == own.end_location == other.location == other.end_location)
            for other in made
        )
