"""Which findings a comment silences, and which comments are reported."""

from __future__ import annotations

import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlint.diagnostics import Diagnostic, Location
from auditlint.source.suppressions import Allowance, allowances, apply, may_hold_directives

FILE = "pkg/hooks.py"


def finding(row: int, code: str = "AUD101", statement: tuple[int, int] | None = None) -> Diagnostic:
    span = statement or (row, row)
    return Diagnostic(
        code, "name", "message", FILE, Location(row, 5), Location(row, 9), statement=span, noqa_row=span[1]
    )


def judge(text: str, *found: Diagnostic, **options: bool) -> list[tuple[str, int]]:
    """Return code and row of what is left; AUD901 and AUD902 included."""
    data = textwrap.dedent(text).encode()
    left = apply(list(found), lambda name: data, {FILE}, **options)
    return [(item.code, item.location.row) for item in left]


@pytest.mark.parametrize(
    "comment",
    [
        "# noqa",
        "#noqa",
        "# NoQA",
        "# noqa: AUD101",
        "# noqa:AUD101",
        "# noqa : AUD101",
        "# noqa: aud101",
        "# noqa: AUD1",
        "# noqa: AUD101, AUD2",
        "# noqa: E501 AUD101",
        "# noqa: E501,AUD101 because it is read once",
        "# type: ignore  # noqa: AUD101",
        "# noqa: some words and no code",
        "# auditlint: allow-sync one read per step",
        "# auditlint: allow-sync[AUD101] one read per step",
        "# auditlint: allow-sync[AUD2, AUD101] one read per step",
        "# AuditLint:allow-sync[aud1]",
        "# type: ignore  # auditlint: allow-sync why not  # noqa: E501",
    ],
)
def test_a_trailing_comment_silences_its_statement(comment: str) -> None:
    assert judge(f"x = y.item()  {comment}\n", finding(1), report_unused=False) == []


@pytest.mark.parametrize(
    "comment",
    [
        "# noqa: E501",
        "# noqa: AUD102",
        "# noqanything",
        "# auditlint: allow-sync[AUD102] a reason",
        "# auditlint: allow-synchronisation of everything",
        "# auditlint: something else",
    ],
)
def test_a_comment_about_something_else_silences_nothing(comment: str) -> None:
    assert judge(f"x = y.item()  {comment}\n", finding(1), report_unused=False) == [("AUD101", 1)]


def test_a_comment_inside_a_string_is_no_comment() -> None:
    text = 'x = y.item(), "# noqa: AUD101", """\n# auditlint: allow-sync[AUD101] no\n"""\n'
    assert judge(text, finding(1, statement=(1, 3))) == [("AUD101", 1)]


def test_a_noqa_counts_on_every_row_of_the_statement() -> None:
    text = """\
    total = add(
        x.item(),  # a value
        1,
    )  # noqa: AUD101
    y.item()
    """
    assert judge(text, finding(2, statement=(1, 4)), finding(5)) == [("AUD101", 5)]


def test_the_logical_line_counts_even_where_the_finding_knows_only_its_own_row() -> None:
    assert judge("f(\n    x.item(),\n)  # noqa: AUD101\n", finding(2)) == []


def test_an_own_line_comment_speaks_for_the_statement_below_it() -> None:
    text = """\
    def hook(module, args, output):
        # auditlint: allow-sync[AUD101] read once per epoch
        # and this is said at some length
        save(
            output.item(),
        )
        output.item()
    """
    assert judge(text, finding(5, statement=(4, 6)), finding(7)) == [("AUD101", 7)]


def test_an_own_line_comment_inside_brackets_speaks_for_the_statement_around_it() -> None:
    text = "save(\n    # auditlint: allow-sync[AUD101] read once\n    x.item(),\n)\n"
    assert judge(text, finding(3, statement=(1, 4))) == []


def test_a_blank_row_parts_an_own_line_comment_from_a_statement() -> None:
    text = "# auditlint: allow-sync[AUD101] read once\n\nx.item()\n"
    assert judge(text, finding(3)) == [("AUD901", 1), ("AUD101", 3)]


