"""The report for people: what it shows, and that it fits."""

from __future__ import annotations

import re
import textwrap
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlint.diagnostics import Diagnostic, Fix, Hook, Location, Step
from auditlint.reporters import render, statistics

SOURCE = """\
def summarise(values):
    return float(values.mean().item())
"""
ESCAPES = re.compile("\x1b\\[[0-9;]*m")


def shown(*found: Diagnostic, source: str = SOURCE, width: int = 80, color: bool = False) -> str:
    return render("full", found, read=lambda name: source.encode("utf-8", "surrogatepass"), color=color, width=width)


def plainly(location: Location, end: Location, statement: tuple[int, int] = (0, 0)) -> Diagnostic:
    return Diagnostic("AUD101", "item-in-hook", "a sync", "a.py", location, end, statement=statement)


def marked(text: str) -> str:
    """Return what stands above the carets, of characters that are one column wide."""
    rows = text.split("\n")
    row = next(row for row, line in enumerate(rows) if set(line) <= set(" |^") and "^" in line)
    above, carets = rows[row - 1], rows[row]
    return above[carets.index("^") : carets.rindex("^") + 1]


def test_a_finding_shows_its_line_its_hook_and_the_way_to_it(finding: Diagnostic) -> None:
    assert shown(finding) == textwrap.dedent(
        """\
        pkg/stats.py:2:32 AUD101 `.item()` makes the host wait
          |
        2 |     return float(values.mean().item())
          |                                ^^^^^^
          = hook        Probe.hook             pkg/probe.py:18
          = registered  register_forward_hook  pkg/probe.py:12 in Probe.attach
          = path        Probe.hook             pkg/probe.py:21
                        summarise              pkg/stats.py:2
          = fix         safe: keep it on the device
        """
    )


def test_findings_are_parted_by_a_blank_line(finding: Diagnostic) -> None:
    assert shown(finding, finding) == shown(finding) + "\n" + shown(finding)
    assert shown() == ""


def test_a_path_within_the_hook_is_left_out(finding: Diagnostic) -> None:
    assert "path" not in shown(finding._replace(path=finding.path[:1]))


def test_a_possible_finding_has_a_milder_color(finding: Diagnostic) -> None:
    assert "\x1b[1;31mAUD101" in shown(finding, color=True)
    assert "\x1b[1;33mAUD101" in shown(finding._replace(confidence="possible"), color=True)


def test_without_color_there_is_no_escape_and_with_color_the_text_is_the_same(finding: Diagnostic) -> None:
    found = [finding, finding._replace(confidence="possible")]
    assert "\x1b" not in shown(*found)
    assert shown(*found, color=True) != shown(*found)
    assert ESCAPES.sub("", shown(*found, color=True)) == shown(*found)


def test_tabs_and_wide_characters_before_the_expression_do_not_move_the_carets() -> None:
    line = '\tx = f("日本", "e\u0301", y.item())'
    start = line.index("item") + 1
    report = shown(plainly(Location(1, start), Location(1, start + 6)), source=line).split("\n")
    assert report[2] == '1 |     x = f("日本", "e\u0301", y.item())'
    # Four columns for the tab, two for each of two wide characters, none for the combining accent.
    assert report[3] == "  | " + " " * (start - 1 + 3 + 2 - 1) + "^^^^^^"


def test_a_form_feed_takes_one_column() -> None:
    assert marked(shown(plainly(Location(1, 2), Location(1, 10)), source="\fx.item()\n")) == "x.item()"


def test_of_an_expression_over_several_rows_the_first_is_marked() -> None:
    report = shown(plainly(Location(1, 5), Location(3, 2)), source="x = f(  \n    1,\n)\n")
    assert marked(report) == "f("


def test_the_row_that_the_statement_begins_on_is_shown_too() -> None:
    source = "x = (\n    y\n    .item()\n)\n"
    report = shown(plainly(Location(3, 6), Location(3, 12), (1, 4)), source=source)
    assert report.split("\n")[1:6] == ["  |", "1 | x = (", "  :", "3 |     .item()", "  |      ^^^^^^"]
    report = shown(plainly(Location(2, 5), Location(2, 6), (1, 4)), source=source)
    assert report.split("\n")[1:5] == ["  |", "1 | x = (", "2 |     y", "  |     ^"]


@pytest.mark.parametrize("prefix", [0, 3, 40, 70, 75, 90, 500, 100_000])
@pytest.mark.parametrize("suffix", [0, 10, 500, 100_000])
def test_a_long_line_is_cut_around_the_expression(prefix: int, suffix: int) -> None:
    source = f"{'a' * prefix}[x.item()]{'b' * suffix}\n"
    report = shown(plainly(Location(1, prefix + 2), Location(1, prefix + 10)), source=source)
    assert marked(report) == "x.item()"
    assert max(map(len, report.split("\n"))) <= 80
    line = report.split("\n")[2][4:]
    assert len(line) == min(76, prefix + 10 + suffix) or len(line) >= 70
    assert line.startswith("...") == (line[0] != source[0])
    assert line.endswith("...") == (line[-1] != source[-2])


def test_an_expression_longer_than_the_width_is_marked_to_the_edge() -> None:
    source = f"y = {'x' * 300}\n"
    report = shown(plainly(Location(1, 5), Location(1, 305)), source=source)
    assert set(marked(report)) == {"x"}
    assert len(marked(report)) > 60
    assert max(map(len, report.split("\n"))) <= 80


