"""The fixtures carry their expectations: a trailing `# AUD101` says that this line, and no other, has that finding."""

from __future__ import annotations

import ast
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pytest

from auditlint.config import Overrides
from auditlint.linter import Options, lint

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
PROJECTS = sorted(path.parent for path in (FIXTURES / "projects").glob("*/pyproject.toml"))
RULES = sorted((FIXTURES / "rules").glob("*.py"))

_MARKER = re.compile(r"#\s*(AUD\d{3}(?:[\s,]+AUD\d{3})*)\s*$")


class Expectation(NamedTuple):
    """A code on a row of a file, as a marker gives it or a finding has it; `file` is relative to the fixtures."""

    file: str
    row: int
    code: str


def _markers(files: Iterable[Path]) -> set[Expectation]:
    return {
        Expectation(file.relative_to(FIXTURES).as_posix(), row, code)
        for file in files
        for row, line in enumerate(_lines(file), start=1)
        if (marker := _MARKER.search(line))
        for code in re.findall(r"AUD\d{3}", marker.group(1))
    }


def _lines(file: Path) -> list[str]:
    # Fixtures may hold any bytes; rows are Python's, so a form feed does not end one.
    return re.split(r"\r\n|\r|\n", file.read_bytes().decode("utf-8", "replace"))


def _findings(
    path: Path, base: Path = FIXTURES, overrides: Overrides = Overrides()
) -> tuple[set[Expectation], dict[Expectation, str]]:
    """The findings of a file or folder beneath `base`, and their messages."""
    result = lint([str(path)], overrides=overrides, options=Options(jobs=1, cache=False))
    assert not result.errors, result.errors
    messages = {}
    for found in result.diagnostics:
        file = Path(found.filename).resolve().relative_to(base.resolve()).as_posix()
        messages[Expectation(file, found.location.row, found.code)] = found.message
    return set(messages), messages


def _difference(expected: set[Expectation], found: set[Expectation], messages: dict[Expectation, str]) -> str:
    """One line for each marker without its finding and each finding without a marker."""
    lines = [("missing", item, "") for item in expected - found]
    lines += [("unexpected", item, messages[item]) for item in found - expected]
    return "\n".join(
        f"{word:>10} {item.file}:{item.row} {item.code}  {_lines(FIXTURES / item.file)[item.row - 1].strip()}"
        + (f"\n           {message}" if message else "")
        for word, item, message in sorted(lines, key=lambda line: line[1])
    )


@pytest.mark.parametrize("project", PROJECTS, ids=lambda path: path.name)
def test_a_project_has_the_findings_that_its_markers_say(project: Path) -> None:
    expected = _markers(project.rglob("*.py"))
    found, messages = _findings(project)
    assert found == expected, "\n" + _difference(expected, found, messages)


@pytest.mark.parametrize("fixture", RULES, ids=lambda path: path.stem)
def test_a_rule_has_the_findings_that_its_markers_say(fixture: Path, tmp_path: Path) -> None:
    expected = _markers([fixture])
    # A project of its own: in place, each fixture would be analysed with the whole repository around it.
    (tmp_path / "rules").mkdir()
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "rules"\nversion = "0"\n')
    copy = tmp_path / "rules" / fixture.name
    shutil.copy(fixture, copy)
    # Some rules are opt-in: each is on in its own fixture.
    found, messages = _findings(copy, tmp_path, Overrides(extend_select=(fixture.stem[:6],)))
    assert found == expected, "\n" + _difference(expected, found, messages)


@pytest.mark.parametrize("project", PROJECTS, ids=lambda path: path.name)
def test_a_look_alike_expects_nothing_and_an_idiom_something(project: Path) -> None:
    expected = _markers(project.rglob("*.py"))
    if project.name.startswith("lookalike_"):
        assert not expected
    else:
        assert expected


def test_the_projects_are_python_3_10() -> None:
    for file in (FIXTURES / "projects").rglob("*.py"):
        ast.parse(file.read_bytes(), str(file), feature_version=(3, 10))


def test_the_projects_expect_every_sync_rule() -> None:
    expected = {item.code for item in _markers((FIXTURES / "projects").rglob("*.py"))}
    families = [f"AUD10{last}" for last in range(1, 9)] + [f"AUD20{last}" for last in range(1, 7)]
    assert expected >= set(families)