@pytest.mark.parametrize(
    "header",
    [
        "def hook(m, a, out):  # auditlint: allow-sync[AUD101] debugging aid",
        "async def hook(m, a, out):  # auditlint: allow-sync[AUD101] debugging aid",
        "class Hook:  # auditlint: allow-sync[AUD101] debugging aid",
        "def hook(\n    m,  # auditlint: allow-sync[AUD101] debugging aid\n    out,\n):",
        "# auditlint: allow-sync[AUD101] debugging aid\ndef hook(m, a, out):",
        "# auditlint: allow-sync[AUD101] debugging aid\n@once\n@twice(1)\ndef hook(m, a, out):",
        "@once\n# auditlint: allow-sync[AUD101] debugging aid\ndef hook(m, a, out):",
        "@once  # auditlint: allow-sync[AUD101] debugging aid\ndef hook(m, a, out):",
    ],
)
def test_on_a_header_it_speaks_for_the_whole_function_or_class_and_no_more(header: str) -> None:
    body = "    if out:\n        x = out.item()\n    # the end\n    y = out.item()\n\n\nz = out.item()\n"
    start = header.count("\n") + 2
    found = [finding(start + 1), finding(start + 3), finding(start + 6)]
    assert judge(f"{header}\n{body}", *found) == [("AUD101", start + 6)]


def test_on_another_compound_statement_it_speaks_for_the_header_only() -> None:
    text = "if x.item():  # auditlint: allow-sync[AUD101] rare\n    y.item()\n"
    assert judge(text, finding(1), finding(2)) == [("AUD101", 2)]


def test_a_noqa_on_a_header_speaks_for_the_header_only() -> None:
    assert judge("def f(x=y.item()):  # noqa: AUD101\n    x.item()\n", finding(1), finding(2)) == [("AUD101", 2)]


@pytest.mark.parametrize(
    "comment",
    [
        "# auditlint: allow-sync-file[AUD101] a debugging script",
        "# auditlint: allow-sync-file a debugging script",
        "# flake8: noqa",
        "# flake8: noqa: AUD101",
        "# flake8: noqa: E501, AUD1",
    ],
)
def test_a_file_comment_speaks_for_the_file_wherever_it_stands(comment: str) -> None:
    assert judge(f"x.item()\n\n\ndef f():\n    y.item()\n    {comment}\n", finding(1), finding(5)) == []


def test_a_file_comment_behind_code_is_none() -> None:
    assert judge("x.item()  # flake8: noqa\n", finding(1)) == [("AUD101", 1)]
    text = "x.item()  # auditlint: allow-sync-file a script\n"
    assert judge(text, finding(1)) == [("AUD101", 1), ("AUD901", 1)]


def test_what_suppresses_nothing_is_reported_at_the_comment() -> None:
    text = "x = 1  # auditlint: allow-sync[AUD101] why\ny = 2    # noqa: E501, AUD201\n"
    left = apply([], lambda name: text.encode(), {FILE})
    assert [(item.code, *item.location, *item.end_location) for item in left] == [
        ("AUD901", 1, 8, 1, 43),
        ("AUD901", 2, 10, 2, 30),
    ]
    assert [item.message for item in left] == [
        "`allow-sync[AUD101]` suppresses nothing; remove it",
        "AUD201 in `# noqa: E501, AUD201` suppresses nothing; remove the code",
    ]
    assert all(item.fix is None and item.filename == FILE for item in left)


def test_only_the_codes_in_vain_are_reported() -> None:
    data = b"x.item()  # auditlint: allow-sync[AUD101, AUD102, AUD2] why\n"
    (left,) = apply([finding(1)], lambda name: data, set())
    assert left.message == "AUD102, AUD2 in `allow-sync[AUD101, AUD102, AUD2]` suppresses nothing; remove the code"


@pytest.mark.parametrize("comment", ["# noqa", "# noqa: E501", "# noqa: F401,E501", "# noqa: AUD901", "# flake8: noqa"])
def test_comments_that_are_not_ours_are_never_reported(comment: str) -> None:
    assert judge(f"{comment}\nx = 1  {comment}\n") == []


def test_one_comment_in_use_and_one_beside_it_are_both_in_use() -> None:
    text = "def f():  # auditlint: allow-sync why\n    x.item()  # noqa: AUD101\n"
    assert judge(text, finding(2)) == []


@pytest.mark.parametrize(
    "comment",
    [
        "# auditlint: allow-sync[] why",
        "# auditlint: allow-sync[AUD101 why",
        "# auditlint: allow-sync(AUD101) why",
        "# auditlint: allow-sync AUD101 why",
        "# auditlint: allow-sync: AUD101",
        "# auditlint: allow[AUD101] why",
        "# auditlint: allow-sync-function why",
    ],
)
def test_a_comment_that_is_not_understood_is_reported_and_silences_nothing(comment: str) -> None:
    assert judge(f"x.item()  {comment}\n", finding(1)) == [("AUD101", 1), ("AUD901", 1)]


