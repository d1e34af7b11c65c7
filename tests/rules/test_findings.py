"""From sites to findings: one a value, columns in code points, and an order that nothing changes."""

from __future__ import annotations

import itertools

import pytest

from auditlint.analysis.engine import Outcome
from auditlint.analysis.sites import Site
from auditlint.diagnostics import Hook, Location, Step
from auditlint.project.project import Broken
from auditlint.rules import findings

FILES = {
    "plain.py": b"def hook(module, args, output):\n    return output.item()\n",
    "accents.py": "def hook(m, a, été):\n    return (été, été.item())\n".encode(),
    "latin.py": "# coding: latin-1\ndef hook(m, a, é):\n    return (é, é.item())\n".encode("latin-1"),
    "bom.py": b"\xef\xbb\xbf" + "é.item()\n".encode(),
    "wide.py": '("\U0001f600", x.item())\n'.encode(),
    "returns.py": b"# one\r# two\r\nx.item()\n\x0c\ny.item()\n# \xc3\xa9\n",
}


def read(name: str) -> bytes:
    if name not in FILES:
        raise FileNotFoundError(name)
    return FILES[name]


def hook(name: str, row: int = 1, filename: str = "plain.py") -> Hook:
    return Hook(name, filename, row, "register_forward_hook", Step("install", filename, 9))


def site(filename: str = "plain.py", row: int = 2, column: int = 18, **given: object) -> Site:
    base = Site(
        kind="item",
        operation=".item()",
        evidence="Tensor.item",
        definite=True,
        filename=filename,
        row=row,
        col=11,
        end_row=row,
        end_col=column + 6,
        anchor_row=row,
        anchor_col=column,
        statement=(row, row),
        scope="hook",
        hook=hook("hook"),
        path=(Step("hook", filename, 1),),
    )
    return base._replace(**given)  # type: ignore[arg-type]


def test_a_site_becomes_a_finding_of_its_rule() -> None:
    (found,) = findings(Outcome([site()], [], []), read)
    assert (found.code, found.name, found.confidence) == ("AUD101", "item-in-hook", "definite")
    assert (found.location, found.end_location) == (Location(2, 19), Location(2, 25))
    assert found.hook == hook("hook")
    assert found.path == (Step("hook", "plain.py", 1),)


@pytest.mark.parametrize(
    ("filename", "row", "text"),
    [
        ("plain.py", 2, "item()"),
        ("accents.py", 2, "item()"),
        ("latin.py", 3, "item()"),
        ("bom.py", 1, "item()"),
        ("wide.py", 1, "item()"),
        ("returns.py", 3, "item()"),
        ("returns.py", 5, "item()"),
    ],
)
def test_columns_count_code_points(filename: str, row: int, text: str) -> None:
    data = FILES[filename].removeprefix(b"\xef\xbb\xbf")
    decoded = data.decode("latin-1" if filename == "latin.py" else "utf-8")
    line = decoded.replace("\r\n", "\n").replace("\r", "\n").split("\n")[row - 1]
    place = line.index(text)
    offset = len(line[:place].encode())
    (found,) = findings(Outcome([site(filename, row, offset)], [], []), read)
    assert found.location == Location(row, place + 1)
    assert found.end_location == Location(row, place + len(text) + 1)


def test_a_file_that_is_gone_keeps_its_findings() -> None:
    (found,) = findings(Outcome([site("gone.py", 7, 3)], [], []), read)
    assert found.location == Location(7, 4)


def test_one_place_reached_by_two_hooks_is_one_finding() -> None:
    other = site(hook=hook("zz"), path=(Step("zz", "plain.py", 5), Step("hook", "plain.py", 1)))
    (found,) = findings(Outcome([other, site()], [], []), read)
    assert found.hook == hook("hook")


def test_certainty_and_scope_come_before_the_shortest_path() -> None:
    long = (Step("a", "plain.py", 1), Step("b", "plain.py", 2))
    sites = [
        site(definite=False),
        site(hook=hook("certain"), path=long),
        site(hook=None, scope="forward", path=()),
    ]
    for order in itertools.permutations(sites):
        (found,) = findings(Outcome(list(order), [], []), read)
        assert found.hook == hook("certain")


def test_two_kinds_at_one_place_are_two_findings() -> None:
    found = findings(Outcome([site(), site(kind="truth", operation="if")], [], []), read)
    assert [item.code for item in found] == ["AUD101", "AUD201"]


def test_the_order_of_the_sites_changes_nothing() -> None:
    sites = [
        site(),
        site("wide.py", 1, 8),
        site(row=1, column=3, kind="cpu", operation=".cpu()"),
        site(hook=hook("other", 4), path=()),
    ]
    expected = findings(Outcome(sites, [], []), read)
    assert expected == sorted(expected, key=lambda item: (item.filename, item.location))
    for order in itertools.permutations(sites):
        assert findings(Outcome(list(order), [], []), read) == expected


def test_a_guess_says_so() -> None:
    (found,) = findings(Outcome([site(definite=False)], [], []), read)
    assert found.confidence == "possible"


def test_a_comment_goes_to_the_last_row_of_the_statement() -> None:
    (found,) = findings(Outcome([site(statement=(2, 4))], [], []), read)
    assert (found.statement, found.noqa_row) == ((2, 4), 4)


def test_a_file_that_cannot_be_analysed_is_one_finding() -> None:
    broken = Broken("bad.py", 0, 0, "holds a NUL byte")
    (found,) = findings(Outcome([], [broken, broken], []), read)
    assert (found.code, found.location) == ("AUD900", Location(1, 1))
    assert "holds a NUL byte" in found.message