def test_long_names_places_and_messages_are_laid_out_within_the_width(finding: Diagnostic) -> None:
    folder = "src/a_package/with/many/folders/in/which/there/is/one/more/folder"
    hook = Hook(
        "Outer.method.<locals>.a_hook" * 4,
        f"{folder}/a.py",
        1,
        "register",
        Step("f" * 70, f"{folder}/{folder}/b.py", 9),
    )
    path = (Step("Outer.method.<locals>.a_hook" * 4, f"{folder}/a.py", 2), Step("g", f"{folder}/{folder}/b.py", 3))
    long = finding._replace(hook=hook, path=path, message="several words " * 20, filename=f"{folder}/a.py")
    for width in (60, 80, 120):
        rows = shown(long, width=width).split("\n")
        # The place of the finding itself is never cut: editors and people follow it.
        assert rows[0].startswith(f"{folder}/a.py:2:32 AUD101")
        assert max(map(len, rows[1:])) <= width
        assert any(row.endswith(f"{folder}/a.py:1") for row in rows) == (width > 70)
        assert any(row.endswith("b.py:9") for row in rows)


@pytest.mark.parametrize(
    ("location", "source"),
    [(Location(9, 1), SOURCE), (Location(1, 1), ""), (Location(0, 0), SOURCE), (Location(2, 1), "x\n \n")],
)
def test_a_row_that_is_not_there_is_not_shown(location: Location, source: str) -> None:
    assert shown(plainly(location, location), source=source).count("\n") == 1


def test_a_file_that_is_gone_is_not_shown(finding: Diagnostic) -> None:
    def gone(name: str) -> bytes:
        raise FileNotFoundError(name)

    report = render("full", [finding], read=gone, color=False, width=80)
    assert report.startswith("pkg/stats.py:2:32 AUD101")
    assert "Probe.hook" in report


def test_nothing_in_a_file_can_steer_the_terminal(finding: Diagnostic) -> None:
    hostile = "x\x1b[2J\u202e\u2066\x9b\x00\ry.item()"
    hook = Hook(hostile, hostile, 1, hostile, Step(hostile, hostile, 1))
    full = finding._replace(message=hostile, filename=hostile, hook=hook, path=(Step(hostile, hostile, 1),) * 2)
    for report in (
        shown(full, source=f"#\n{hostile}"),
        render("concise", [full], read=str.encode, color=False, width=80),
    ):
        assert {unicodedata.category(c) for c in report if c != "\n"}.isdisjoint({"Cc", "Cf", "Cs"})


texts = st.text(st.characters(exclude_characters="\n\r"), max_size=60)
rows = st.integers(-1, 4)


@given(
    st.text(max_size=200),
    st.tuples(rows, st.integers(-2, 90), rows, st.integers(-2, 90), rows),
    texts,
    texts,
    st.integers(-5, 130),
)
def test_no_text_and_no_location_breaks_it(
    source: str, numbers: tuple[int, int, int, int, int], name: str, place: str, width: int
) -> None:
    row, column, last, end, first = numbers
    step = Step(name, place, row)
    found = Diagnostic(
        "AUD101",
        name,
        place,
        place,
        Location(row, column),
        Location(last, end),
        hook=Hook(name, place, row, name, step),
        path=(step, step),
        statement=(first, last),
        unfixed=place,
    )
    report = shown(found, source=source, width=width)
    assert report.endswith("\n")
    assert ESCAPES.sub("", shown(found, source=source, width=width, color=True)) == report


def test_concise_is_one_line_a_finding(finding: Diagnostic) -> None:
    report = render("concise", [finding._replace(fix=None)] * 2, read=lambda name: b"", color=False, width=80)
    assert report == "pkg/stats.py:2:32: AUD101 `.item()` makes the host wait\n" * 2


def test_concise_marks_what_can_be_fixed(finding: Diagnostic) -> None:
    def concise(found: Diagnostic, *, color: bool = False, unsafe_fixes: bool = False) -> str:
        read = str.encode
        return render("concise", [found], read=read, color=color, width=80, unsafe_fixes=unsafe_fixes)

    marked = "pkg/stats.py:2:32: AUD101 [*] `.item()` makes the host wait\n"
    unsafe = finding._replace(fix=Fix("unsafe", "", ()))
    assert concise(finding) == concise(finding, unsafe_fixes=True) == concise(unsafe, unsafe_fixes=True) == marked
    assert concise(unsafe) == marked.replace("[*] ", "")
    assert ESCAPES.sub("", concise(finding, color=True)) == marked


def test_why_there_is_no_fix_is_said_within_the_width(finding: Diagnostic) -> None:
    reason = "the value is read again in the hook before it ends, so that it cannot be read after the pass"
    none = finding._replace(fix=None, unfixed=reason)
    assert shown(none).split("\n")[-4:] == [
        "                summarise              pkg/stats.py:2",
        "  = fix         none: the value is read again in the hook before it ends, so",
        "                that it cannot be read after the pass",
        "",
    ]
    assert ESCAPES.sub("", shown(none, color=True)) == shown(none)
    assert "fix" not in shown(finding._replace(fix=None))


def test_statistics_count_codes_the_most_frequent_first(finding: Diagnostic) -> None:
    other = finding._replace(code="AUD102", name="cpu-copy-in-hook")
    assert statistics([finding, *[other] * 10]) == "10  AUD102  cpu-copy-in-hook\n 1  AUD101  item-in-hook\n"
    assert statistics([]) == ""