def test_a_noqa_silences_what_would_be_said_about_the_comment_beside_it() -> None:
    assert judge("x = 1  # auditlint: allow-sync[AUD101] kept for later  # noqa: AUD901\n") == []
    assert judge("x = 1  # noqa: AUD101, AUD901\n") == []


def test_a_blanket_allowance_is_about_syncs_not_about_comments() -> None:
    text = "x = 1  # auditlint: allow-sync why\n"
    assert judge(text, finding(1, "AUD900"), report_unused=False) == [("AUD900", 1)]


def test_without_honour_noqa_those_comments_do_not_exist() -> None:
    text = "# flake8: noqa: AUD2\nx.item()  # noqa: AUD101, AUD102\ny.item()  # auditlint: allow-sync why\n"
    assert judge(text, finding(2), finding(3), honour_noqa=False) == [("AUD101", 2)]


def test_a_missing_reason_is_reported_when_one_is_required() -> None:
    text = "x.item()  # auditlint: allow-sync[AUD101]\ny.item()  # auditlint: allow-sync: see #12\n"
    assert judge(text, finding(1), finding(2)) == []
    assert judge(text, finding(1), finding(2), require_reason=True) == [("AUD902", 1)]
    assert judge("x.item()  # auditlint: allow-sync  # noqa: E501\n", finding(1), require_reason=True) == [
        ("AUD902", 1)
    ]
    assert judge("x.item()  # auditlint: allow-sync  # noqa: AUD902\n", finding(1), require_reason=True) == []


def test_nothing_is_called_unused_in_a_file_that_was_not_analysed() -> None:
    text = "x = (  # auditlint: allow-sync[AUD101] why\n"
    assert judge(text, finding(1, "AUD900")) == [("AUD900", 1)]
    assert judge("x = 1  # noqa: AUD101\n", finding(1, "AUD900")) == [("AUD900", 1)]


def test_a_file_that_does_not_tokenize_still_has_its_comments_honoured() -> None:
    assert judge("x = (\ny.item()  # noqa: AUD101\n", finding(2)) == []
    assert judge("x = (\n# auditlint: allow-sync why\ny.item()\n", finding(3)) == []


def test_a_file_that_cannot_be_read_keeps_its_findings() -> None:
    def gone(name: str) -> bytes:
        raise FileNotFoundError(name)

    assert apply([finding(1)], gone, {"other.py"}) == [finding(1)]


def test_rows_end_where_python_ends_them() -> None:
    text = "a = 1\x0c\r\nb = '\x1c\x85\u2028'\rx.item()  # noqa: AUD101\r\ny.item()\n"
    assert judge(text, finding(3), finding(4)) == [("AUD101", 4)]


def test_what_is_left_is_sorted_by_place() -> None:
    found = [finding(3), finding(1, "AUD201"), finding(1)]
    assert judge("x\ny\nz\n", *found) == [("AUD101", 1), ("AUD201", 1), ("AUD101", 3)]


def test_only_files_that_may_hold_a_suppression_are_marked() -> None:
    assert may_hold_directives(b"x = 1  # auditlint: allow-sync why\n")
    assert may_hold_directives(b"x = 1  #noqa:E501,aud101\n")
    assert not may_hold_directives(b"import auditlint\nx = 1  # noqa: E501\nAUD = 1\n")


def test_allowances_give_the_rows_the_codes_and_the_reason() -> None:
    text = textwrap.dedent(
        """\
        # auditlint: allow-sync[AUD1, AUD201] debugging aid
        @audit_hook
        def hook(m, a, out):
            return out.item()

        save(
            x.item(),  # noqa: E501, AUD101
        )
        y = 1  # noqa: E501
        z.item()  # noqa
        # auditlint: allow-sync nothing follows
        """
    )
    assert allowances(text) == [
        Allowance(1 + 1, 4, ("AUD1", "AUD201"), "debugging aid", "allow-sync"),
        Allowance(6, 8, ("AUD101",), "", "noqa"),
        Allowance(10, 10, (), "", "noqa"),
    ]


PIECES = (
    "x.item()",
    "# noqa",
    ": AUD101",
    "# auditlint: allow-sync",
    "-file",
    "[AUD1",
    "]",
    "def f(",
    "):",
    " ",
    "\n",
    "'''",
    "\\",
    "\f",
    "\0",
)


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join).map(str.encode) | st.binary(max_size=60))
def test_no_text_breaks_it(data: bytes) -> None:
    left = apply([finding(1), finding(9)], lambda name: data, {FILE}, require_reason=True)
    assert {item.code for item in left} <= {"AUD101", "AUD901", "AUD902"}
    assert all(item.location < item.end_location for item in left)
    allowances(data.decode("latin-1"))
