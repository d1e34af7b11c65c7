"""A baseline knows what was there, wherever it moves, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from auditlint import baseline
from auditlint.diagnostics import Diagnostic, Hook, Location, Step


def finding(
    row: int, code: str = "AUD101", hook: str = "hook", file: str = "pkg/a.py", last: int = 0, column: int = 5
) -> Diagnostic:
    known = Hook(hook, file, 1, "register_forward_hook", Step("<module>", file, 9))
    place, end = Location(row, column), Location(row, column + 4)
    return Diagnostic(code, "name", "message", file, place, end, hook=known, statement=(row, last or row))


def reader(text: str) -> Callable[[str], bytes]:
    return lambda name: text.encode()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def new(before: str, known: list[Diagnostic], after: str, found: list[Diagnostic]) -> list[int]:
    """Return the rows of those `found` in `after` that a baseline of `known` in `before` does not hold."""
    baseline.write("baseline.json", known, reader(before))
    left = baseline.filter(found, baseline.load("baseline.json"), reader(after))
    return [item.location.row for item in left]


@pytest.mark.usefixtures("folder")
class TestFilter:
    def test_code_that_moves_or_is_indented_stays_known(self) -> None:
        after = "import torch\n\nif 1:\n        x.item()  # noqa: E501\n"
        assert new("x.item()\n", [finding(1)], after, [finding(4)]) == []

    def test_a_statement_that_is_wrapped_stays_known(self) -> None:
        assert new("f( x.item(), 1 )\n", [finding(1)], "f( x.item(),  # one\n   1 )\n", [finding(1, last=2)]) == []

    def test_a_second_copy_is_new_and_it_is_the_later_one(self) -> None:
        after = "x.item()\ny = 1\nx.item()\n"
        assert new("x.item()\n", [finding(1)], after, [finding(3), finding(1)]) == [3]

    def test_two_in_one_statement_count_as_two(self) -> None:
        pair = [finding(1), finding(1, column=20)]
        assert new("x.item(), x.item()\n", pair, "x.item(), x.item()\n", pair) == []
        assert new("x.item(), x.item()\n", pair[:1], "x.item(), x.item()\n", pair) == [1]

    @pytest.mark.parametrize(
        "other", [finding(1, code="AUD102"), finding(1, hook="other"), finding(1, file="pkg/b.py")]
    )
    def test_another_code_hook_or_file_is_new(self, other: Diagnostic) -> None:
        assert new("x.item()\n", [finding(1)], "x.item()\n", [other]) == [1]

    def test_a_changed_statement_is_new(self) -> None:
        assert new("x.item()\n", [finding(1)], "z.item()\n", [finding(1)]) == [1]

    def test_a_long_statement_that_changes_at_its_end_is_new(self) -> None:
        text = f"f({'a, ' * 100}x.item(), %d)\n"
        assert new(text % 1, [finding(1)], text % 1, [finding(1)]) == []
        assert new(text % 1, [finding(1)], text % 2, [finding(1)]) == [1]

    def test_an_empty_baseline_knows_nothing(self) -> None:
        assert new("", [], "x.item()\n", [finding(1)]) == [1]

    def test_a_file_that_is_gone_does_no_harm(self) -> None:
        def gone(name: str) -> bytes:
            raise FileNotFoundError(name)

        baseline.write("baseline.json", [finding(3)], gone)
        assert baseline.filter([finding(7)], baseline.load("baseline.json"), gone) == []


def test_paths_are_relative_to_the_baseline(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "ci").mkdir()
    baseline.write("ci/baseline.json", [finding(1)], reader("x.item()\n"))
    entries = json.loads((folder / "ci/baseline.json").read_text())["findings"]
    assert entries == [
        {"filename": "../pkg/a.py", "code": "AUD101", "hook": "hook", "statement": "x.item()", "count": 1}
    ]
    monkeypatch.chdir(folder / "ci")
    known = baseline.load("baseline.json")
    assert baseline.filter([finding(1, file="../pkg/a.py")], known, reader("x.item()\n")) == []
    assert baseline.filter([finding(1, file=str(folder / "pkg/a.py"))], known, reader("x.item()\n")) == []


@pytest.mark.usefixtures("folder")
def test_the_file_does_not_depend_on_the_order_of_findings() -> None:
    found = [finding(2), finding(1, code="AUD201"), finding(1), finding(1, file="b.py")]
    text = "x.item()\nx.item()\n"
    baseline.write("one.json", found, reader(text))
    baseline.write("two.json", found[::-1], reader(text))
    assert Path("one.json").read_bytes() == Path("two.json").read_bytes()
    assert Path("one.json").read_bytes().endswith(b"}\n")


@pytest.mark.usefixtures("folder")
def test_entries_that_a_merge_doubled_are_added_up() -> None:
    baseline.write("one.json", [finding(1)], reader("x.item()\n"))
    document = json.loads(Path("one.json").read_text())
    document["findings"] *= 2
    Path("one.json").write_text(json.dumps(document))
    twice = "x.item()\nx.item()\n"
    assert baseline.filter([finding(1), finding(2)], baseline.load("one.json"), reader(twice)) == []


ENTRY = '{"filename": "a", "code": "AUD101", "hook": "", "statement": "x"%s}'


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "not JSON"),
        ("\xff", "not JSON"),
        ('{"version": 1, "findings": [', "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "no list of findings"),
        ('{"version": 1}', "no list of findings"),
        ('{"version": 1, "findings": {}}', "no list of findings"),
        ('{"version": 2, "findings": []}', "version 2, not 1"),
        ('{"findings": []}', "version None, not 1"),
        ('{"version": 1, "findings": [1]}', "finding 1 is damaged"),
        ('{"version": 1, "findings": [%s]}' % (ENTRY % ""), "finding 1 is damaged"),
        ('{"version": 1, "findings": [%s]}' % (ENTRY % ', "count": 0'), "finding 1 is damaged"),
        ('{"version": 1, "findings": [%s]}' % (ENTRY % ', "count": true'), "finding 1 is damaged"),
    ],
)
def test_a_broken_baseline_is_one_clear_line(folder: Path, text: str, complaint: str) -> None:
    path = folder / "baseline.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=complaint) as caught:
        baseline.load(str(path))
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_missing_baseline_is_a_missing_file(folder: Path) -> None:
    with pytest.raises(FileNotFoundError):
        baseline.load(str(folder / "none.json"))
